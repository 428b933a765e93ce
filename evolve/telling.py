"""What a complete batch leads to: it is told to the strategy, counted, recorded, and its rows are held or forgotten.

Nouns: *told* (a batch that the strategy knows the scores of).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from evolve import operators
from evolve.events import Keyframe, Retain, Work
from evolve.plan import Plan, settings_value
from evolve.rows import FrontPoint, Tally, births_of, generation_row, lifecycle_rows
from evolve.state import Asked, State
from evolve.strategies import Batch, Judged, Outcome
from evolve.units import BatchResult, join_results
from population.lineage.records import Commit

#: So many batches on end without a new recipe end a search: an operator that draws nothing has said all it can.
MAX_BARREN = 50


def tell(plan: Plan, state: State, done: Asked) -> tuple[State, Commit, list[Work]]:
    """Returns the state after a complete batch was told, the commit that records it, and what is to be held or forgotten."""
    batch = done.batch
    tiers = len(plan.tiers_judged(done.phase, plan.graph.symbols))
    shape = (tiers, len(plan.benchmark.objectives), plan.benchmark.num_classes)
    result = join_results(len(batch.proposals), shape, done.cuts, done.results)
    result = _refer(state, done, result)
    judged = _judged(plan, done, result)
    if done.phase == "search":
        strategy, outcome = plan.strategy.tell(state.strategy, batch, judged)
        state = replace(state, strategy=strategy)
    else:
        outcome = _choose_champion(judged)
        if "active" in outcome.statuses:
            state = replace(state, champion=batch.first_event + outcome.statuses.index("active"))
    state = _count(plan, state, done, result, judged)
    state = _decide_end(plan, state, done)
    births = births_of(plan, batch, result, outcome, judged, done.repeats, plan.strategy.generation(state.strategy))
    state, work = _hold(plan, state, batch, result)
    rows = {
        "generations": [generation_row(plan, state, len(batch.proposals))],
        "lifecycle": lifecycle_rows(plan, state.step, outcome),
    }
    commit = Commit(state.step, (births,), state.recorded, rows, _incidents(done))
    return replace(state, step=state.step + 1, recorded=()), commit, work


def _decide_end(plan: Plan, state: State, done: Asked) -> State:
    """Notes why the search ends with this batch, if it does; a clock's decision is recorded for the replay."""
    if done.phase != "search":
        return state
    reason = state.reason or _stop_reason(plan, state)
    if not reason:
        return state
    clock = ({"event": "clock", "seconds": state.seconds},) if reason == "seconds" else ()
    return replace(state, reason=reason, recorded=(*state.recorded, *clock, {"event": "stop", "reason": reason}))


def _refer(state: State, done: Asked, result: BatchResult) -> BatchResult:
    """Fills in the first score of every repeat."""
    digests = list(result.digests)
    for position, event in done.repeats.items():
        first = event - done.batch.first_event
        here = (digests[first], result.scores[first], result.skills[first]) if first >= 0 else None
        digests[position], result.scores[position], result.skills[position] = here or state.judged[event]
    return replace(result, digests=tuple(digests))


def _judged(plan: Plan, done: Asked, result: BatchResult) -> Judged:
    signs = np.array([1.0 if plan.benchmark.objectives[c].direction == "max" else -1.0 for c in plan.columns])
    tiers = result.scores[:, :, list(plan.columns)] * signs
    fitness = sum((tiers[:, tier] for tier in range(tiers.shape[1])), np.zeros(tiers[:, 0].shape)) / tiers.shape[1]
    failed = np.array([verdict != "ok" for verdict in result.verdicts])
    fitness[failed] = np.nan
    is_repeat = np.array([position in done.repeats for position in range(len(failed))])
    return Judged(fitness, result.skills[:, -1], is_repeat)


def _choose_champion(judged: Judged) -> Outcome:
    order = np.lexsort(-np.nan_to_num(judged.fitness, nan=-np.inf).T[::-1])
    best = next((int(row) for row in order if judged.is_usable[row]), None)
    return Outcome(tuple("active" if row == best else "archived" for row in range(len(judged.fitness))))


