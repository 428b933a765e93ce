"""What the jailed judge does about its children: whatever they try, the answer is a verdict and the next one is unharmed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest
import torch

import tests.plugins.forger as _registers  # noqa: F401
from fitness.judges import judge as judging
from fitness.judges.judge import InlineJudge, Limits, SubprocessJudge
from fitness.judges.tile_plan import KernelPlan, PlanTable
from fitness.processes import jailed_process as cell
from fitness.processes import verdicts
from fitness.scoring.judge_rows import judge_stack
from fitness.scoring.score_sheet import ScoreSheet
from fitness.work.work_unit import Judging
from population.graphs.graph import Channel, Node, OpGraph
from population.stacks.stack import Stack
from tests.fitness.toys import toy_benchmark, toy_graph

LIMITS = Limits(cpu_s=2, wall_s=2.0, memory_bytes=512 << 20)
JUDGING = Judging("validation", {"ultimate": {}})
TRICKS = {
    1: (verdicts.OUTPUT,),
    2: (verdicts.CRASH,),
    3: (verdicts.TIMEOUT,),
    4: (verdicts.OUTPUT,),
    5: (verdicts.OUTPUT,),
    6: (verdicts.OUTPUT,),
    7: (verdicts.OUTPUT,),
    8: (verdicts.TIMEOUT,),
}


def forger_stack(tricks: list[int]) -> Stack:
    nodes = (
        Node("out", "linear", ("x",), attributes={"out": 3}),
        Node("forger", "forger", ("out",)),
    )
    graph = OpGraph.build([Channel("x", (4,), "float32")], nodes, [("logits", "forger")], {})
    stack = Stack.zeros(graph, len(tricks))
    tensors = {name: torch.full_like(tensor, 0.5) for name, tensor in stack.tensors.items()}
    tensors["forger.trick"] = torch.tensor(tricks, dtype=torch.float32)[:, None]
    return stack.replace(tensors=tensors)


def toy_stack(num: int) -> Stack:
    generator = torch.Generator().manual_seed(5)
    stack = Stack.zeros(toy_graph(), num)
    return stack.replace(tensors={n: torch.randn(t.shape, generator=generator) for n, t in stack.tensors.items()})


@pytest.fixture(scope="module")
def judge() -> Iterator[SubprocessJudge]:
    found = SubprocessJudge(plugins=["tests.plugins.forger"], limits=LIMITS)
    yield found
    found.close()


def judged(stack: Stack, judge: SubprocessJudge | InlineJudge, plans: PlanTable | None = None) -> ScoreSheet:
    return judge_stack(stack, toy_benchmark(), judge, JUDGING, plans or PlanTable((), KernelPlan(4, 32)))


def child_pid(judge: SubprocessJudge) -> int:
    assert judge._cell.child is not None
    return judge._cell.child.pid


@pytest.mark.parametrize("trick", TRICKS)
def test_a_forged_answer_is_a_verdict_and_the_zygote_lives_on(judge: SubprocessJudge, trick: int) -> None:
    judged(toy_stack(1), judge)
    assert judge._cell.running is not None
    zygote = judge._cell.running.pid
    found = judged(forger_stack([0, trick]), judge)
    assert found.verdicts[0] == verdicts.OK
    assert found.verdicts[1] in TRICKS[trick]
    expected = judged(forger_stack([0]), InlineJudge())
    assert found.scores[0].tobytes() == expected.scores[0].tobytes()
    assert judge._cell.running.pid == zygote
    again = judged(toy_stack(5), judge)
    assert again.scores.tobytes() == judged(toy_stack(5), InlineJudge()).scores.tobytes()


def test_a_child_is_replaced_after_its_share_of_tiles(judge: SubprocessJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "TILES_PER_CHILD", 3)
    judge._cell.end_child()
    pids = []
    for _ in range(5):
        judged(toy_stack(1), judge)
        pids.append(judge._cell.child.pid if judge._cell.child else 0)
    assert pids[0] == pids[1] != 0
    assert pids[2] == 0, "the third tile was its last"
    assert pids[3] == pids[4] not in pids[:3]


def test_a_child_that_grows_is_replaced(judge: SubprocessJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    judge._cell.end_child()
    judged(toy_stack(1), judge)
    assert judge._cell.child is not None
    monkeypatch.setattr(judging, "GROWTH_BYTES", -1 << 40)
    judged(toy_stack(1), judge)
    assert judge._cell.child is None


def test_a_tile_that_needs_more_memory_than_is_shared_gets_it(
    judge: SubprocessJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell, "LEAST_REGION_BYTES", 4096)
    judge._cell.end_child()
    for num, plan in ((1, KernelPlan(1, 16)), (64, KernelPlan(64, 64)), (1, KernelPlan(1, 16))):
        plans = PlanTable((), plan)
        found = judged(toy_stack(num), judge, plans)
        assert found.scores.tobytes() == judged(toy_stack(num), InlineJudge(), plans).scores.tobytes()


def test_a_child_has_the_walls_that_the_report_tells(judge: SubprocessJudge) -> None:
    judged(toy_stack(1), judge)
    with open(f"/proc/{child_pid(judge)}/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert ("system calls" in judge.report.layers) == (status["Seccomp"] == "2")
    assert int(status["CapEff"], 16) == 0
    assert os.geteuid() != 0 or status["Uid"].split()[0] == "65534"
    if "pid" in judge.report.layers.get("namespaces", ""):
        assert status["NSpid"].split()[-1] == "1"


def _is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def kill_again_and_again(count: int) -> int:
    """Kills judging children and zygotes in turn, judging in between; returns how many of them were still there."""
    judge = SubprocessJudge(limits=LIMITS)
    expected = judged(toy_stack(2), InlineJudge()).scores.tobytes()
    seen: set[int] = set()
    for number in range(count):
        assert judged(toy_stack(2), judge).scores.tobytes() == expected
        assert judge._cell.running is not None
        victims = {child_pid(judge), judge._cell.running.pid}
        seen |= victims
        os.kill(judge._cell.running.pid if number % 5 == 4 else child_pid(judge), signal.SIGKILL)
        if number % 5 == 4:
            judge._cell.running._process.wait()
        else:
            judge._cell.end_child()
    judge.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not all(map(_is_gone, seen)):
        time.sleep(0.05)
    return sum(not _is_gone(pid) for pid in seen)


def test_nothing_is_left_behind_by_kills(scaled: Callable[[int], int], told: Callable[[str], None]) -> None:
    kills = scaled(10)
    left = kill_again_and_again(kills)
    told(f"{kills} kills of judging children and zygotes, {left} processes left")
    assert left == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nothing_is_left_behind_by_many_kills(scaled: Callable[[int], int], told: Callable[[str], None]) -> None:
    kills = scaled(500)
    left = kill_again_and_again(kills)
    told(f"{kills} kills of judging children and zygotes, {left} processes left")
    assert left == 0
