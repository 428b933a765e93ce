from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
import torch

from fitness.judges.judge import Failure, InlineJudge, Judge, Limits, SubprocessJudge
from fitness.judges.tile_plan import KernelPlan, PlanTable
from fitness.judges.tiles import Tile, forward
from fitness.processes import messages, verdicts
from fitness.processes.shared_memory import Region
from fitness.scoring.judge_rows import judge_stack
from fitness.work.work_unit import Judging
from population.encoding.cbor import encode
from population.errors import EvaluatorFailed, JailUnavailable
from population.graphs.graph import OpGraph
from population.stacks.stack import Stack
from tests.fitness.toy_materialise import materialise
from tests.fitness.toys import PLUGINS, hostile_graph, no_objects, toy_benchmark, toy_graph, unit_of
from tests.orphans import children_of

JUDGING = Judging("validation", {"ultimate": {}})
SMALL = PlanTable((), KernelPlan(4, 32))
LIMITS = Limits(cpu_s=1, wall_s=3.0, memory_bytes=512 << 20)


def make_stack(graph: OpGraph, seeds: range, trigger: float = 0.0) -> Stack:
    unit = unit_of(graph, seeds=seeds, settings={"trigger": trigger})
    return materialise(unit, no_objects, toy_benchmark())


@pytest.fixture(scope="module", params=["inline", "subprocess"])
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    found = InlineJudge() if request.param == "inline" else SubprocessJudge(plugins=PLUGINS, limits=LIMITS)
    yield found
    found.close()
    found.close()


def test_a_judge_in_another_process_gives_the_bits_of_the_inline_one(judge: Judge) -> None:
    stack = make_stack(toy_graph(), range(7))
    found = judge_stack(stack, toy_benchmark(), judge, JUDGING)
    expected = judge_stack(stack, toy_benchmark(), InlineJudge(), JUDGING)
    assert found.scores.tobytes() == expected.scores.tobytes()
    assert found.merits.tobytes() == expected.merits.tobytes()


def test_bits_do_not_depend_on_how_full_a_tile_is(judge: Judge) -> None:
    stack = make_stack(toy_graph(), range(9))
    together = judge_stack(stack, toy_benchmark(), judge, JUDGING, SMALL)
    for row in range(9):
        alone = judge_stack(stack.gather([row]), toy_benchmark(), judge, JUDGING, SMALL)
        assert alone.scores[0].tobytes() == together.scores[row].tobytes()


def test_accuracy_is_the_mean_of_correct_rows(judge: Judge) -> None:
    judged = judge_stack(make_stack(toy_graph(), range(3)), toy_benchmark(), judge, JUDGING)
    assert judged.scores[:, :, 0] == pytest.approx(judged.merits.mean(axis=2))
    assert judged.merits.shape == (3, 1, len(toy_benchmark().rows("validation")))


def test_each_split_is_judged_on_its_own_rows(judge: Judge) -> None:
    stack = make_stack(toy_graph(), range(2))
    splits = ("validation", "heldout", "validation")
    first, second, third = (judge_stack(stack, toy_benchmark(), judge, Judging(s, {"u": {}})) for s in splits)
    assert first.scores.tobytes() == third.scores.tobytes()
    assert first.scores.tobytes() != second.scores.tobytes()
    assert second.merits.shape[2] == len(toy_benchmark().rows("heldout"))


def test_nan_is_the_verdict_of_its_row_without_a_second_run(judge: Judge) -> None:
    stack = Stack.concat([make_stack(hostile_graph(), range(1)), make_stack(hostile_graph(), range(1, 2), 1.0)])
    judged = judge_stack(stack, toy_benchmark(), judge, JUDGING)
    assert judged.verdicts == ["ok", "nan"]
    assert judged.incidents == []


def test_an_exception_is_a_crash_with_its_type_and_words(judge: Judge) -> None:
    judged = judge_stack(make_stack(hostile_graph(), range(1), 8.0), toy_benchmark(), judge, JUDGING)
    assert judged.verdicts == ["crash"]
    assert judged.details == ["RuntimeError: this operation raises"]


