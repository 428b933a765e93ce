"""Facts about a campaign's life as pure transitions: marks, extensions, another environment, over lists of commits."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evolve.campaign.events import ContinuedInexactly, Extended, Marked
from evolve.campaign.lineage_rows import population_id
from evolve.campaign.state import Turn
from evolve.campaign.transition import accept, begin
from evolve.driver.loop import Hands, drive
from evolve.driver.requests import Interrupted, Request, RequestFolder
from evolve.planning.plan import Plan
from evolve.recovery.replay import replay
from evolve.recovery.shelf import MemoryShelf
from fitness.evaluators.in_process import InProcessEvaluator
from population.clock import ManualClock
from population.errors import InputError
from population.files.local_files import MemoryFiles
from population.lineage.format.records import Commit
from tests.evolve import small
from tests.evolve.campaign.test_transition import ALL, plan_of_kind


def _marked(plan: Plan, commits: list[Commit], *states: str) -> list[Commit]:
    """Returns the commits, and a mark of each state after them."""
    found = list(commits)
    for state in states:
        found.extend(accept(plan, replay(plan, found), Marked(state)).commits)
    return found


@pytest.mark.parametrize("kind", ALL)
def test_marks_between_any_two_steps_change_no_birth(kind: str) -> None:
    plan = plan_of_kind(kind)
    state, commits, _ = small.play(plan)
    for length in range(1, len(commits)):
        marked = _marked(plan, commits[:length], "paused", "running")
        resumed, others, _ = small.play(plan, after=marked)
        assert [c.step for c in (*marked, *others)] == list(range(len(commits) + 2))
        assert small.digests([*marked, *others]) == small.digests(commits)
        assert (resumed.block, population_id(plan, resumed)) == (state.block, population_id(plan, state))


def test_a_wish_ends_the_campaign_after_its_step_and_is_recorded() -> None:
    plan = plan_of_kind("ga")
    _, commits, _ = small.play(plan)
    for wanted in range(1, len(commits)):
        written = _written_until_paused(plan, wanted)
        assert len(written) == wanted + 1
        assert written[-1].rows["campaigns"][0]["state"] == "paused"
        assert small.digests(written) == small.digests(commits[:wanted])


def _written_until_paused(plan: Plan, wanted: int) -> list[Commit]:
    """Returns what a campaign writes that is asked to pause once so many commits are written."""
    written: list[Commit] = []
    evaluator = InProcessEvaluator(plan.benchmark, small.MATERIALISE)
    hands = replace(_hands(evaluator, written), request=lambda: Request("paused") if len(written) >= wanted else None)
    with pytest.raises(Interrupted) as ended:
        drive(plan, begin(plan), hands)
    assert ended.value.state == "paused"
    return written


def test_a_wish_at_once_does_not_wait_for_the_step() -> None:
    plan = plan_of_kind("ga")
    written: list[Commit] = []
    hands = replace(_hands(Never(), written), request=lambda: Request("stopped", at_once=True))  # type: ignore[arg-type]
    with pytest.raises(Interrupted, match="stopped"):
        drive(plan, Turn(begin(plan).state), hands)
    assert [commit.rows["campaigns"][0]["state"] for commit in written] == ["stopped"]


class Never:
    """An evaluator whose units never end."""

    def collect(self, timeout_s: float | None = None) -> list[object]:
        return []


class Diary:
    """Notes in one line what a driver does: s(ubmits), C(ommits), c(ollects), k(eeps rows), p(ublishes)."""

    def __init__(self, plan: Plan) -> None:
        self.text = ""
        self._evaluator, self._shelf = InProcessEvaluator(plan.benchmark, small.MATERIALISE), MemoryShelf(plan)
        for owner, name, mark in (
            (self._evaluator, "submit", "s"),
            (self._evaluator, "collect", "c"),
            (self._shelf, "keep_rows", "k"),
            (self._shelf, "publish", "p"),
        ):
            setattr(owner, name, self._noted(getattr(owner, name), mark))
        self.hands = replace(_hands(self._evaluator, []), commit=self._noted(lambda commit: None, "C"))
        self.hands = replace(self.hands, shelf=self._shelf)

    def _noted(self, call: Callable[..., Any], mark: str) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            self.text += mark
            return call(*arguments)

        return noted


@pytest.mark.parametrize("kind", ALL)
def test_units_are_submitted_before_the_commit_that_asks_for_them_and_the_store_is_written_after_it(kind: str) -> None:
    plan = plan_of_kind(kind)
    diary = Diary(plan)
    drive(plan, begin(plan), diary.hands)
    assert re.search("cs+C", diary.text)
    assert "Ck" in diary.text
    assert diary.text.endswith("pC")
    assert set(re.findall(r"(.)[kp]", diary.text)) <= {"C", "k"}


def _hands(evaluator: InProcessEvaluator, commits: list[Commit]) -> Hands:
    shelf = MemoryShelf(small.plan_of())
    return Hands(evaluator, commits.append, shelf, ManualClock(0.0), lambda state: None, threading.Event())


def test_a_driver_obeys_only_what_was_asked_of_it_and_not_of_the_one_before() -> None:
    requests = RequestFolder(MemoryFiles(), Path("/campaign"))
    assert requests.driver() is None
    first = requests.take()
    requests.ask("pause", first)
    assert requests.request(first) == Request("paused")
    second = requests.take()  # the first one died before it looked
    assert requests.request(second) is None
    requests.ask("stop", first)  # somebody had read the first one's token
    assert requests.request(second) is None
    requests.ask("stop", second, at_once=True)
    assert requests.request(second) == Request("stopped", at_once=True)
    requests.leave()
    assert (requests.driver(), requests.request(second)) == (None, None)
    requests.leave()


@pytest.mark.parametrize("kind", ALL)
def test_an_extended_campaign_is_exact_too(kind: str) -> None:
    plan = plan_of_kind(kind)
    _, commits, _ = small.play(plan)
    done = replay(plan, commits)
    turn = accept(plan, done, Extended(evaluations=25))
    extended = [*commits, *turn.commits]
    state, others, _ = small.play(plan, after=extended)
    whole = [*extended, *others]
    assert done.evaluations + 25 <= state.evaluations
    assert state.reason == "evaluations"
    assert state.block is not None
    assert whole[-1].rows["campaigns"][0]["state"] == "done"
    for length in range(len(extended), len(whole)):
        again, rest, _ = small.play(plan, after=whole[:length])
        assert small.digests([*whole[:length], *rest]) == small.digests(whole)
        assert (again.block, population_id(plan, again)) == (state.block, population_id(plan, state))


def test_an_extension_counts_from_where_the_campaign_ended_and_can_be_extended_again() -> None:
    plan = plan_of_kind("ga")
    _, commits, _ = small.play(plan)
    generations = []
    for _ in range(2):
        turn = accept(plan, replay(plan, commits), Extended(generations=2))
        state, others, _ = small.play(plan, after=[*commits, *turn.commits])
        commits = [*commits, *turn.commits, *others]
        generations.append(plan.strategy.generation(state.strategy))
    assert generations == [6, 8]


@pytest.mark.parametrize(("length", "event"), [(2, Extended(evaluations=5)), (None, Extended())])
def test_what_is_not_finished_and_what_names_no_limit_is_no_extension(length: int | None, event: Extended) -> None:
    plan = plan_of_kind("ga")
    _, commits, _ = small.play(plan)
    with pytest.raises(InputError):
        accept(plan, replay(plan, commits[:length]), event)


def test_another_environment_is_recorded_with_the_bits_that_rows_have_there() -> None:
    plan = plan_of_kind("ga")
    _, commits, _ = small.play(plan)
    state = replay(plan, commits[:3])
    member = plan.strategy.members(state.strategy)[0]
    turn = accept(plan, state, ContinuedInexactly("elsewhere", {member: bytes(32)}))
    (commit,) = turn.commits
    assert commit.rows["campaigns"][0]["environment"] == "elsewhere"
    assert commit.incidents[0]["kind"] == "continued_inexactly"
    replayed = replay(plan, [*commits[:3], commit])
    assert replayed.digests[member] == bytes(32)
    assert (replayed.digests, replayed.step) == (turn.state.digests, turn.state.step)
