"""A campaign gone on with in an environment that is not its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from evolve.campaign.events import ContinuedInexactly
from evolve.campaign.state import Turn
from evolve.campaign.transition import accept, outstanding
from evolve.planning.environment import differences
from evolve.planning.plan import Plan
from evolve.recovery.rebuild import read_records, rebuild_rows
from evolve.recovery.replay import replay
from evolve.recovery.shelf import StoreShelf
from fitness.work.work_unit import Evaluator
from population.errors import ConfigError
from population.lineage.format.records import Commit


def recorded_environment(rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns the environment that the newest of these rows of ``campaigns`` names; empty where none does."""
    found = ""
    for row in rows:
        found = row.get("environment") or found
    return found


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
