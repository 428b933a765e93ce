"""Brings a campaign back to where its lineage ends, by feeding it what was recorded.

Nouns: *replay* (the same transition, recorded results instead of workers'), *resume* (a replay, the rows that are held made
again, and the work that is outstanding).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import numpy as np

from evolve import operators
from evolve.campaign.events import Continued, Measured, UnitDone
from evolve.campaign.state import State, Turn
from evolve.campaign.transition import accept, begin, event_of, outstanding
from evolve.planning.plan import Plan
from evolve.recipes.batch import Batch
from evolve.recipes.recipe import Recipe, settings_value
from evolve.recipes.work_units import Cut
from evolve.recovery.rebuild import Rebuilt, Record, StoredRow, read_records, rebuild_rows
from fitness.work.work_unit import Evaluator, UnitResult
from population.errors import EvolveError, LineageCorrupt, NotFound
from population.lineage.format.records import Births, Commit


def resume(
    plan: Plan,
    read_commits: Callable[[], Iterable[Commit]],
    evaluator: Evaluator,
    stored: StoredRow | None = None,
    *,
    checkpoint: State | None = None,
    read_from: Callable[[int], Iterable[Commit]] | None = None,
) -> Turn:
    """Returns the turn that goes on after the last commit; the rows it needs are put into the evaluator.

    Args:
        read_commits: gives the commits from the first on; read_from: from a step on. Either may be called again.
        checkpoint: a state that the log went through; what it recorded from there on is replayed.
        stored: where given, rows kept at keyframes stand for everything above them.

    Raises:
        LineageCorrupt: the commits do not follow from the config. EvolveError: rows come out with other bits than recorded.
    """
    state = _brought_back(plan, read_commits, checkpoint, read_from)
    needed = sorted(event for event in state.digests if event >= 0)  # founders of a fork are put by who launches it
    rebuilt = _rebuild(plan, state, needed, read_commits, stored)
    for event in needed:
        if rebuilt.digests[event] != state.digests[event]:
            raise EvolveError(f"event {event} was rebuilt to other bits than recorded: this environment differs")
        evaluator.put(rebuilt.digests[event], rebuilt.rows[event])
    return Turn(state, outstanding(plan, state))


def _brought_back(
    plan: Plan,
    read_commits: Callable[[], Iterable[Commit]],
    checkpoint: State | None,
    read_from: Callable[[int], Iterable[Commit]] | None,
) -> State:
    """Returns the state after the last commit. A checkpoint that the log does not follow from is left alone: it is a cache."""
    if checkpoint is not None and read_from is not None:
        with suppress(LineageCorrupt):
            return replay(plan, read_from(checkpoint.step), checkpoint)
    return replay(plan, read_commits())


def _rebuild(
    plan: Plan,
    state: State,
    needed: list[int],
    read_commits: Callable[[], Iterable[Commit]],
    stored: StoredRow | None,
) -> Rebuilt:
    """Returns the rows that are held: from the last keyframe on, or from the first birth where the store has it no more."""
    records = {
        event: Record(event, "", kin.recipe, kin.digest, np.nan, kin.objects) for event, kin in state.kin.items()
    }
    try:
        return rebuild_rows(plan, records, needed, stored)
    except NotFound:
        return rebuild_rows(plan, read_records(plan, read_commits()), needed, stored)


def replay(plan: Plan, commits: Iterable[Commit], state: State | None = None) -> State:
    """Returns the state after the recorded commits, from the beginning or from a state on.

    Raises LineageCorrupt where they do not follow from the config.
    """
    state = state or begin(plan).state
    for commit in commits:
        if commit.step == 0:
            continue
        if commit.step != state.step:
            raise LineageCorrupt(f"replay expected step {state.step}, the lineage holds step {commit.step}")
        for value in commit.events:
            event = event_of(value)
            if event is not None:
                state = accept(plan, state, event).state
        for births in commit.births:
            state = _feed(plan, state, births)
    return state


def _feed(plan: Plan, state: State, births: Births) -> State:
    asked = state.asked[0] if state.asked else None
    if (
        asked is None
        or asked.batch.first_event != int(births.event[0])
        or len(asked.batch.recipes) != len(births.event)
    ):
        raise LineageCorrupt(f"replay: births from event {births.event[0]} are not what this config asks for next")
    if not asked.is_submitted:
        state = accept(plan, state, Measured(_entropies(asked.batch, births))).state
        asked = state.asked[0]
    if not asked.cuts:
        return accept(plan, state, Continued()).state
    for cut in asked.cuts:
        for position in cut.positions:
            _check(asked.batch.recipes[position], births, position)
        state = accept(plan, state, UnitDone(_recorded(births, cut))).state
    return state


def _entropies(batch: Batch, births: Births) -> dict[int, Mapping[str, float]]:
    """Returns what was measured of parents before a batch was judged: its recipes record it."""
    found: dict[int, Mapping[str, float]] = {}
    for recipe, settings in zip(batch.recipes, births.settings, strict=True):
        if operators.get(recipe.operator).measures_parent:
            found[recipe.parents[0]] = settings_value(settings).get("entropies", {})
    return found


def _check(recipe: Recipe, births: Births, position: int) -> None:
    found = (births.operator[position], int(births.seed[position]), births.settings[position])
    wanted = (recipe.operator, recipe.seed, recipe.settings)
    if found != wanted:
        raise LineageCorrupt(
            f"replay: event {births.event[position]} was recorded as {found}, the config asks for {wanted}"
        )


def _recorded(births: Births, cut: Cut) -> UnitResult:
    rows = list(cut.positions)
    tiers = len(births.tiers)
    digests = [births.weights_digest[row] for row in rows]
    return UnitResult(
        unit_id=cut.unit.unit_id,
        digests=[bytes.fromhex(digest) if digest else None for digest in digests],
        verdicts=[births.verdict[row] for row in rows],
        details=[births.detail[row] for row in rows],
        scores=np.ascontiguousarray(births.scores[rows]).reshape(len(rows), tiers, -1),
        skills=np.ascontiguousarray(births.skills[rows]).reshape(len(rows), tiers, -1),
        flops=np.ascontiguousarray(births.flops[rows]),
    )
