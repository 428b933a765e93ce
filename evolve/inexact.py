"""Environments compared field by field, and a campaign gone on with in one that is not its own.

Nouns: *difference* (a field of the fingerprint with what was recorded and what is here).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from evolve.campaign import accept, outstanding
from evolve.events import ContinuedInexactly
from evolve.plan import Plan
from evolve.publish import StoreShelf
from evolve.rebuild import read_records, rebuild_rows
from evolve.replay import replay
from evolve.state import Turn
from fitness.evaluator import Evaluator
from population.errors import ConfigError
from population.lineage.records import Commit

#: What people read in the place of a field that one of the two does not have.
ABSENT = "(not recorded)"


def recorded_environment(rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns the environment that the newest of these rows of ``campaigns`` names; empty where none does."""
    found = ""
    for row in rows:
        found = row.get("environment") or found
    return found


def differences(recorded: str, here: str) -> list[tuple[str, str, str]]:
    """Returns the fields in which two fingerprints differ: name, recorded value, value here.

    >>> differences('{"cpu":"AVX2","versions":{"torch":"2.1"}}', '{"cpu":"AVX2","versions":{"torch":"2.2"}}')
    [('versions.torch', '2.1', '2.2')]
    """
    before, now = _flat(_value_of(recorded)), _flat(_value_of(here))
    names = sorted(before.keys() | now.keys())
    pairs = ((name, before.get(name, ABSENT), now.get(name, ABSENT)) for name in names)
    return [found for found in pairs if found[1] != found[2]]


def refusal(handle: str, recorded: str, here: str) -> ConfigError:
    """Returns the error that says field by field what differs, and what to do about it."""
    lines = [f"  {name}: recorded {before}, here {now}" for name, before, now in differences(recorded, here)]
    return ConfigError(
        f"campaign {handle!r} was begun in another environment, in which equal recipes may have other bits:\n"
        + "\n".join(lines)
        + f"\nGo on with it there; or here with `evolve resume {handle} --continue-inexact`, which is recorded (the "
        "hashes are then not those of the uninterrupted campaign); or begin it anew with `evolve run ... --again`"
    )


def resume_inexactly(
    plan: Plan, read_commits: Callable[[], Iterable[Commit]], evaluator: Evaluator, shelf: StoreShelf
) -> Turn:
    """Returns the turn that goes on after the last commit in this environment, with a commit that says so.

    Rows that come out with other bits here are taken as they are; they are kept in the store, and the event names their
    digests, so that the campaign can be resumed from here on exactly.
    """
    state = replay(plan, read_commits())
    needed = sorted(event for event in state.digests if event >= 0)
    rebuilt = rebuild_rows(plan, read_records(plan, read_commits()), needed, shelf.stored_row)
    for event in needed:
        evaluator.put(rebuilt.digests[event], rebuilt.rows[event])
    changed = {event: rebuilt.digests[event] for event in needed if rebuilt.digests[event] != state.digests[event]}
    shelf.keep_rows([rebuilt.rows[event] for event in changed])
    turn = accept(plan, state, ContinuedInexactly(plan.environment, changed))
    return Turn(turn.state, outstanding(plan, turn.state), turn.commits)


def _value_of(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {"environment": text}
    return value if isinstance(value, Mapping) else {"environment": text}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            found |= _flat(entry, f"{prefix}{name}.")
        else:
            found[prefix + name] = str(entry)
    return found
