"""Facts about the core that all evaluators decide by: tries, lost seats, answers that count once, deadlines."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fitness.evaluators.dispatch import UNABLE, UNREAD, Dispatch, Try
from fitness.evaluators.worker import failed_result
from fitness.work.object_table import MAX_TRIES, Holdings, ObjectTable
from fitness.work.work_unit import UnitResult, WorkUnit
from population.errors import EvaluatorFailed
from tests.fitness.toys import toy_benchmark, toy_graph, unit_of

TIMEOUT_S = 10.0


def _unit(number: int = 0) -> WorkUnit:
    return replace(unit_of(toy_graph(), seeds=[number]), unit_id=number)


def _answer(unit: WorkUnit) -> UnitResult:
    return failed_result(unit, toy_benchmark(), "ok", "")


def _dispatch(*seats: str, units: int = 1) -> Dispatch[str, bytes]:
    dispatch: Dispatch[str, bytes] = Dispatch(ObjectTable(), toy_benchmark(), TIMEOUT_S)
    for seat in seats:
        dispatch.open(seat, math.inf)
        dispatch.ready(seat)
    for number in range(units):
        dispatch.submit(_unit(number))
    return dispatch


def _begun(dispatch: Dispatch[str, bytes]) -> Try[str]:
    run = dispatch.assign(0.0)
    assert run is not None
    return run


def test_a_result_counts_once_however_often_it_comes() -> None:
    dispatch = _dispatch("a")
    run = _begun(dispatch)
    assert dispatch.finish(run.number, _answer(run.unit), {b"row": b"bytes"})
    assert not dispatch.finish(run.number, _answer(run.unit), {b"other": b"bytes"})
    assert not dispatch.give_up(run.number, "too late")
    assert [result.unit_id for result in dispatch.take_finished()] == [0]
    assert dispatch.take_finished() == []
    assert b"other" not in dispatch.objects


def test_an_answer_from_a_seat_that_was_lost_does_not_count() -> None:
    dispatch = _dispatch("a", "b")
    late = _begun(dispatch)
    assert dispatch.lose("a", "died")
    again = _begun(dispatch)
    assert (again.seat, again.unit) == ("b", late.unit)
    assert not dispatch.finish(late.number, _answer(late.unit), {})
    assert dispatch.finish(again.number, _answer(again.unit), {})
    (result,) = dispatch.take_finished()
    assert result.incidents == [{"kind": "retry", "reason": "died"}]


def test_a_second_loss_of_one_try_costs_no_second_try() -> None:
    dispatch = _dispatch("a", "b", "c")
    run = _begun(dispatch)
    dispatch.lose("a", "died")
    dispatch.lose("a", "died")
    dispatch.give_up(run.number, "died")
    assert _begun(dispatch).unit == run.unit
    assert dispatch.assign(0.0) is None


def test_a_try_that_read_nothing_is_told_apart_and_costs_no_try_of_the_others() -> None:
    """The loss of a node once counted as a second judging of units that had only failed to read their parents there."""
    dispatch = _dispatch("a")
    for kind in ("retry", UNREAD, "retry", UNREAD):
        dispatch.give_up(_begun(dispatch).number, "lost", kind)
    run = _begun(dispatch)
    dispatch.finish(run.number, _answer(run.unit), {})
    (result,) = dispatch.take_finished()
    assert [incident["kind"] for incident in result.incidents] == ["retry", UNREAD, "retry", UNREAD]
    assert result.verdicts == ["ok"]


def test_a_unit_fails_when_its_tries_are_used_up() -> None:
    dispatch = _dispatch("a")
    for number in range(MAX_TRIES):
        dispatch.give_up(_begun(dispatch).number, f"reason {number}")
    assert not dispatch.is_working
    (result,) = dispatch.take_finished()
    assert result.verdicts == ["infra_failure"]
    assert result.details == [f"reason {MAX_TRIES - 1}"]
    assert len(result.incidents) == MAX_TRIES


def test_want_of_a_jail_is_no_units_failure() -> None:
    """Without room for shared memory every candidate once became an infra_failure, which resume could not take back."""
    dispatch = _dispatch("a", units=2)
    for _ in range(MAX_TRIES - 1):
        dispatch.give_up(_begun(dispatch).number, "no shared memory", UNABLE)
    with pytest.raises(EvaluatorFailed, match="no shared memory"):
        dispatch.give_up(_begun(dispatch).number, "no shared memory", UNABLE)
    assert dispatch.take_finished() == []


def test_a_unit_that_is_tried_again_comes_before_those_that_wait() -> None:
    dispatch = _dispatch("a", units=3)
    dispatch.give_up(_begun(dispatch).number, "died")
    assert [_take(dispatch) for _ in range(3)] == [0, 1, 2]


def _take(dispatch: Dispatch[str, bytes]) -> int:
    run = _begun(dispatch)
    dispatch.finish(run.number, _answer(run.unit), {})
    return run.unit.unit_id


def test_a_seat_is_overdue_at_its_deadline_and_not_before() -> None:
    dispatch = _dispatch("a", units=2)
    dispatch.open("b", 4.0)
    assert _begun(dispatch).deadline == TIMEOUT_S
    assert dispatch.next_deadline() == 4.0
    assert dispatch.overdue(3.9) == []
    assert dispatch.overdue(4.0) == ["b"]
    dispatch.ready("b")
    assert dispatch.deadline_of("b") is None
    assert dispatch.overdue(TIMEOUT_S) == ["a"]


def test_workers_that_never_start_end_it_and_one_that_starts_is_forgiven() -> None:
    dispatch = _dispatch()
    for number in range(2 * MAX_TRIES):
        dispatch.open(f"{number}", 1.0)
        if number % 2:
            dispatch.ready(f"{number}")
        else:
            dispatch.lose(f"{number}", "exit code 1")
    for number in range(MAX_TRIES - 1):
        dispatch.open(f"x{number}", 1.0)
        dispatch.lose(f"x{number}", "exit code 1")
    dispatch.open("last", 1.0)
    with pytest.raises(EvaluatorFailed, match="exit code 1"):
        dispatch.lose("last", "exit code 1")


def test_a_seat_that_was_lost_while_it_started_is_not_ready_later() -> None:
    dispatch = _dispatch()
    dispatch.open("a", 1.0)
    dispatch.lose("a", "no answer in time")
    dispatch.ready("a")
    assert dispatch.assign(0.0) is None


def test_what_a_worker_made_again_is_not_forgotten_by_an_older_word() -> None:
    """It once was: the word to forget a row outlived the row's second birth, and units that read it failed."""
    holdings = Holdings()
    holdings.made([b"row"])
    holdings.drop([b"row"])
    holdings.made([b"row"])
    assert holdings.pack([b"row"]) == ([], [])
    holdings.drop([b"row"])
    assert holdings.pack([b"row"]) == ([b"row"], [b"row"])