def test_a_wrong_shape_is_output(judge: Judge) -> None:
    judged = judge_stack(make_stack(hostile_graph(), range(1), 6.0), toy_benchmark(), judge, JUDGING)
    assert judged.verdicts == ["output"]


@pytest.fixture
def subprocess_judge() -> Iterator[SubprocessJudge]:
    found = SubprocessJudge(plugins=PLUGINS, limits=LIMITS)
    yield found
    found.close()


def zygote_pid(judge: SubprocessJudge) -> int:
    assert judge._cell.running is not None
    return judge._cell.running.pid


def test_a_killed_zygote_is_replaced(subprocess_judge: SubprocessJudge) -> None:
    stack = make_stack(toy_graph(), range(2))
    first = judge_stack(stack, toy_benchmark(), subprocess_judge, JUDGING)
    os.kill(zygote_pid(subprocess_judge), signal.SIGKILL)
    time.sleep(0.2)
    second = judge_stack(stack, toy_benchmark(), subprocess_judge, JUDGING)
    assert second.verdicts == ["ok", "ok"]
    assert first.scores.tobytes() == second.scores.tobytes()


def test_a_judging_child_dies_with_its_zygote(subprocess_judge: SubprocessJudge) -> None:
    judge_stack(make_stack(toy_graph(), range(2)), toy_benchmark(), subprocess_judge, JUDGING)
    (child,) = children_of(zygote_pid(subprocess_judge))
    os.kill(zygote_pid(subprocess_judge), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{child}/stat") and time.monotonic() < deadline:
        with open(f"/proc/{child}/stat", encoding="ascii") as stat:
            if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                break
        time.sleep(0.05)
    else:
        assert not os.path.exists(f"/proc/{child}")


def test_one_child_answers_tile_after_tile_and_a_plugins_child_only_one(subprocess_judge: SubprocessJudge) -> None:
    ours, theirs = make_stack(toy_graph(), range(2)), make_stack(hostile_graph(), range(2))
    pids = []
    for stack in (ours, ours, theirs, theirs):
        judge_stack(stack, toy_benchmark(), subprocess_judge, JUDGING)
        pids.append(children_of(zygote_pid(subprocess_judge)))
    assert pids[0] == pids[1] != []
    assert pids[2] == pids[3] == []


def test_no_label_and_no_secret_reaches_the_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything written to the judge is searched for the labels; its environment for what ours holds."""
    monkeypatch.setenv("SOME_SECRET", "hunter2")
    written: list[bytes] = []
    send = messages.send

    def spy(connection: object, message: messages.Message, deadline: float | None = None) -> None:
        written.extend([encode(dict(message.fields)), *(bytes(blob) for blob in message.blobs)])
        send(connection, message, deadline)  # type: ignore[arg-type]

    fill = Region.fill

    def spy_memory(self: Region, parts: Sequence[bytes | memoryview]) -> list[int]:
        written.extend(bytes(part) for part in parts)
        return fill(self, parts)

    monkeypatch.setattr(messages, "send", spy)
    monkeypatch.setattr(Region, "fill", spy_memory)
    judge = SubprocessJudge(limits=LIMITS)
    benchmark = toy_benchmark()
    judge_stack(make_stack(toy_graph(), range(1)), benchmark, judge, JUDGING)
    labels = benchmark.targets_of("validation")[0]
    everything = b"".join(written)
    for dtype in (np.int64, np.int32, np.uint8, np.float32):
        assert labels[:16].astype(dtype).tobytes() not in everything
    assert benchmark.inputs_of("validation")["x"].tobytes() in everything
    with open(f"/proc/{zygote_pid(judge)}/environ", "rb") as environment:
        assert b"hunter2" not in environment.read()
    judge.close()


def test_the_judge_cannot_write_a_file_or_dump_core(subprocess_judge: SubprocessJudge) -> None:
    judge_stack(make_stack(toy_graph(), range(1)), toy_benchmark(), subprocess_judge, JUDGING)
    (child,) = children_of(zygote_pid(subprocess_judge))
    with open(f"/proc/{child}/limits", encoding="ascii") as limits:
        lines = {line[:26].strip(): line[26:].split()[:2] for line in limits}
    assert lines["Max file size"] == ["0", "0"]
    assert lines["Max core file size"] == ["0", "0"]
    assert lines["Max address space"][0].isdigit()
    assert lines["Max cpu time"][0].isdigit()


def test_a_plugin_that_cannot_be_imported_is_named() -> None:
    judge = SubprocessJudge(plugins=["no_such_plugin"])
    with pytest.raises(EvaluatorFailed, match="no_such_plugin"):
        judge_stack(make_stack(toy_graph(), range(1)), toy_benchmark(), judge, JUDGING)


def test_an_answer_of_the_wrong_size_is_output() -> None:
    """A child that lies about what it computed is not believed."""
    judge = SubprocessJudge(limits=LIMITS)
    stack = make_stack(toy_graph(), range(1))
    judge_stack(stack, toy_benchmark(), judge, JUDGING)
    plan = KernelPlan(1, 16)
    graph = encode(stack.graph.to_value())
    key = toy_benchmark().digest("validation")
    tile = Tile(key, graph, stack, (("u", {}),), plan, (("logits", 3),))
    answer = judge.run(tile)
    assert not isinstance(answer, Failure)
    lying = type("Lying", (Tile,), {"output_shapes": lambda self, rows: [(1, 3, rows + 1)]})
    found = judge.run(lying(**{name: getattr(tile, name) for name in Tile.__dataclass_fields__}))
    assert found == Failure(verdicts.OUTPUT, "answered with something else than was asked for")
    judge.close()


def test_what_is_done_meanwhile_is_done_once(judge: Judge) -> None:
    done: list[int] = []
    judge_stack(
        make_stack(toy_graph(), range(11)), toy_benchmark(), judge, JUDGING, SMALL, meanwhile=lambda: done.append(1)
    )
    assert done == [1]


def test_what_fails_meanwhile_leaves_no_answer_to_an_old_question(judge: Judge) -> None:
    """The answer under way would be taken for that to the next question."""
    stack = make_stack(toy_graph(), range(4))
    expected = judge_stack(stack, toy_benchmark(), InlineJudge(), JUDGING, SMALL)

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge_stack(make_stack(toy_graph(), range(4, 8)), toy_benchmark(), judge, JUDGING, SMALL, meanwhile=fail)
    found = judge_stack(stack, toy_benchmark(), judge, JUDGING, SMALL)
    assert found.scores.tobytes() == expected.scores.tobytes()


@contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """Leaves this process so many descriptors that it may still open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, hard))
    taken = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(spare):
            os.close(taken.pop())
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("spare", range(4))
def test_want_of_descriptors_is_no_verdict_and_leaks_none(spare: int, subprocess_judge: SubprocessJudge) -> None:
    """A child needs four: two regions, and both ends of a connection."""
    stack = make_stack(toy_graph(), range(4))
    expected = judge_stack(stack, toy_benchmark(), subprocess_judge, JUDGING, SMALL)
    subprocess_judge._cell.end_child()
    before = os.listdir("/proc/self/fd")
    with few_descriptors(spare), pytest.raises(JailUnavailable):
        judge_stack(stack, toy_benchmark(), subprocess_judge, JUDGING, SMALL)
    assert os.listdir("/proc/self/fd") == before
    found = judge_stack(stack, toy_benchmark(), subprocess_judge, JUDGING, SMALL)
    assert found.scores.tobytes() == expected.scores.tobytes()


