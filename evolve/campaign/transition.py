"""The campaign as a pure transition: ``(state, accepted event) -> (state, work to do, commits to write)``.

Nothing here touches a clock, a file, a worker or a store. A run feeds events as they come; a resume feeds the recorded
ones; a test feeds a list. Births are told to the strategy in event order, whatever order results arrive in.

Nouns: *event* (something accepted from outside), *work* (something asked of the shell).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evolve import operators
from evolve.campaign.episode_seeds import as_played, finals_of
from evolve.campaign.events import (
    Clock,
    Continue,
    Continued,
    ContinuedInexactly,
    Event,
    Extended,
    Judge,
    Marked,
    Measure,
    Measured,
    Publish,
    Published,
    Put,
    Stop,
    UnitDone,
    Work,
)
from evolve.campaign.lifecycle import continue_inexactly, life_event_of, mark, reopened
from evolve.campaign.lineage_rows import blocks_row, campaign_row
from evolve.campaign.state import Asked, State, Turn
from evolve.campaign.tell import keyframe, tell
from evolve.planning.plan import Plan, distil_settings
from evolve.recipes.batch import Batch
from evolve.recipes.recipe import Recipe, canonical_settings, settings_value
from evolve.recipes.work_units import Cut, cut_batch
from fitness.benchmarks.episodes import Episodes
from fitness.work.work_unit import UnitResult
from population.lineage.format.records import Commit
from population.randomness import derive_seed


def begin(plan: Plan) -> Turn:
    """Returns the first turn of a campaign: its record, and the first batches to judge."""
    founders = {-place - 1: founder for place, founder in enumerate(plan.origin.founders)} if plan.origin else {}
    state = State(
        strategy=plan.strategy.start(plan.problem),
        digests={event: founder.digest for event, founder in founders.items()},
        widths={event: founder.widths for event, founder in founders.items()},
    )
    event = {"event": "begin", **({"origin": plan.origin.to_value()} if plan.origin else {})}
    commit = Commit(step=0, rows={"campaigns": [campaign_row(plan, "running")]}, events=(event,))
    turn = _fill(plan, state)
    return Turn(turn.state, turn.work, (commit,))


def accept(plan: Plan, state: State, event: Event) -> Turn:
    """Returns what follows from one event. Events that the state does not wait for change nothing."""
    if isinstance(event, UnitDone):
        return _going_on(_take_result(plan, state, event.result))
    if isinstance(event, Measured):
        known = {**state.entropies, **event.entropies}
        return _going_on(_submit_waiting(plan, replace(state, entropies=known)))
    if isinstance(event, Continued):
        return _going_on(_tell_oldest(plan, state))
    if isinstance(event, Clock):
        return Turn(replace(state, seconds=max(state.seconds, event.seconds)))
    if isinstance(event, Published):
        return _finish(plan, state, event)
    if isinstance(event, Marked):
        return mark(plan, state, event)
    if isinstance(event, ContinuedInexactly):
        return continue_inexactly(plan, state, event)
    if isinstance(event, Extended):
        opened = reopened(plan, state, event)
        turn = _fill(plan, opened.state)
        return _going_on(Turn(turn.state, (*opened.work, *turn.work), opened.commits))
    assert isinstance(event, Stop)
    return Turn(replace(state, reason=state.reason or event.reason))


def event_of(value: Mapping[str, Any]) -> Event | None:
    """Returns the event that a recorded value stands for, or None for records that drive nothing."""
    if value["event"] == "measured":
        return Measured({int(key): entropies for key, entropies in value["entropies"].items()})
    if value["event"] == "clock":
        return Clock(value["seconds"])
    if value["event"] == "stop":
        return Stop(value["reason"])
    if value["event"] == "published":
        return Published(value["champion"], value["block"], value["size_bytes"])
    return life_event_of(value)


def outstanding(plan: Plan, state: State) -> tuple[Work, ...]:
    """Returns the work that a state still waits for: what a resumed campaign begins with."""
    work: list[Work] = keyframe(state)
    for asked in state.asked:
        if asked.is_submitted:
            work.extend(Put(digest, data) for digest, data in asked.batch.objects.items())
            work.extend(Judge(cut.unit) for cut in asked.cuts if cut.unit.unit_id not in asked.results)
    if state.phase == "publish":
        return (*work, *_publish(plan, state).work)
    return (*work, *_going_on(_submit_waiting(plan, state)).work)


def _fill(plan: Plan, state: State) -> Turn:
    """Asks for batches until the strategy's window is full."""
    while state.phase == "search" and len(state.asked) < plan.strategy.window:
        strategy, batch = plan.strategy.ask(state.strategy, state.next_event)
        batch = as_played(plan, batch, plan.strategy.generation(state.strategy))
        asked = (*state.asked, Asked(batch, "search"))
        state = replace(state, strategy=strategy, asked=asked, next_event=state.next_event + len(batch.recipes))
    return _submit_waiting(plan, state)


