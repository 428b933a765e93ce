"""``evolve purge`` and ``evolve upgrade``: removes a campaign for good; moves a home to the newest format."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from evolve.cli.shared import options, output


def purge(
    campaign: Annotated[str, typer.Argument(help="Its name in the home, as `evolve status` lists it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Also where its block is in production (it stays there), or it has forks, or another campaign is damaged "
            "(no rows and blocks are removed then).",
        ),
    ] = False,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Remove a campaign for good: its lineage, and the rows and blocks that nothing else holds.

    A tombstone stays (`evolve status --purged`), and its name is never given again. What MLflow was told stays there. No
    campaign of the home may run meanwhile. Cut short, it is gone on with by the same command.

    Examples:
      evolve purge digits-3
      evolve purge digits-3 --yes --json
    """
    from evolve.home.purge import purge as remove
    from population.clock import SystemClock
    from population.errors import InputError

    opened = options.open_home(home)
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(f"purging {campaign!r} cannot be undone: say --yes")
        typer.confirm(f"Remove {campaign!r}, its lineage and its blocks for good?", abort=True, err=True)
    found = remove(opened, campaign, SystemClock(), is_forced=force)
    if as_json:
        output.show_json(found)
    else:
        from evolve.display import size

        output.say(f"{campaign} is removed, {found['objects_removed']:,} objects, {size(found['bytes_removed'])}")


def upgrade(as_json: options.JsonOption = False, home: options.HomeOption = None) -> None:
    """Move a home to the format that this program writes. Older programs cannot open it then; nothing is lost.

    It may be interrupted and run again. Homes of every older format are read without it; campaigns are run in the newest.

    Example:
      evolve upgrade
    """
    from evolve.home.upgrade import upgrade as move

    found = move(options.open_home(home))
    if as_json:
        output.show_json(found)
    elif found["before"] == found["after"]:
        output.say(f"{found['home']}: is of format {found['after']} already, the newest")
    else:
        output.say(f"{found['home']}: moved from format {found['before']} to {found['after']}")
