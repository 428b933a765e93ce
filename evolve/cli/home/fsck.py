"""``evolve fsck lineage``: whether what is kept is what was written, and putting it right from a copy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve.cli.shared import options, output
from evolve.cli.shared.helptext import help_of

if TYPE_CHECKING:
    from population.lineage.journal.fsck import LogReport

app = typer.Typer(no_args_is_help=True, help="Check what is kept, and restore what is damaged from a copy.")


def lineage(
    campaign: Annotated[str | None, typer.Argument(help="Only this one.", show_default="all")] = None,
    repair: Annotated[
        Path | None,
        typer.Option("--repair", metavar="FROM", help="Restore what is damaged from this home, or copy of a home."),
    ] = None,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Check every frame, manifest and segment of the lineages of this home.

    Reads everything and changes nothing; works while campaigns run. Exit code 0: whole; 1: damage found, told with file,
    byte and remedy. With --repair: what is damaged or missing is restored from FROM after it was verified there, and what
    stood here is set aside in a folder `damaged` beside it. A copy that holds another history is refused (2), and so is a
    repair while a campaign writes (3).

    Examples:
      evolve fsck lineage
      evolve fsck lineage digits --json
      evolve fsck lineage digits --repair /backup/.evolve
    """
    from population.errors import NotFound
    from population.files.local_files import LocalFiles
    from population.lineage.journal.fsck import check_lineage, lineages_of

    files, root = LocalFiles(), options.open_home(home).root
    there = lineages_of(files, root)
    if campaign is not None and campaign not in there and repair is None:
        raise NotFound(f"no lineage {campaign!r} in {root}; there are: {', '.join(there) or 'none yet'}")
    handles = there if campaign is None else [campaign]
    if repair is not None:
        reports = [_repaired(root, handle, repair) for handle in handles]
    else:
        reports = [check_lineage(files, root, handle) for handle in handles]
    if as_json:
        output.show_json(_as_value(reports))
    else:
        _tell(reports, root)
    raise typer.Exit(1 if any(report.damaged for report in reports) else 0)


def _repaired(root: Path, handle: str, source: Path) -> LogReport:
    from evolve.home.home import Home
    from population.files.local_files import LocalFiles
    from population.lineage.journal.fsck import check_lineage, lineages_of
    from population.lineage.journal.repair import repair_lineage

    files = LocalFiles()
    if handle in lineages_of(files, root):
        report = check_lineage(files, root, handle)
        if not report.damaged:
            return report
    done = repair_lineage(files, root, handle, Home.open(source.absolute()).root)
    for path in done.restored:
        output.note(f"restored {path}")
    for path in done.set_aside:
        output.note(f"set aside {path}")
    return done.report


def _as_value(reports: list[LogReport]) -> dict[str, Any]:
    lineages = [
        {
            "handle": report.handle,
            "commits": report.commits,
            "damaged": [
                {"file": str(each.file), "position": each.position, "what": each.what, "remedy": each.remedy}
                for each in report.damaged
            ],
            "notes": list(report.notes),
        }
        for report in reports
    ]
    return {"ok": not any(report.damaged for report in reports), "lineages": lineages}


def _tell(reports: list[LogReport], root: Path) -> None:
    if not reports:
        output.note(f"no lineages in {root}")
    for report in reports:
        if not report.damaged:
            output.say(f"{report.handle}: whole, {report.commits} commits")
        else:
            output.say(f"{report.handle}: DAMAGED; {report.commits} commits are whole from the beginning")
        for each in report.damaged:
            where = "" if each.position is None else f" at byte {each.position}"
            output.say(f"  {each.file}{where}: {each.what}\n    {each.remedy}")
        for note in report.notes:
            output.say(f"  note: {note}")


app.command("lineage", help=help_of(lineage))(lineage)