def test_a_zygote_that_cannot_be_had_is_no_verdict() -> None:
    judge = SubprocessJudge()
    before = os.listdir("/proc/self/fd")
    for spare in range(4):
        with few_descriptors(spare), pytest.raises(JailUnavailable, match="ulimit -n"):
            judge_stack(make_stack(toy_graph(), range(1)), toy_benchmark(), judge, JUDGING, SMALL)
        judge.close()
    assert os.listdir("/proc/self/fd") == before


def test_a_tile_of_ours_that_fails_is_split_and_its_innocent_rows_keep_their_bits() -> None:
    """Kernels of ours may crash too; tiles with plugins hold one row, so that no other test comes this way."""
    stack = make_stack(toy_graph(), range(4))
    guilty = stack.tensors["out.bias"][2]

    class Fragile(InlineJudge):
        def run(self, tile: Tile, **how: Any) -> object:  # type: ignore[override]
            if any(torch.equal(bias, guilty) for bias in tile.rows.tensors["out.bias"]):
                return Failure(verdicts.CRASH, "a kernel broke")
            return super().run(tile, **how)

    found = judge_stack(stack, toy_benchmark(), Fragile(), JUDGING)  # type: ignore[arg-type]
    alone = judge_stack(stack, toy_benchmark(), InlineJudge(), JUDGING)
    assert found.verdicts == ["ok", "ok", "crash", "ok"]
    assert found.incidents == [{"kind": "tile_failed", "cause": "crash", "candidates": 4}]
    innocent = [0, 1, 3]
    assert found.scores[innocent].tobytes() == alone.scores[innocent].tobytes()


