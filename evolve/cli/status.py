"""``evolve status``: the campaigns of a home and where each of them stands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve.cli import options, output

if TYPE_CHECKING:
    from evolve.home import Home

#: What every object of ``--json`` has, in this order; a finished campaign's summary has more.
FIELDS = (
    "campaign",
    "state",
    "seed",
    "generations",
    "evaluations",
    "population",
    "lineage",
    "champion",
    "scores",
    "heldout",
)


def status(
    campaign: Annotated[str | None, typer.Argument(help="Only this one.", show_default="all")] = None,
    purged: Annotated[bool, typer.Option("--purged", help="Show what is known of purged campaigns instead.")] = False,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Show the campaigns of this home: running, paused, stopped, interrupted, failed or done, and what to do next.

    Works from another terminal while campaigns run. A campaign that was gone on with in another environment says so.

    Examples:
      evolve status
      evolve status digits --json
    """
    from population.errors import NotFound

    opened = options.open_home(home)
    if purged:
        _show_purged(opened, as_json)
        return
    handles = opened.campaigns()
    if campaign is not None and campaign not in handles:
        raise NotFound(f"no campaign {campaign!r} in {opened.root}; there are: {', '.join(handles) or 'none yet'}")
    found = [describe(opened, handle, with_lineage=as_json) for handle in handles if campaign in (None, handle)]
    if as_json:
        output.show_json(found)
    elif found:
        output.show(_as_table(found))
        for entry in found:
            for text in advice(entry):
                output.note(text)
    else:
        output.note(f"no campaigns yet in {opened.root}")


def _show_purged(home: Home, as_json: bool) -> None:
    from datetime import UTC, datetime

    from evolve.purge import tombstones

    found = tombstones(home)
    if as_json:
        output.show_json(found)
        return
    rows = [
        (
            stone["campaign"],
            datetime.fromtimestamp(stone["purged"], UTC).strftime("%Y-%m-%d %H:%M")
            if stone["purged"]
            else "not finished",
            str(stone["seed"] or "-"),
            f"{stone['evaluations'] or 0:,}",
            stone["campaign_key"][:12],
        )
        for stone in found
    ]
    output.show(output.table(("campaign", "purged", "seed", "evaluations", "campaign key"), rows))


def advice(entry: dict[str, Any]) -> list[str]:
    """Returns what a person may do next with a campaign, and what they should know of it, a line each."""
    from evolve.display import program

    handle, state = entry["campaign"], entry["state"]
    lines = []
    if state == "running":
        lines.append(f"{handle}: {program()} watch {handle}, {program()} pause {handle}")
    elif state == "failed" and entry.get("reason"):
        lines.append(f"{handle} failed: {entry['reason']}; look at {program()} quarantine list {handle}")
    if state in ("interrupted", "paused", "stopped", "failed"):
        lines.append(f"go on with it: {program()} resume {handle}")
    if entry.get("inexact"):
        lines.append(
            f"{handle} went on in another environment ({entry['inexact']} times): it cannot be made again bit by bit"
        )
    return lines


def describe(home: Home, handle: str, *, with_lineage: bool = True) -> dict[str, Any]:
    """Returns where a campaign stands: its summary when it is over, what its lineage says so far otherwise.

    The content hash of an unfinished one reads its whole lineage, seconds for a million individuals: only ``with_lineage``.
    """
    state = home.state_of(handle)
    summary = home.summary_of(handle)
    if summary is not None and state != "running":
        return {**dict.fromkeys(FIELDS), **summary, "state": state}
    return {
        **dict.fromkeys(FIELDS),
        **_so_far(home, handle, with_lineage),
        "campaign": handle,
        "state": state,
        "scores": {},
        "heldout": {},
    }


def _so_far(home: Home, handle: str, with_lineage: bool) -> dict[str, Any]:
    from evolve.config import load_config
    from evolve.home import CONFIG_FILE

    config = load_config(home.campaign_dir(handle) / CONFIG_FILE)
    reader = home.lineage_reader()
    found: dict[str, Any] = {
        "seed": config.seed,
        "generations": 0,
        "evaluations": 0,
        "best": {},
        "inexact": 0,
        "reason": "",
    }
    if handle not in reader.handles():
        return found
    limits = {"generations": config.stop.generations, "evaluations": config.stop.evaluations}
    generations = {row["commit_step"]: row for row in reader.rare_rows(handle, "generations")}
    last: dict[str, Any] | None = None
    for commit in reader.rare_rows(handle, "commits"):
        row = generations.get(commit["step"])
        last = {**row, "generations": row["generation"]} if row else last
        for event in json.loads(commit["events"]):
            if event["event"] == "extended" and last is not None:
                limits = {name: last[name] + event[name] if event[name] else None for name in limits}
            found["inexact"] += event["event"] == "continued_inexactly"
            found["reason"] = event.get("reason", "") if event["event"] == "marked" else found["reason"]
    if last is not None:
        found |= {"generations": last["generation"], "evaluations": last["evaluations"]}
        found |= {"population": last["population"], "best": dict(last["best"] or ())}
        found["share"] = max((min(1.0, last[name] / limit) for name, limit in limits.items() if limit), default=None)
        if with_lineage:
            found["lineage"] = reader.content_hash(handle)
    return found


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
            str(entry["seed"]),
            f"{entry['generations'] or 0:,}",
            f"{entry['evaluations'] or 0:,}",
            ", ".join(f"{name} {number(value)}" for name, value in _best(entry).items()) or "-",
            short_id(entry["champion"]),
            _took(entry),
        )
        for entry in found
    ]
    return output.table(columns, rows, right=("of its limit", "seed", "generations", "evaluations", "took"))


def _best(entry: dict[str, Any]) -> dict[str, float]:
    """Returns the values of the best individual by objective; of a champion only the leading ones."""
    scores: dict[str, dict[str, float]] = entry.get("scores") or {}
    top = scores.get("ultimate", {})
    return {name: top[name] for name in ("accuracy", "cross_entropy") if name in top} or dict(entry.get("best") or {})


def _took(entry: dict[str, Any]) -> str:
    from evolve.display import duration

    return duration(entry["seconds"]) if entry.get("seconds") else "-"
