"""``evolve status``: the campaigns of a home and where each of them stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve import display
from evolve.cli.shared import options, output
from evolve.reports.status import advice, describe_each

#: What is shown of a champion where it has been measured.
_LEADING = ("return", "accuracy", "cross_entropy", "r2", "rmse", "loss")

if TYPE_CHECKING:
    from evolve.home.home import Home


def status(
    campaign: Annotated[str | None, typer.Argument(help="Only this one.", show_default="all")] = None,
    purged: Annotated[bool, typer.Option("--purged", help="Show what is known of purged campaigns instead.")] = False,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Show the campaigns of this home: running, paused, stopped, interrupted, failed or done, and what to do next.

    Works from another terminal while campaigns run. A campaign that was gone on with in another environment says so. A damaged
    campaign is listed with the reason, a damaged record of a purge is named; the exit code is 1 then.

    Examples:
      evolve status
      evolve status digits --json
    """
    from evolve.display import program
    from population.errors import NotFound

    opened = options.open_home(home)
    if purged:
        _show_purged(opened, as_json)
        return
    handles = opened.campaigns()
    if campaign is not None and campaign not in handles:
        raise NotFound(f"no campaign {campaign!r} in {opened.root}; there are: {', '.join(handles) or 'none yet'}")
    wanted = [handle for handle in handles if campaign in (None, handle)]
    found = describe_each(opened, wanted, with_lineage=as_json)
    if as_json:
        output.show_json(found)
    elif found:
        output.show(_as_table(found))
        for entry in found:
            for text in advice(entry, program()):
                output.note(text)
    else:
        output.note(f"no campaigns yet in {opened.root}")
    if any(entry["state"] == "damaged" for entry in found):
        raise typer.Exit(1)


def _show_purged(home: Home, as_json: bool) -> None:
    from evolve.home.purge import tombstones

    unread: list[str] = []
    found = tombstones(home, unread.append)
    if as_json:
        output.show_json(found)
    else:
        output.show(_purged_table(found))
    for text in unread:
        output.note(text)
    if unread:
        raise typer.Exit(1)


def _purged_table(found: list[dict[str, Any]]) -> Any:
    from datetime import UTC, datetime

    rows = [
        (
            stone["campaign"],
            datetime.fromtimestamp(stone["purged"], UTC).strftime("%Y-%m-%d %H:%M")
            if stone["purged"]
            else "not finished",
            str(stone.get("seed") or "-"),
            f"{stone.get('evaluations') or 0:,}",
            stone["campaign_key"][:12],
        )
        for stone in found
    ]
    return display.table(("campaign", "purged", "seed", "evaluations", "campaign key"), rows)


def _as_table(found: list[dict[str, Any]]) -> Any:
    from evolve.display import number, short_id

    columns = (
        "campaign",
        "state",
        "of its limit",
        "seed",
        "generations",
        "evaluations",
        "best on validation",
        "champion",
        "took",
    )
    rows = [
        (
            entry["campaign"],
            entry["state"],
            f"{entry['share']:.0%}" if entry.get("share") is not None else "-",
            "-" if entry["seed"] is None else str(entry["seed"]),
            f"{entry['generations'] or 0:,}",
            f"{entry['evaluations'] or 0:,}",
            ", ".join(f"{name} {number(value)}" for name, value in _best(entry).items()) or "-",
            short_id(entry["champion"]),
            _took(entry),
        )
        for entry in found
    ]
    return display.table(columns, rows, right=("of its limit", "seed", "generations", "evaluations", "took"))


def _best(entry: dict[str, Any]) -> dict[str, float]:
    """Returns the values of the best individual by objective; of a champion only the leading ones."""
    scores: dict[str, dict[str, float]] = entry.get("scores") or {}
    top = scores.get("ultimate", {})
    return {name: top[name] for name in _LEADING if name in top} or dict(entry.get("best") or {})


def _took(entry: dict[str, Any]) -> str:
    from evolve.display import duration

    return duration(entry["seconds"]) if entry.get("seconds") else "-"
