"""The contract suite of ``Evaluator``, run on every implementation, and what each of them adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from fitness.evaluators.child_processes import ProcessEvaluator
from fitness.evaluators.in_process import InProcessEvaluator
from fitness.processes.isolation import probe
from fitness.work.work_unit import Evaluator, UnitResult
from population.errors import ConfigError, EvaluatorFailed
from tests.fitness.contract import KINDS, build, plain, run
from tests.fitness.toys import MATERIALISE, hostile_graph, toy_benchmark, toy_graph, unit_of


@pytest.fixture(scope="module", params=KINDS)
def evaluator(request: pytest.FixtureRequest) -> Iterator[Evaluator]:
    if request.param == "ray":
        request.getfixturevalue("ray_session")
    found = build(request.param)
    yield found
    found.close()
    found.close()


def test_a_unit_comes_back_once_scored_and_digested(evaluator: Evaluator) -> None:
    (result,) = run(evaluator, unit_of(toy_graph(), seeds=[1, 2, 3]))
    assert result.verdicts == ["ok"] * 3
    assert result.scores.shape == (3, 1, 4)
    assert np.isfinite(result.scores).all()
    assert result.skills.shape == (3, 1, 3)
    assert (result.flops == toy_graph().flops(toy_graph().symbols)).all()
    assert len(set(result.digests)) == 3
    assert evaluator.collect(0.0) == []


def test_results_are_those_of_the_inline_evaluator_to_the_bit(evaluator: Evaluator) -> None:
    units = [replace(unit_of(toy_graph(), seeds=range(number, number + 5)), unit_id=number) for number in range(3)]
    expected = build("inline")
    assert [plain(result) for result in run(evaluator, *units)] == [plain(result) for result in run(expected, *units)]


def test_a_worker_without_a_jail_gives_the_same_results_at_level_none() -> None:
    unit = unit_of(toy_graph(), seeds=range(5))
    evaluator = ProcessEvaluator(toy_benchmark(), MATERIALISE, is_jailed=False)
    try:
        assert evaluator.sandbox_level == "none"
        assert [plain(result) for result in run(evaluator, unit)] == [plain(r) for r in run(build("inline"), unit)]
    finally:
        evaluator.close()


def test_a_candidates_result_does_not_depend_on_its_unit(evaluator: Evaluator) -> None:
    (together,) = run(evaluator, unit_of(toy_graph(), seeds=range(10, 15)))
    (alone,) = run(evaluator, unit_of(toy_graph(), seeds=[13]))
    assert alone.scores[0].tobytes() == together.scores[3].tobytes()
    assert alone.digests[0] == together.digests[3]


def test_tiers_come_back_in_their_order_with_their_flops(evaluator: Evaluator) -> None:
    tiers = {"lite": {"hidden": 8}, "ultimate": {}}
    (result,) = run(evaluator, unit_of(toy_graph(), seeds=[4], tiers=tiers))
    graph = toy_graph()
    assert result.flops[0].tolist() == [graph.flops({"hidden": 8}), graph.flops({"hidden": 16})]
    assert result.scores[0, 0].tobytes() != result.scores[0, 1].tobytes()
    assert result.scores[0, :, 3].tolist() == [graph.bytes({"hidden": 8}), graph.bytes({"hidden": 16})]


def test_narrow_rows_are_counted_by_their_own_widths(evaluator: Evaluator) -> None:
    (result,) = run(evaluator, unit_of(toy_graph(), seeds=[4], settings={"widths": {"hidden": 8}}))
    assert result.flops[0, 0] == toy_graph().flops({"hidden": 8})


def test_kept_children_are_fetched_and_become_parents(evaluator: Evaluator) -> None:
    (first,) = run(evaluator, unit_of(toy_graph(), seeds=[5, 6]))
    digests = [digest for digest in first.digests if digest is not None]
    rows = [evaluator.fetch(digest) for digest in digests]
    assert rows[0] != rows[1]
    (second,) = run(evaluator, unit_of(toy_graph(), seeds=[7, 8], parents=digests))
    fresh = build("inline")
    for digest, row in zip(digests, rows, strict=True):
        fresh.put(digest, row)
    (expected,) = run(fresh, unit_of(toy_graph(), seeds=[7, 8], parents=digests))
    assert plain(second) == plain(expected)


def test_put_objects_are_fetched_and_putting_twice_changes_nothing(evaluator: Evaluator) -> None:
    evaluator.put(b"a" * 32, b"some bytes")
    evaluator.put(b"a" * 32, b"some bytes")
    assert evaluator.fetch(b"a" * 32) == b"some bytes"


def test_inputs_of_a_unit_are_read_from_put_objects(evaluator: Evaluator) -> None:
    evaluator.put(b"i" * 32, b"xyz")
    (result,) = run(evaluator, unit_of(toy_graph(), seeds=[9], operator="count@1", inputs=[b"i" * 32]))
    assert result.verdicts == ["ok"]


def test_what_is_not_kept_is_not_held(evaluator: Evaluator) -> None:
    (result,) = run(evaluator, replace(unit_of(toy_graph(), seeds=[77]), keep=False))
    assert result.digests[0] is not None
    with pytest.raises(KeyError):
        evaluator.fetch(result.digests[0])


def test_what_is_not_retained_is_forgotten(evaluator: Evaluator) -> None:
    (result,) = run(evaluator, unit_of(toy_graph(), seeds=[21, 22]))
    kept, dropped = result.digests
    assert kept is not None
    assert dropped is not None
    evaluator.retain([kept])
    assert evaluator.fetch(kept)
    with pytest.raises(KeyError):
        evaluator.fetch(dropped)


def test_queued_units_keep_what_they_need(evaluator: Evaluator) -> None:
    (first,) = run(evaluator, unit_of(toy_graph(), seeds=[31]))
    parent = first.digests[0]
    assert parent is not None
    units = [replace(unit_of(toy_graph(), seeds=[40 + n], parents=[parent]), unit_id=n) for n in range(4)]
    for unit in units:
        evaluator.submit(unit)
    evaluator.retain([])
    results: list[UnitResult] = []
    while len(results) < 4:
        results.extend(evaluator.collect(10.0))
    assert {cause for result in results for cause in result.verdicts} == {"ok"}
    with pytest.raises(KeyError):
        evaluator.fetch(parent)


def test_a_unit_with_a_parent_nobody_holds_is_refused(evaluator: Evaluator) -> None:
    with pytest.raises(EvaluatorFailed, match="not held"):
        evaluator.submit(unit_of(toy_graph(), seeds=[1], parents=[b"?" * 32]))


def test_an_operator_that_raises_is_the_verdict_of_its_candidate_alone(evaluator: Evaluator) -> None:
    unit = unit_of(toy_graph(), seeds=[1, 2, 3], operators=["init@1", "explode@1"])
    unit.candidates["operator"][1] = 1
    (result,) = run(evaluator, unit)
    (clean,) = run(evaluator, unit_of(toy_graph(), seeds=[1, 3]))
    assert result.verdicts == ["ok", "materialise", "ok"]
    assert result.details[1] == "ArithmeticError: boom"
    assert result.digests[1] is None
    assert np.isnan(result.scores[1]).all()
    assert result.scores[[0, 2]].tobytes() == clean.scores.tobytes()


def test_a_parameter_that_is_not_finite_is_nan(evaluator: Evaluator) -> None:
    (result,) = run(evaluator, unit_of(toy_graph(), seeds=[1], settings={"not_finite": "out.bias"}))
    assert result.verdicts == ["nan"]


def test_a_graph_that_does_not_fit_the_benchmark_is_output(evaluator: Evaluator) -> None:
    (result,) = run(evaluator, unit_of(toy_graph(num_outputs=4), seeds=[1, 2]))
    assert result.verdicts == ["output"] * 2
    assert "answered with 3 numbers" in result.details[0]


TRIGGERS = {
    1: "nan",
    2: "crash",
    3: "timeout",
    4: "memory",
    5: "crash",
    6: "output",
    7: "memory",
    8: "crash",
    9: "timeout",
    10: "crash",
    11: "crash",
    12: "crash",
}


@pytest.mark.slow  # a whole campaign of such candidates is judged quickly: tests/evolve/driver/test_poisoned_campaign.py
@pytest.mark.parametrize("kind", ["in process", "processes", "ray"])
def test_half_hostile_candidates_get_their_verdicts_and_change_no_neighbours_bit(
    kind: str, request: pytest.FixtureRequest
) -> None:
    if kind == "ray":
        request.getfixturevalue("ray_session")
    hostile = list(TRIGGERS)
    settings = [{"trigger": float(code)} for code in (0, *hostile)]
    count = 2 * len(hostile)
    unit = unit_of(hostile_graph(), seeds=range(count), settings=settings)
    unit.candidates["settings"][1::2] = np.arange(1, len(settings))
    clean = unit_of(hostile_graph(), seeds=range(0, count, 2), settings=settings)
    evaluator = build(kind)
    (result,) = run(evaluator, unit)
    evaluator.close()
    (expected,) = run(build("inline"), clean)
    assert result.verdicts[0::2] == ["ok"] * len(hostile)
    assert dict(zip(hostile, result.verdicts[1::2], strict=True)) == TRIGGERS
    assert result.scores[0::2].tobytes() == expected.scores.tobytes()
    assert result.skills[0::2].tobytes() == expected.skills.tobytes()
    assert list(result.digests[0::2]) == list(expected.digests)
    assert np.isnan(result.scores[1::2]).all()
    assert all(result.details[1::2])


def test_a_plugin_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(ConfigError, match="no_such_plugin"):
        InProcessEvaluator(toy_benchmark(), MATERIALISE, plugins=["no_such_plugin"])
    with pytest.raises(EvaluatorFailed, match="no_such_plugin"):
        ProcessEvaluator(toy_benchmark(), MATERIALISE, plugins=["no_such_plugin"])


def test_a_materialise_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="missing"):
        InProcessEvaluator(toy_benchmark(), "tests.fitness.toys:missing")


def test_levels_say_how_scores_were_made(evaluator: Evaluator, request: pytest.FixtureRequest) -> None:
    kind = request.node.callspec.params["evaluator"]
    assert evaluator.sandbox_level == ("none" if kind == "inline" else probe().level)
