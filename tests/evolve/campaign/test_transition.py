"""Facts about the campaign as a pure transition: determinism, order of arrival, replay, repeats, stop rules."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from evolve import strategies
from evolve.campaign import events as ev
from evolve.campaign.lineage_rows import population_id
from evolve.campaign.summary import summary_of
from evolve.campaign.transition import accept, begin
from evolve.operators.gaussian import entropies
from evolve.planning.plan import Plan
from evolve.recovery.replay import replay
from evolve.recovery.shelf import MemoryShelf
from fitness.evaluators.in_process import InProcessEvaluator
from fitness.work.work_unit import UnitResult, WorkUnit
from population.errors import ConfigError, LineageCorrupt
from population.lineage.format.records import Commit
from population.stacks.row_format import decode_rows
from tests.evolve import small
from tests.evolve.toy_strategies import ToyArchive, ToySteadyState

KINDS = {
    "ga": {"strategy": {"kind": "ga", "population": 10}},
    "nsga2": {},
    "steady": {"strategy": {"kind": "steady", "population": 10, "settings": {"batch": 3, "window": 3}}},
    "openai_es": {
        "strategy": {"kind": "openai_es", "population": 8},
        "tiers": {"fractions": {"lite": 0.5, "ultimate": 1.0}, "trained": "search"},
        "objectives": ["cross_entropy"],
        "operators": {},
        "widths": {},
    },
}


def plan_of_kind(kind: str, **changes: Any) -> Plan:
    """Returns the plan of a small campaign with this strategy."""
    if kind in KINDS:
        return small.plan_of(**{**KINDS[kind], **changes})
    toy = {"toy_archive": ToyArchive(), "toy_steady_state": ToySteadyState()}[kind]
    return replace(small.plan_of(**changes), strategy=toy)


ALL = [*KINDS, "toy_archive", "toy_steady_state"]


class Shuffled:
    """An evaluator that returns finished units in an order of its own, some of them twice, a few at a time."""

    def __init__(self, inner: InProcessEvaluator, seed: int) -> None:
        self._inner, self._random = inner, np.random.default_rng(seed)
        self._done: list[UnitResult] = []
        self.sandbox_level = inner.sandbox_level
        self.put, self.fetch, self.close = inner.put, inner.fetch, inner.close

    def retain(self, digests: Iterable[bytes]) -> None:
        undelivered = [digest for result in self._done for digest in result.digests if digest is not None]
        self._inner.retain([*digests, *undelivered])

    def submit(self, unit: WorkUnit) -> None:
        self._inner.submit(unit)

    def collect(self, timeout_s: float | None = None) -> list[UnitResult]:
        while True:
            more = self._inner.collect(0)
            if not more:
                break
            self._done.extend(more)
        self._done = [self._done[place] for place in self._random.permutation(len(self._done))]
        given = [self._done.pop() for _ in range(min(len(self._done), 1 + int(self._random.integers(2))))]
        return given + given[:1]


@pytest.mark.parametrize("kind", ALL)
def test_the_same_plan_gives_the_same_lineage_whatever_order_results_arrive_in(kind: str) -> None:
    plan = plan_of_kind(kind)
    state, commits, _ = small.play(plan)
    for seed in range(2):
        shuffled = Shuffled(InProcessEvaluator(plan.benchmark, small.MATERIALISE), seed)
        other, others, _ = small.play(plan, evaluator=shuffled)
        assert small.digests(others) == small.digests(commits)
        assert population_id(plan, other) == population_id(plan, state)


@pytest.mark.parametrize("kind", ALL)
def test_another_seed_gives_another_lineage(kind: str) -> None:
    assert small.digests(small.play(plan_of_kind(kind))[1]) != small.digests(small.play(plan_of_kind(kind, seed=1))[1])


@pytest.mark.parametrize("kind", ALL)
def test_a_campaign_resumed_after_any_commit_ends_as_if_it_never_stopped(kind: str) -> None:
    plan = plan_of_kind(kind)
    state, commits, _ = small.play(plan)
    for length in range(1, len(commits)):
        resumed, others, _ = small.play(plan, after=commits[:length])
        assert small.digests([*commits[:length], *others]) == small.digests(commits)
        assert (resumed.block, population_id(plan, resumed)) == (state.block, population_id(plan, state))


def test_every_birth_is_recorded_once_with_parents_that_exist() -> None:
    _, commits, _ = small.play(plan_of_kind("nsga2"))
    known: set[str] = set()
    for births in (births for commit in commits for births in commit.births):
        assert not known & set(births.individual)
        assert {parent for parents in births.parents for parent in parents} <= known
        known |= set(births.individual)
    assert len(known) == 10 + 3 * 10 + 2


def test_a_recipe_met_before_is_not_judged_twice() -> None:
    plan = plan_of_kind("ga", operators={"mean": {}}, stop={"generations": 6})
    _, commits, _ = small.play(plan)
    births = [births for commit in commits for births in commit.births]
    repeats = [(b, row) for b in births for row, first in enumerate(b.repeat_of) if first]
    assert repeats
    first = {name: (b, row) for b in births for row, name in enumerate(b.individual)}
    for again, row in repeats:
        original, place = first[again.repeat_of[row]]
        assert again.weights_digest[row] == original.weights_digest[place]
        assert np.array_equal(again.scores[row], original.scores[place])
        assert again.status[row] == "archived"
    state = replay(plan, commits)
    assert state.evaluations == sum(len(b.event) for b in births) - len(repeats)


def test_a_campaign_of_nothing_but_repeats_goes_on_to_its_end() -> None:
    plan = plan_of_kind(
        "ga", operators={"mean": {}}, strategy={"kind": "ga", "population": 2}, stop={"generations": 12}, tiers=None
    )
    state, commits, _ = small.play(plan)
    assert state.reason == "generations"
    assert any(all(births.repeat_of) for commit in commits for births in commit.births)
    for length in range(1, len(commits)):  # a batch of repeats alone is told in a turn of its own, in a replay too
        assert replay(plan, commits[:length]).step == length


def test_a_search_that_has_nothing_new_to_try_ends() -> None:
    """Repeats are no evaluations: a limit on evaluations alone would never be reached."""
    plan = plan_of_kind(
        "ga", operators={"mean": {}}, strategy={"kind": "ga", "population": 2}, stop={"evaluations": 100}, tiers=None
    )
    state, _, _ = small.play(plan)
    assert state.reason == "nothing new to try"


def test_first_individuals_that_all_fail_are_followed_by_others_until_a_stop_rule_ends_it() -> None:
    """It once ended with an IndexError: a population of nobody was asked for parents."""
    plan = plan_of_kind("ga", init={"gain": 1e39}, stop={"generations": 3})
    state, commits, _ = small.play(plan)
    assert state.reason == "generations"
    assert state.block is None
    assert commits[-1].rows["campaigns"][0]["state"] == "failed"
    assert {status for c in commits for b in c.births for status in b.status} == {"quarantined"}


def test_what_is_trained_is_what_is_judged_where_a_block_has_two_outputs() -> None:
    """Bursts once trained the first output while the judge read the one called logits."""
    graph = dict(small.values()["graph"])
    graph["nodes"] = [*graph["nodes"], {"name": "other", "op": "linear", "inputs": ["act"], "out": 3}]
    graph["outputs"] = {"aux": "other", "logits": "head"}
    burst = {"burst": {"settings": {"steps": 30, "batch": 32, "learning_rate": 0.01}}}
    state, _, _ = small.play(plan_of_kind("ga", graph=graph, operators=burst, stop={"generations": 6}, tiers=None))
    assert state.best[0] > 0.7


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ({"generations": 2}, "generations"),
        ({"evaluations": 15}, "evaluations"),
        ({"flops": 1.0}, "flops"),
        ({"patience": 1}, "patience"),
        ({"target": {"accuracy": 0.1}}, "target"),
    ],
)
def test_the_search_ends_by_the_rule_that_comes_first(stop: dict[str, Any], reason: str) -> None:
    state, commits, _ = small.play(plan_of_kind("nsga2", stop={"generations": 30, **stop}))
    assert state.reason == reason
    assert any(event == {"event": "stop", "reason": reason} for commit in commits for event in commit.events)


class Ticking:
    """A clock that a second passes on at every look."""

    def __init__(self) -> None:
        self._looks = 0

    def now(self) -> float:
        return self.monotonic()

    def monotonic(self) -> float:
        self._looks += 1
        return float(self._looks)


def test_seconds_end_the_search_by_an_event_that_a_replay_reads() -> None:
    plan = plan_of_kind("ga", stop={"generations": 30, "seconds": 6})
    state, commits, _ = small.play(plan, clock=Ticking())
    assert state.reason == "seconds"
    resumed, others, _ = small.play(plan, after=commits[:-1])  # its clock stands still: the record decides
    assert resumed.reason == "seconds"
    assert small.digests([*commits[:-1], *others]) == small.digests(commits)


def test_the_champion_has_nested_tiers_and_its_scores_are_reported() -> None:
    plan = plan_of_kind("nsga2")
    state, _, shelf = small.play(plan)
    assert shelf.block is not None
    assert state.block == shelf.block.id
    lite, ultimate = shelf.block.tiers["lite"], shelf.block.tiers["ultimate"]
    assert all(lite[symbol] <= ultimate[symbol] for symbol in ultimate)
    summary = summary_of(plan, state, "small", "", 1.0)
    assert set(summary["scores"]) == {"lite", "ultimate"}
    assert summary["scores"]["ultimate"]["accuracy"] > 0.5


@dataclass
class Counting(MemoryShelf):
    """A shelf that notes how many rows it was given each time."""

    kept: list[int] = field(default_factory=list)

    def keep_rows(self, rows: Sequence[bytes]) -> None:
        self.kept.append(len(rows))


def test_every_second_generation_is_kept_whole_as_a_keyframe() -> None:
    plan = plan_of_kind("nsga2")
    shelf = Counting(plan)
    state, _, _ = small.play(plan, shelf=shelf)
    members = len(plan.strategy.members(state.strategy))
    assert shelf.kept == [members, members]


def test_a_lineage_of_another_config_is_not_replayed() -> None:
    _, commits, _ = small.play(plan_of_kind("ga"))
    with pytest.raises(LineageCorrupt, match="the config asks for"):
        replay(plan_of_kind("ga", seed=1), commits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ["speed"]}, "'speed' is not measured"),
        ({"operators": {"gausian": {}}}, "did you mean 'gaussian"),
        ({"operators": {"gaussian": {"settings": {"rate": -1}}}}, "operators.gaussian.settings.*rate"),
        ({"operators": {}}, "name at least one"),
        ({"widths": {"hiden": [8]}}, "no such symbol; it has hidden"),
        ({"widths": {"hidden": [99]}}, "choose from 1 to 16"),
        ({"tiers": {"fractions": {"lite": 0.9, "ultimate": 0.5}}}, "must grow"),
        ({"strategy": {"kind": "ga", "settings": {"elits": 2}}}, "knows: elites"),
        ({"viability": {"objective": "bytes"}}, "not among objectives"),
        ({"stop": {"target": {"cross_entropy": 1.0}}}, "stop.target.cross_entropy"),
        ({"init": {"gain": float("inf")}}, "init.*gain"),
        ({"init": {"widths": {"hidden": 8}}}, "section `widths`"),
        ({"plugins": ["."]}, "cannot be imported"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_compute(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small.plan_of(**changes)


def _play_measuring(plan: Plan, wait: int) -> list[Commit]:
    """Plays a campaign whose measurements of parents come in after so many other events, if there are any."""
    evaluator = InProcessEvaluator(plan.benchmark, small.MATERIALISE)
    turn, commits = begin(plan), []
    events: deque[ev.Event] = deque()
    measured: deque[tuple[int, ev.Event]] = deque()
    number = 0
    while not any(isinstance(work, ev.Publish) for work in turn.work):
        commits.extend(turn.commits)
        for work in turn.work:
            if isinstance(work, ev.Put):
                evaluator.put(work.digest, work.data)
            elif isinstance(work, ev.Judge):
                evaluator.submit(work.unit)
            elif isinstance(work, ev.Continue):
                events.append(ev.Continued())
            elif isinstance(work, ev.Measure):
                rows = {e: decode_rows(plan.graph, [evaluator.fetch(d)]) for e, d in work.rows.items()}
                measured.append((number + wait, ev.Measured({event: entropies(row, 0) for event, row in rows.items()})))
        if not (measured and measured[0][0] <= number) and not events:
            events.extend(ev.UnitDone(result) for result in evaluator.collect())
        is_due = measured and (measured[0][0] <= number or not events)
        turn = accept(plan, turn.state, measured.popleft()[1] if is_due else events.popleft())
        number += 1
    evaluator.close()
    return commits


@pytest.mark.parametrize("seed", range(3))
def test_when_a_parent_is_measured_changes_nothing(seed: int) -> None:
    """A batch that waited for nothing was once submitted before an older one that did: which of two equal recipes counted
    as the repeat, and in which commit a measurement was recorded, followed from the order of arrival."""
    plan = plan_of_kind(
        "steady",
        seed=seed,
        strategy={"kind": "steady", "population": 4, "settings": {"batch": 2, "window": 4}},
        operators={"entropy": {}, "mean": {"weight": 3}},
        stop={"generations": 20},
        tiers=None,
    )
    first, *others = [_play_measuring(plan, wait) for wait in (0, 1, 3, 7)]
    assert any(name for commit in first for births in commit.births for name in births.repeat_of)
    for other in others:
        assert small.digests(other) == small.digests(first)
        assert [births.repeat_of for c in other for births in c.births] == [
            b.repeat_of for c in first for b in c.births
        ]


def test_strategies_are_all_covered_here() -> None:
    assert set(strategies.kinds()) == set(KINDS)