def test_several_tiles_are_asked_for_at_once_and_one_by_one_where_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fitness.scoring.judge_rows.SECONDS_AT_ONCE", float("inf"))
    stack = make_stack(toy_graph(), range(11))
    guilty, asked = stack.tensors["out.bias"][6], []

    class Fragile(InlineJudge):
        def run(self, tile: Tile, **how: Any) -> object:  # type: ignore[override]
            asked.append(tile.rows.num_rows)
            if any(torch.equal(bias, guilty) for bias in tile.rows.tensors["out.bias"]):
                return Failure(verdicts.CRASH, "a kernel broke")
            return super().run(tile, **how)

    found = judge_stack(stack, toy_benchmark(), Fragile(), JUDGING, SMALL)  # type: ignore[arg-type]
    assert asked == [4, 7, 4, 1, 1, 1, 1, 3]
    assert [row for row, cause in enumerate(found.verdicts) if cause != "ok"] == [6]
    innocent = [row for row in range(11) if row != 6]
    for row in innocent:
        alone = judge_stack(stack.gather([row]), toy_benchmark(), InlineJudge(), JUDGING, SMALL)
        assert alone.scores[0].tobytes() == found.scores[row].tobytes()


def test_tiles_that_take_long_are_asked_for_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits hold for a question: several large tiles in one would meet them though each is within."""
    monkeypatch.setattr("fitness.scoring.judge_rows.SECONDS_AT_ONCE", 0.0)
    asked = []

    class Noting(InlineJudge):
        def run(self, tile: Tile, **how: Any) -> object:  # type: ignore[override]
            asked.append(tile.rows.num_rows)
            return super().run(tile, **how)

    judge_stack(make_stack(toy_graph(), range(11)), toy_benchmark(), Noting(), JUDGING, SMALL)  # type: ignore[arg-type]
    assert asked == [4, 4, 3]


def test_a_child_is_replaced_after_its_share_of_tiles_however_they_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fitness.scoring.judge_rows.SECONDS_AT_ONCE", float("inf"))
    monkeypatch.setattr("fitness.judges.judge.TILES_PER_CHILD", 3)
    judge = SubprocessJudge(limits=LIMITS)
    judge_stack(make_stack(toy_graph(), range(11)), toy_benchmark(), judge, JUDGING, PlanTable((), KernelPlan(4, 32)))
    assert judge._cell.child is None  # one tile, then two at once
    judge.close()


def test_outputs_do_not_depend_on_the_sample_tile() -> None:
    from fitness.judges.tiles import Samples

    stack = make_stack(toy_graph(), range(2))
    samples = Samples(toy_benchmark().inputs_of("validation"))
    graph = encode(stack.graph.to_value())
    plans = (KernelPlan(2, 16), KernelPlan(2, 64))
    small, large = (
        forward(Tile(b"", graph, stack, (("u", {}),), plan, (("logits", 3),)), samples)[0] for plan in plans
    )
    assert small.shape == large.shape
    assert np.allclose(small, large, atol=1e-5)