def _count(plan: Plan, state: State, done: Asked, result: BatchResult, judged: Judged) -> State:
    num_samples = len(plan.benchmark.rows(done.batch.split))
    parameters = plan.graph.bytes(plan.graph.symbols) // 4
    tally, spent = dict(state.tally), 0.0
    for position, proposal in enumerate(done.batch.proposals):
        operator = operators.get(proposal.operator)
        typed = operators.check_settings(operator, settings_value(proposal.settings))
        cost = (
            operator.cost(int(result.flops[position, -1]), parameters, typed)
            + int(result.flops[position].sum()) * num_samples
        )
        spent += cost
        score = float(judged.fitness[position, 0])
        tally[operator.key] = tally.get(operator.key, Tally()).with_birth(score, cost)
    members = plan.strategy.members(state.strategy)
    leading = _signed_of(plan, state, done, judged, members[0]) if members else ()
    improved = bool(leading) and (not state.best or leading > state.best)
    counts = done.batch.split == "validation" and done.phase == "search"
    return replace(
        state,
        tally=tally,
        flops=state.flops + spent,
        barren=0 if done.cuts else state.barren + 1,
        evaluations=state.evaluations + len(done.batch.proposals) - len(done.repeats),
        quarantined=state.quarantined + sum(verdict != "ok" for verdict in result.verdicts),
        best=leading if improved else state.best,
        stale=state.stale if not counts else 0 if improved else state.stale + 1,
        front=FrontPoint.extend(plan, state.front, done.batch, result, done.repeats),
    )


def _signed_of(plan: Plan, state: State, done: Asked, judged: Judged, event: int) -> tuple[float, ...]:
    if event in done.batch.events:
        return tuple(float(value) for value in judged.fitness[event - done.batch.first_event])
    return state.best


def _hold(plan: Plan, state: State, batch: Batch, result: BatchResult) -> tuple[State, list[Work]]:
    """Holds the rows that may still be parents (members, outstanding parents, the champion), forgets the others."""
    digests = dict(state.digests)
    if batch.keep:
        digests |= {event: d for event, d in zip(batch.events, result.digests, strict=True) if d is not None}
    judged = dict(state.judged)
    for position, event in enumerate(batch.events):
        judged[event] = (result.digests[position], result.scores[position], result.skills[position])
    members = plan.strategy.members(state.strategy)
    needed = set(members) | {parent for asked in state.asked for p in asked.batch.proposals for parent in p.parents}
    needed |= {state.champion} if state.champion is not None else set()
    pending = {event for asked in state.asked for event in asked.batch.events}
    held = {event: digest for event, digest in digests.items() if event in needed}
    is_keyframe = (
        state.phase == "search" and batch.keep and plan.strategy.generation(state.strategy) % plan.config.keyframe == 0
    )
    work: list[Work] = [Keyframe(tuple(held[event] for event in members))] if is_keyframe else []
    untold = [d for asked in state.asked for result in asked.results.values() for d in result.digests if d is not None]
    referable = needed | set(state.met.values())
    return replace(
        state,
        digests=held,
        widths={event: w for event, w in state.widths.items() if event in needed | pending},
        entropies={event: h for event, h in state.entropies.items() if event in needed},
        judged={event: scores for event, scores in judged.items() if event in referable},
    ), [*work, Retain((*held.values(), *untold))]


def _stop_reason(plan: Plan, state: State) -> str:
    stop = plan.config.stop
    generation = plan.strategy.generation(state.strategy)
    if state.limits:  # the config's own rules have had their say
        reached = {"generations": generation, "evaluations": state.evaluations}
        ended = next((name for name, limit in sorted(state.limits.items()) if reached[name] >= limit), "")
        return ended or ("nothing new to try" if state.barren >= MAX_BARREN else "")
    limits = (
        (stop.generations, generation, "generations"),
        (stop.evaluations, state.evaluations, "evaluations"),
        (stop.flops, state.flops, "flops"),
        (stop.seconds, state.seconds, "seconds"),
        (stop.patience, state.stale, "patience"),
    )
    for limit, value, name in limits:
        if limit is not None and value >= limit:
            return name
    if state.barren >= MAX_BARREN:
        return "nothing new to try"
    return "target" if stop.target and _reaches_target(plan, state) else ""


def _reaches_target(plan: Plan, state: State) -> bool:
    if not state.best:
        return False
    objectives = {objective.name: objective for objective in plan.benchmark.objectives}
    places = {name: place for place, name in enumerate(plan.config.objectives)}
    return all(
        name in places and state.best[places[name]] >= objectives[name].signed(value)
        for name, value in plan.config.stop.target.items()
    )


def _incidents(done: Asked) -> tuple[Mapping[str, Any], ...]:
    return tuple(incident for cut in done.cuts for incident in done.results[cut.unit.unit_id].incidents)
