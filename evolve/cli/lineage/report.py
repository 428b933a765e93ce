"""``evolve report``: a campaign as one HTML page that needs nothing but itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evolve.cli.shared import options, output

if TYPE_CHECKING:
    from evolve.home.home import Home


def report(
    campaign: Annotated[str | None, typer.Argument(help="Its name in the home.", show_default="the newest")] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Where to write it.",
            show_default="report.html in the campaign's folder",
        ),
    ] = None,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Write a campaign down as one HTML page: progress, Pareto front, tiers, skills, the family tree to walk through,
    operators and what they earned, what was tried and what it cost, configuration and environment.

    The page is one file that opens without a network, on a phone and on a desk. Campaigns that run, were interrupted, have
    failed or were forked have one too, of what was committed so far. Prints where the page lies; one written before is
    replaced. In the campaign's folder it goes when the campaign is purged.

    Examples:
      evolve report
      evolve report digits --out digits.html
      evolve report digits --json
    """
    from evolve.reports.html.page import REPORT_FILE, make_report

    opened = options.open_home(home)
    handle = campaign or _newest(opened)
    if to is not None:
        output.check_writable(to, "--out")
    made = make_report(opened, handle, unread=output.note)
    place = to or opened.campaign_dir(handle) / REPORT_FILE
    opened.files.write_atomic(place.absolute(), made.html, mode=0o644, replace=True)
    if as_json:
        facts = {"campaign": handle, "state": made.state, "report": str(place.absolute()), "bytes": len(made.html)}
        output.show_json({**facts, "individuals": made.num_shown, "left_out": made.num_left_out})
    else:
        output.say(place)


def _newest(home: Home) -> str:
    from population.errors import NotFound

    handles = home.campaigns()
    if not handles:
        raise NotFound(f"no campaigns yet in {home.root}: `evolve run CONFIG` launches one")
    return handles[-1]
