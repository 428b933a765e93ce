"""Units that a plugin's code takes part in: what it does costs one candidate, and it reaches no more than it needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from blake3 import blake3

from fitness.evaluators.maker import JailedMaker, narrowed
from fitness.judges.judge import Failure
from fitness.processes import verdicts
from fitness.work.work_unit import NO_PARENT, WorkUnit
from population.stacks.row_format import encode_row, row_digests
from population.stacks.stack import Stack
from tests.fitness.contract import LIMITS, RAY_SLOWLY, build, run
from tests.fitness.toy_materialise import materialise
from tests.fitness.toys import MATERIALISE, PLUGINS, hostile_graph, no_objects, toy_benchmark, toy_graph, unit_of

#: operator -> what its candidate's verdict says.
CRIMES = {
    "explode@1": "ArithmeticError: boom",
    "spin@1": verdicts.TIMEOUT_DETAIL,
    "eat@1": verdicts.MEMORY_DETAIL,
    "crash@1": "ended by SIGSEGV",
    "leave@1": "ended with exit code 3 and no answer",
}


def unit_with(operators: list[str]) -> WorkUnit:
    """A unit over a plugin's operation, one candidate an operator."""
    unit = unit_of(hostile_graph(), seeds=range(len(operators)), operators=operators)
    unit.candidates["operator"] = range(len(operators))
    return unit


@pytest.mark.parametrize("kind", ["in process", "processes", RAY_SLOWLY])
def test_a_plugin_that_misbehaves_while_it_makes_costs_its_own_candidate(
    kind: str, request: pytest.FixtureRequest
) -> None:
    if kind == "ray":
        request.getfixturevalue("ray_session")
    unit = unit_with(["init@1", *CRIMES, "init@1"])
    evaluator = build(kind)
    (found,) = run(evaluator, unit)
    evaluator.close()
    inline = build("inline")
    (alone,) = run(inline, replace(unit, candidates=unit.candidates[[0, -1]]))
    inline.close()
    assert found.verdicts == [verdicts.OK, *[verdicts.MATERIALISE] * len(CRIMES), verdicts.OK]
    assert list(found.details) == ["", *CRIMES.values(), ""]
    assert [found.digests[0], found.digests[-1]] == list(alone.digests)
    assert found.scores[[0, -1]].tobytes() == alone.scores.tobytes()
    assert not any(incident["kind"] == "retry" for incident in found.incidents)


@pytest.fixture(scope="module")
def maker() -> Iterator[JailedMaker]:
    found = JailedMaker(MATERIALISE, toy_benchmark(), plugins=PLUGINS, limits=LIMITS)
    yield found
    found.close()
    found.close()


def test_what_is_made_in_a_jail_has_the_bits_of_what_is_made_outside(maker: JailedMaker) -> None:
    parents = materialise(unit_of(hostile_graph(), seeds=range(3)), no_objects, toy_benchmark())
    held = {digest: encode_row(parents, row) for row, digest in enumerate(row_digests(parents))}
    unit = unit_of(hostile_graph(), seeds=range(9, 12), parents=list(held))
    outside = materialise(unit, held.__getitem__, toy_benchmark())
    for row in range(3):
        inside = maker.make(unit, row, held.__getitem__)
        assert isinstance(inside, Stack), inside
        assert encode_row(inside, 0) == encode_row(outside, row)


def test_no_file_is_read_while_making(maker: JailedMaker) -> None:
    found = maker.make(unit_with(["read@1"]), 0, no_objects)
    assert isinstance(found, Failure)
    assert found.cause == verdicts.CRASH
    assert "Error" in found.detail


def test_a_jail_that_is_killed_from_outside_is_replaced(maker: JailedMaker) -> None:
    first = maker.make(unit_with(["init@1"]), 0, no_objects)
    zygote = maker._cell.running
    assert zygote is not None
    os.kill(zygote.pid, 9)
    second = maker.make(unit_with(["init@1"]), 0, no_objects)
    assert isinstance(first, Stack)
    assert isinstance(second, Stack)
    assert row_digests(first) == row_digests(second)


def test_a_candidate_is_made_from_its_own_parents_and_inputs_alone() -> None:
    digests = [bytes([number]) * 32 for number in range(5)]
    unit = unit_of(toy_graph(), seeds=range(3), parents=digests[:3], inputs=digests[3:])
    unit.candidates["parents"][1, :2] = [2, 0]
    unit.candidates["inputs"][1] = 2
    single = narrowed(unit, 1)
    assert single.parents == (digests[0], digests[2])
    assert single.inputs == (digests[4],)
    assert list(single.candidates["parents"][0, :3]) == [1, 0, NO_PARENT]
    assert int(single.candidates["inputs"][0]) == 1
    assert int(unit.candidates["parents"][1, 0]) == 2, "the unit itself is not changed"


def test_rows_and_labels_of_other_splits_are_not_in_the_jail(maker: JailedMaker) -> None:
    """Everything that is sent at the start is searched for what it must not hold."""
    benchmark = toy_benchmark()
    sent = b"".join(bytes(blob) for blob in maker._cell._blobs)
    assert benchmark.inputs_of("train")["x"].tobytes() in sent
    for split in ("validation", "heldout"):
        rows = benchmark.inputs_of(split)["x"]
        assert not any(row.tobytes() in sent for row in rows)
        assert benchmark.targets_of(split)[0].tobytes() not in sent


@pytest.mark.parametrize("answer", ["size", "digest", "garbage", "other graph"])
def test_an_answer_that_is_no_row_of_the_graph_is_not_believed(maker: JailedMaker, answer: str) -> None:
    maker._cell.ready(1, 1)
    child = maker._cell.child
    assert child is not None
    other = encode_row(Stack.zeros(toy_graph(), 1), 0)
    data = other if answer == "other graph" else b"EVROW1" + b"\xff" * 50
    child.taken.memory[: len(data)] = data
    size = child.taken.size + 1 if answer == "size" else len(data)
    digest = b"" if answer == "digest" else blake3(data).digest()
    found = maker._checked(hostile_graph(), size, digest)
    assert isinstance(found, Failure)
    assert found.cause == verdicts.OUTPUT
