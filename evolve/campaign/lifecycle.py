"""What becomes of a campaign as a whole, as pure transitions: paused, stopped, gone on with, extended, carried to another
environment. Each is a commit of its own, between two steps, that a replay reads like any other.

Nouns: *mark* (a recorded change of a campaign's state).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evolve.campaign.events import ContinuedInexactly, Event, Extended, Marked
from evolve.campaign.lineage_rows import campaign_row
from evolve.campaign.state import State, Turn
from evolve.planning.plan import Plan
from population.errors import InputError
from population.lineage.format.records import Commit


def life_event_of(value: Mapping[str, Any]) -> Event | None:
    """Returns the event of this module that a recorded value stands for, or None."""
    if value["event"] == "marked":
        return Marked(value["state"], value["reason"])
    if value["event"] == "extended":
        return Extended(value["evaluations"], value["generations"])
    if value["event"] == "continued_inexactly":
        return ContinuedInexactly(value["environment"], {int(e): bytes.fromhex(d) for e, d in value["digests"].items()})
    return None


def mark(plan: Plan, state: State, event: Marked) -> Turn:
    """Returns the state one commit later, and the commit that records what became of the campaign."""
    return Turn(replace(state, step=state.step + 1), (), (mark_commit(plan, state.step, event),))


def mark_commit(plan: Plan, step: int, event: Marked) -> Commit:
    """Returns the commit of a mark as this step: all that it depends on."""
    value = {"event": "marked", "state": event.state, "reason": event.reason}
    return Commit(step, (), (value,), {"campaigns": [campaign_row(plan, event.state)]})


def reopened(plan: Plan, state: State, event: Extended) -> Turn:
    """Returns a finished campaign's state with its search open again, and the commit that says so.

    Everything it knows is kept; the champion is chosen and published anew when the extension ends.

    Raises:
        InputError: it is not finished, or neither limit is given.
    """
    if state.phase != "done":
        raise InputError(
            "only a finished campaign can be extended: resume this one without --evaluations and --generations first"
        )
    if event.evaluations is None and event.generations is None:
        raise InputError("an extension names so many more evaluations, or generations")
    reached = {"evaluations": state.evaluations, "generations": plan.strategy.generation(state.strategy)}
    more = {"evaluations": event.evaluations, "generations": event.generations}
    limits = {name: reached[name] + value for name, value in more.items() if value is not None}
    value = {"event": "extended", **more}
    commit = Commit(state.step, (), (value,), {"campaigns": [campaign_row(plan, "running")]})
    fresh = replace(
        state,
        phase="search",
        limits=limits,
        reason="",
        champion=None,
        block=None,
        stale=0,
        barren=0,
        step=state.step + 1,
        recorded=(),
    )
    return Turn(fresh, (), (commit,))


def continue_inexactly(plan: Plan, state: State, event: ContinuedInexactly) -> Turn:
    """Returns the state that goes on in this environment, with the bits that its rows have here, and the commit of it."""
    digests = {str(number): digest.hex() for number, digest in sorted(event.digests.items())}
    value = {"event": "continued_inexactly", "environment": event.environment, "digests": digests}
    incident = {"kind": "continued_inexactly", "environment": event.environment, "rows_with_other_bits": len(digests)}
    row = {**campaign_row(plan, "running"), "environment": event.environment}
    commit = Commit(state.step, (), (value,), {"campaigns": [row]}, (incident,))
    digests_here = {**state.digests, **event.digests}
    fresh = replace(state, digests=digests_here, num_inexact=state.num_inexact + 1, step=state.step + 1)
    return Turn(fresh, (), (commit,))
