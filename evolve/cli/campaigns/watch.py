"""``evolve watch``: a campaign as it goes, from another terminal; reads what is new in its lineage and nothing twice."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve import display
from evolve.cli.campaigns.pause import LOOK_EVERY_S, the_one
from evolve.cli.shared import options, output

if TYPE_CHECKING:
    from rich.table import Table

    from evolve.home.home import Home
    from population.lineage.format.records import Commit

POLL_S = 0.25


def watch(
    campaign: Annotated[
        str | None,
        typer.Argument(help="Its name in the home.", show_default="the one that runs, if it is the only one"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a step, each on a line, from the first step on.")
    ] = False,
    home: options.HomeOption = None,
) -> None:
    """Watch a campaign from another terminal. Ends when the campaign does; Ctrl-C ends the watching alone.

    Exit code 1: the campaign failed; else 0.

    Examples:
      evolve watch
      evolve watch digits --json | jq .best.accuracy
    """
    opened = options.open_home(home)
    handle = the_one(opened, campaign, ("running",), "watch")
    try:
        with _shown(as_json) as show:
            state = follow(opened, handle, show)
    except KeyboardInterrupt:
        return
    if not as_json:
        output.say(f"{handle} is {state}")
    raise typer.Exit(1 if state == "failed" else 0)


def follow(home: Home, handle: str, show: Callable[[list[dict[str, Any]]], None]) -> str:
    """Shows every step as it is committed, several at once where several are new; returns the state it ends in."""
    from evolve.driver.requests import RequestFolder
    from population.lineage.journal.follow import Follower

    follower = Follower(home.files, home.root, handle)
    requests = RequestFolder(home.files, home.campaign_dir(handle))
    told: dict[str, Any] = {"campaign": handle, "quarantined": 0}
    next_look = 0.0
    while True:
        moment = time.monotonic()
        is_over = False
        if moment >= next_look or requests.driver() is None:
            is_over, next_look = not home.is_running(handle), moment + LOOK_EVERY_S
        steps = [told := step_of(told, commit) for commit in follower.news()]
        if steps:
            show(steps)
        if is_over:
            return home.state_of(handle)
        time.sleep(POLL_S)


def step_of(before: dict[str, Any], commit: Commit) -> dict[str, Any]:
    """Returns a step as scripts read it: what the commit says, and what the steps before it said last."""
    found = {**before, "step": commit.step, "births": sum(len(births.event) for births in commit.births)}
    failed = sum(verdict != "ok" for births in commit.births for verdict in births.verdict)
    found["quarantined"] = before["quarantined"] + failed
    for row in commit.rows.get("campaigns", ()):
        found["state"] = row["state"]
    for row in commit.rows.get("generations", ()):
        found |= {name: row[name] for name in ("generation", "evaluations", "population", "front_size")}
        found["best"] = dict(row["best"])
    return found


def line(step: dict[str, Any]) -> str:
    """Returns a step as one plain line."""
    from evolve.display import number

    parts = [f"step {step['step']:>4}  {step.get('state', 'running'):<8}"]
    if "generation" in step:
        parts.append(f"generation {step['generation']:>3}  {step['evaluations']:>7,} evaluations")
        parts += [f"{name} {number(value)}" for name, value in step["best"].items()]
    if step["quarantined"]:
        parts.append(f"{step['quarantined']} in quarantine")
    return "  ".join(parts)


@contextmanager
def _shown(as_json: bool) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    if as_json or not sys.stdout.isatty():
        text = output.json_line if as_json else line
        yield lambda steps: output.say("\n".join(text(step) for step in steps))
        return
    from rich.live import Live

    with Live(console=output.console(), refresh_per_second=4) as live:
        yield lambda steps: live.update(_live_table(steps[-1]))


def _live_table(step: dict[str, Any]) -> Table:
    from evolve.display import number

    facts = [("campaign", f"{step['campaign']}, {step.get('state', 'running')}"), ("step", f"{step['step']:,}")]
    if "generation" in step:
        facts += [
            ("generation", f"{step['generation']:,}"),
            ("evaluations", f"{step['evaluations']:,}"),
            ("best", "   ".join(f"{name} {number(value)}" for name, value in step["best"].items())),
        ]
    found: Table = display.pairs([*facts, ("in quarantine", f"{step['quarantined']:,}")])
    return found
