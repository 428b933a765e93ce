"""The thin shell of a campaign: writes its commits, performs its work, feeds it what comes back. No decision is taken here.

Nouns: *hands* (what the shell works with: evaluator, lineage, store, clock, all passed in).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from evolve.campaign import events as ev
from evolve.campaign.state import State, Turn
from evolve.campaign.transition import accept
from evolve.driver.requests import Interrupted, Request
from evolve.operators.gaussian import entropies
from evolve.planning.plan import Plan
from evolve.recovery.shelf import Shelf
from fitness.work.work_unit import Evaluator
from population.clock import Clock as WallClock
from population.lineage.format.records import Commit
from population.stacks.row_format import decode_rows

POLL_S = 0.5
#: Work that leaves nothing behind but what a next life makes again. It begins before the commit that calls for it is durable,
#: so that workers need not wait for the disk; no result of it is accepted before.
PURE = (ev.Put, ev.Retain, ev.Judge)


@dataclass(frozen=True)
class Hands:
    """What the shell works with. ``observe`` is shown every new state; ``interrupted``, and whoever answers ``request``, asks
    for an end after the step under way."""

    evaluator: Evaluator
    commit: Callable[[Commit], None]
    shelf: Shelf
    clock: WallClock
    observe: Callable[[State], None]
    interrupted: threading.Event
    request: Callable[[], Request | None] = lambda: None


def drive(plan: Plan, turn: Turn, hands: Hands) -> State:
    """Returns the final state of a campaign that begins with this turn.

    Raises:
        Interrupted: somebody asked for it; everything committed stands.
    """
    began = hands.clock.monotonic()
    events: deque[ev.Event] = deque()
    while True:
        at_once, later = _by_effect(turn.work)
        for work in at_once:
            events.extend(_perform(plan, work, hands, events))
        for commit in turn.commits:
            hands.commit(commit)
        for work in later:
            events.extend(_perform(plan, work, hands, events))
        hands.observe(turn.state)
        if turn.state.phase == "done":
            return turn.state
        _end_if_wished(plan, turn, hands)
        while not events:
            events.extend(ev.UnitDone(result) for result in hands.evaluator.collect(POLL_S))
            _end_if_wished(plan, Turn(turn.state), hands)
        timed = accept(plan, turn.state, ev.Clock(hands.clock.monotonic() - began))
        turn = accept(plan, timed.state, events.popleft())


def _end_if_wished(plan: Plan, turn: Turn, hands: Hands) -> None:
    """Ends the campaign after a turn that committed a step, or after any where it is wished at once."""
    request = Request("interrupted") if hands.interrupted.is_set() else hands.request()
    if request is None or not (turn.commits or request.at_once):
        return
    if request.state != "interrupted":
        for commit in accept(plan, turn.state, ev.Marked(request.state)).commits:
            hands.commit(commit)
    raise Interrupted(f"{request.state}; evolve resume goes on from the last whole step", request.state)


def _by_effect(work: Sequence[ev.Work]) -> tuple[Sequence[ev.Work], Sequence[ev.Work]]:
    """Returns the work that may begin at once, and what waits for the commits; each in its order."""
    at_once = [found for found in work if isinstance(found, PURE)]
    return at_once, [found for found in work if not isinstance(found, PURE)]


def _perform(plan: Plan, work: ev.Work, hands: Hands, waiting: Iterable[ev.Event]) -> list[ev.Event]:
    if isinstance(work, ev.Judge):
        hands.evaluator.submit(work.unit)
    elif isinstance(work, ev.Continue):
        return [ev.Continued()]
    elif isinstance(work, ev.Put):
        hands.evaluator.put(work.digest, work.data)
    elif isinstance(work, ev.Retain):
        unseen = [event.result for event in waiting if isinstance(event, ev.UnitDone)]
        hands.evaluator.retain([*work.digests, *(d for result in unseen for d in result.digests if d is not None)])
    elif isinstance(work, ev.Keyframe):
        hands.shelf.keep_rows([hands.evaluator.fetch(digest) for digest in work.digests])
    elif isinstance(work, ev.Measure):
        rows = {e: decode_rows(plan.graph, [hands.evaluator.fetch(d)]) for e, d in work.rows.items()}
        return [ev.Measured({event: entropies(row, 0) for event, row in rows.items()})]
    elif work.digest is None:
        return [ev.Published(None, None, 0)]
    else:
        block, size = hands.shelf.publish(hands.evaluator.fetch(work.digest), work)
        return [ev.Published(work.champion, block, size)]
    return []