def _submit_waiting(plan: Plan, state: State) -> Turn:
    """Submits the batches that nothing holds back, in order; asks for entropies that recipes must record first.

    A batch waits for the ones asked before it, also where it has nothing to measure itself: which of two equal recipes is
    the repeat would follow from the order of arrival otherwise.
    """
    work: list[Work] = []
    is_held = False
    for place, asked in enumerate(state.asked):
        if asked.is_submitted:
            continue
        missing = sorted(set(_to_measure(asked.batch)) - set(state.entropies))
        is_held = is_held or bool(missing)
        if missing:
            work.append(Measure({event: state.digests[event] for event in missing}))
        if not is_held:
            state, submitted = _submit(plan, state, place)
            work.extend(submitted)
    return Turn(state, tuple(work))


def _to_measure(batch: Batch) -> list[int]:
    return [p.parents[0] for p in batch.recipes if operators.get(p.operator).measures_parent]


def _submit(plan: Plan, state: State, place: int) -> tuple[State, list[Work]]:
    asked = state.asked[place]
    recipes = tuple(_with_entropies(state, recipe) for recipe in asked.batch.recipes)
    batch = replace(asked.batch, recipes=recipes)
    repeats, met = _repeats(state, batch)
    widths = {event: _widths_of(plan, state, p) for event, p in zip(batch.events, recipes, strict=True)}
    state = replace(state, met=met, widths={**state.widths, **widths})
    submitted = replace(asked, batch=batch, repeats=repeats, is_submitted=True)
    submitted = replace(submitted, cuts=cut_again(plan, state, submitted, state.next_unit))
    asked_all = (*state.asked[:place], submitted, *state.asked[place + 1 :])
    state = replace(state, asked=asked_all, next_unit=state.next_unit + len(submitted.cuts))
    work: list[Work] = [Put(digest, data) for digest, data in batch.objects.items()]
    return state, work + [Judge(cut.unit) for cut in submitted.cuts]


def cut_again(plan: Plan, state: State, asked: Asked, first_unit: int) -> tuple[Cut, ...]:
    """Returns the units of a submitted batch; the state holds its parents and the widths of its births."""
    tiers = [plan.tiers_judged(asked.phase, state.widths[event]) for event in asked.batch.events]
    positions = [position for position in range(len(asked.batch.recipes)) if position not in asked.repeats]
    graph, tile = plan.graph.to_value(), plan.kernel.candidates
    return tuple(cut_batch(asked.batch, tiers, positions, state.digests, graph, tile, first_unit))


def _with_entropies(state: State, recipe: Recipe) -> Recipe:
    if not operators.get(recipe.operator).measures_parent:
        return recipe
    values = {**settings_value(recipe.settings), "entropies": dict(state.entropies[recipe.parents[0]])}
    return replace(recipe, settings=canonical_settings(values))


def _repeats(state: State, batch: Batch) -> tuple[dict[int, int], dict[Recipe, int]]:
    """Returns which births repeat a recipe met before (position -> event), and the recipes met by now."""
    met, repeats = dict(state.met), {}
    for position, recipe in enumerate(batch.recipes):
        if operators.get(recipe.operator).draws or not batch.keep:
            continue
        unseeded = recipe.unseeded
        if unseeded in met:
            repeats[position] = met[unseeded]
        met.setdefault(unseeded, batch.first_event + position)
    return repeats, met


