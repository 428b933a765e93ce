"""What a complete batch leads to: it is told to the strategy, counted, recorded, and its rows are held or forgotten.

Nouns: *told* (a batch that the strategy knows the scores of).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from evolve import operators
from evolve.campaign.events import Keyframe, Retain, Work
from evolve.campaign.front import FrontPoint, Tally
from evolve.campaign.lineage_rows import births_of, generation_row, lifecycle_rows
from evolve.campaign.state import Asked, Kin, Scored, State
from evolve.planning.plan import Plan
from evolve.recipes.batch import Batch
from evolve.recipes.work_units import BatchResult, join_results
from evolve.strategies import Judged, Outcome
from population.lineage.format.records import Commit

#: So many batches on end without a new recipe end a search: an operator that draws nothing has said all it can.
MAX_BARREN = 50


def tell(plan: Plan, state: State, done: Asked) -> tuple[State, Commit, list[Work]]:
    """Returns the state after a complete batch was told, the commit that records it, and what is to be held or forgotten."""
    batch = done.batch
    tiers = len(plan.tiers_judged(done.phase, plan.graph.symbols))
    shape = (tiers, len(plan.benchmark.objectives), len(plan.benchmark.skills))
    result = join_results(len(batch.recipes), shape, done.cuts, done.results)
    result = _refer(state, done, result)
    judged = _judged(plan, done, result)
    generation = plan.strategy.generation(state.strategy)
    if done.phase == "search":
        strategy, outcome = plan.strategy.tell(state.strategy, batch, judged)
        state = replace(state, strategy=strategy)
    else:
        outcome = _choose_champion(judged)
        if "active" in outcome.statuses:
            state = replace(state, champion=batch.first_event + outcome.statuses.index("active"))
    has_advanced = plan.strategy.generation(state.strategy) > generation
    state = _count(plan, state, done, result, judged, has_advanced)
    state = _decide_end(plan, state, done)
    births = births_of(plan, batch, result, outcome, judged, done.repeats, plan.strategy.generation(state.strategy))
    state = _forget(plan, _keep(state, batch, result), batch, result)
    state, work = _hold(plan, state, is_keyframe=has_advanced and _ends_keyframe(plan, state, done))
    rows = {
        "generations": [generation_row(plan, state, len(batch.recipes))],
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
    # a finalist of an extension may repeat one of the search before
    best = next((int(row) for row in order if not np.isnan(judged.fitness[row]).any()), None)
    return Outcome(tuple("active" if row == best else "archived" for row in range(len(judged.fitness))))


def _count(plan: Plan, state: State, done: Asked, result: BatchResult, judged: Judged, has_advanced: bool) -> State:
    num_answers = plan.benchmark.num_answers(done.batch.split)
    parameters = plan.graph.bytes(plan.graph.symbols) // 4
    tally, spent = dict(state.tally), 0.0
    known: dict[tuple[str, str], Any] = {}  # a batch has few operators and settings, and many births
    numbers = zip(
        result.flops[:, -1].tolist(), result.flops.sum(axis=1).tolist(), judged.fitness[:, 0].tolist(), strict=True
    )
    for recipe, (flops, of_tiers, score) in zip(done.batch.recipes, numbers, strict=True):
        key = (recipe.operator, recipe.settings)
        if key not in known:
            operator = operators.get(recipe.operator)
            known[key] = (operator, operators.parse_settings(operator, recipe.settings))
        operator, typed = known[key]
        cost = operator.cost(flops, parameters, typed) + of_tiers * num_answers
        spent += cost
        tally[operator.key] = tally.get(operator.key, Tally()).with_birth(score, cost)
    members = plan.strategy.members(state.strategy)
    leading = _signed_of(plan, state, done, judged, members[0]) if members else ()
    improved = bool(leading) and (not state.best or leading > state.best)
    counts = done.phase == "search" and has_advanced
    return replace(
        state,
        tally=tally,
        flops=state.flops + spent,
        barren=0 if done.cuts else state.barren + 1,
        evaluations=state.evaluations + len(done.batch.recipes) - len(done.repeats),
        quarantined=state.quarantined + sum(verdict != "ok" for verdict in result.verdicts),
        best=leading if improved else state.best,
        stale=0 if improved else state.stale + counts,
        front=FrontPoint.extend(plan, state.front, done.batch, result, done.repeats),
    )


def _signed_of(plan: Plan, state: State, done: Asked, judged: Judged, event: int) -> tuple[float, ...]:
    if event in done.batch.events:
        return tuple(float(value) for value in judged.fitness[event - done.batch.first_event])
    return state.best


def _keep(state: State, batch: Batch, result: BatchResult) -> State:
    """Returns the state with the rows and scores of a batch; kin of what the last commit kept is forgotten: it is stored."""
    kin = {event: Kin(state.kin[event].digest) for event in state.keeping} if state.keeping else dict(state.kin)
    digests, judged = dict(state.digests), dict(state.judged)
    for position, event in enumerate(batch.events):
        digest = result.digests[position]
        judged[event] = (digest, result.scores[position], result.skills[position])
        if batch.keep and digest is not None:
            recipe = batch.recipes[position]
            digests[event] = digest
            kin[event] = Kin(digest, recipe, {d: batch.objects[d] for d in recipe.inputs if d in batch.objects})
    return replace(state, digests=digests, judged=judged, kin=kin, keeping=())


def _forget(plan: Plan, state: State, batch: Batch, result: BatchResult) -> State:
    """Returns the state with what may still be needed: members, outstanding parents, the champion, and what they refer to."""
    members = plan.strategy.members(state.strategy)
    needed = set(members) | {parent for asked in state.asked for p in asked.batch.recipes for parent in p.parents}
    needed |= {state.champion} if state.champion is not None else set()
    born = batch.events
    alive = needed | {event for asked in state.asked for event in asked.batch.events}
    met = {recipe: event for recipe, event in state.met.items() if needed.issuperset(recipe.parents)}
    referable = needed | set(met.values())
    return replace(
        state,
        digests={event: digest for event, digest in state.digests.items() if event in needed},
        widths={event: widths for event, widths in state.widths.items() if event in alive},
        entropies={event: found for event, found in state.entropies.items() if event in needed},
        met=met,
        kin={event: kin for event, kin in state.kin.items() if event in needed or event not in born},
        judged={event: _own(entry, result) for event, entry in state.judged.items() if event in referable},
    )


def _own(entry: Scored, result: BatchResult) -> Scored:
    """Returns scores that hold no array of a whole batch in memory, equal to these."""
    digest, scores, skills = entry
    return (digest, scores.copy(), skills.copy()) if scores.base is result.scores else entry


def _ends_keyframe(plan: Plan, state: State, done: Asked) -> bool:
    generation = plan.strategy.generation(state.strategy)
    return state.phase == "search" and done.batch.keep and generation % plan.config.keyframe == 0


def _hold(plan: Plan, state: State, *, is_keyframe: bool) -> tuple[State, list[Work]]:
    """Returns the work that holds the rows that may still be parents, and forgets the others."""
    if is_keyframe:
        state = replace(state, keeping=tuple(state.digests))
    untold = [d for asked in state.asked for result in asked.results.values() for d in result.digests if d is not None]
    held = Retain((*state.digests.values(), *untold))
    return state, [*keyframe(state), held]


def keyframe(state: State) -> list[Work]:
    """Returns the work that keeps the rows of a keyframe; it is asked for again where a resume begins after one."""
    return [Keyframe(tuple(state.digests[event] for event in state.keeping))] if state.keeping else []


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
