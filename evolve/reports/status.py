"""Where a campaign stands, also while it runs: what ``evolve status`` lists and a report begins with.

Nouns: *standing* (a campaign's summary when it is over, what its lineage says so far otherwise), *advice* (what to do next).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from population.errors import DamageError, InputError, StorageError

if TYPE_CHECKING:
    from evolve.home.home import Home

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


def advice(entry: dict[str, Any], called: str) -> list[str]:
    """Returns what a person may do next with a campaign, and what they should know of it, a line each.

    Args:
        called: how the program is called where this is read, as in ``display.program``.
    """
    handle, state = entry["campaign"], entry["state"]
    lines = []
    if state == "damaged":
        lines.append(f"{handle} is damaged: {entry['problem']}")
    elif state == "running":
        lines.append(f"{handle}: {called} watch {handle}, {called} pause {handle}")
    elif state == "failed" and entry.get("reason"):
        lines.append(f"{handle} failed: {entry['reason']}; look at {called} quarantine list {handle}")
    if state in ("interrupted", "paused", "stopped", "failed"):
        lines.append(f"go on with it: {called} resume {handle}")
    if entry.get("inexact"):
        lines.append(
            f"{handle} went on in another environment ({entry['inexact']} times): it cannot be made again bit by bit"
        )
    return lines


def describe_each(home: Home, handles: Sequence[str], *, with_lineage: bool = True) -> list[dict[str, Any]]:
    """Returns where campaigns stand; one that is damaged says so (``problem``), and hides no other."""
    return [_described(home, handle, with_lineage) for handle in handles]


def _described(home: Home, handle: str, with_lineage: bool) -> dict[str, Any]:
    try:
        return describe(home, handle, with_lineage=with_lineage)
    except (DamageError, InputError, StorageError) as error:
        return {**dict.fromkeys(FIELDS), "campaign": handle, "state": "damaged", "problem": str(error)}


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
    from evolve.config.campaign import load_config
    from evolve.home.home import CONFIG_FILE

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