def _widths_of(plan: Plan, state: State, recipe: Recipe) -> Mapping[str, int]:
    if recipe.parents:
        return state.widths[recipe.parents[0]]
    return plan.widths_of(settings_value(recipe.settings).get("widths", {}))


def _take_result(plan: Plan, state: State, result: UnitResult) -> Turn:
    for place, asked in enumerate(state.asked):
        if any(cut.unit.unit_id == result.unit_id for cut in asked.cuts):
            taken = replace(asked, results={**asked.results, result.unit_id: result})
            state = replace(state, asked=(*state.asked[:place], taken, *state.asked[place + 1 :]))
            return _tell_oldest(plan, state)
    return Turn(state)


def _tell_oldest(plan: Plan, state: State) -> Turn:
    """Tells the oldest batch if it is complete: one commit a turn."""
    if not _may_tell(state):
        return Turn(state)
    done, state = state.asked[0], replace(state, asked=state.asked[1:])
    state, commit, held = tell(plan, state, done)
    turn = _advance(plan, state)
    return Turn(turn.state, (*held, *turn.work), (commit,))


def _may_tell(state: State) -> bool:
    return bool(state.asked) and state.asked[0].is_complete


def _going_on(turn: Turn) -> Turn:
    """Returns the turn with a request to go on where the next batch is complete already."""
    return replace(turn, work=(*turn.work, Continue())) if _may_tell(turn.state) else turn


def _advance(plan: Plan, state: State) -> Turn:
    """Goes on after a told batch: next batches, the finalists, or publication."""
    if state.phase == "search":
        return _begin_finals(plan, replace(state, asked=())) if state.reason else _fill(plan, state)
    if state.phase == "distil":
        return _publish(plan, state)
    return Turn(state)


def _begin_finals(plan: Plan, state: State) -> Turn:
    members = plan.strategy.members(state.strategy)
    if not members:
        return Turn(replace(state, phase="publish"), (Publish(None, None, {}),))
    tiers = plan.config.tiers
    if isinstance(plan.benchmark, Episodes):
        return _judge_finalists(plan, state, finals_of(plan, members, state.next_event))
    if tiers is None or tiers.trained == "search":
        return _publish(plan, replace(state, champion=members[0]))
    recipes = tuple(
        Recipe(
            "distil@1",
            (event,),
            ("parent",),
            derive_seed(plan.key, state.next_event + place, 0, "distil@1"),
            distil_settings(plan, state.widths[event]),
            (plan.benchmark.digest("train"),),
        )
        for place, event in enumerate(members[: tiers.finalists])
    )
    return _judge_finalists(plan, state, Batch(state.next_event, recipes))


def _judge_finalists(plan: Plan, state: State, batch: Batch) -> Turn:
    asked, next_event = (Asked(batch, "distil"),), state.next_event + len(batch.recipes)
    return _submit_waiting(plan, replace(state, phase="distil", asked=asked, next_event=next_event))


def _publish(plan: Plan, state: State) -> Turn:
    state = replace(state, phase="publish")
    if state.champion is None:
        return Turn(state, (Publish(None, None, {}),))
    tiers = plan.tiers_of(state.widths[state.champion]) if plan.fractions else {}
    return Turn(state, (Publish(state.champion, state.digests[state.champion], tiers),))


def _finish(plan: Plan, state: State, event: Published) -> Turn:
    value = {"event": "published", "champion": event.champion, "block": event.block, "size_bytes": event.size_bytes}
    rows: dict[str, Sequence[Mapping[str, Any]]] = {
        "campaigns": [campaign_row(plan, "done" if event.block else "failed")]
    }
    if event.champion is not None and event.block is not None:
        tiers = plan.tiers_of(state.widths[event.champion]) if plan.fractions else {}
        rows["blocks"] = [blocks_row(plan, event, tiers)]
    commit = Commit(state.step, (), (*state.recorded, value), rows)
    done = replace(state, phase="done", block=event.block, step=state.step + 1, recorded=())
    return Turn(done, (), (commit,))
