from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from fitness.evaluators.child_processes import ProcessEvaluator
from fitness.judges.judge import InlineJudge, SubprocessJudge
from tests.fitness.outlaws import LIMITS, PLUGINS, bits_of, candidates, judged
from tests.fitness.toys import MATERIALISE, toy_benchmark, toy_graph, unit_of
from tests.orphans import children_of, command_of, no_orphans


@contextmanager
def killed_meanwhile(root: int, depth: int, after_s: float, killed: Counter[int]) -> Iterator[None]:
    """Kills a process so many generations below ``root`` after so long, while the block runs."""

    def kill() -> None:
        found = [root]
        for _ in range(depth):
            found = [child for pid in found for child in children_of(pid)]
        for pid in found[:1]:
            with suppress(ProcessLookupError):  # it ended by itself just now: nobody was killed
                os.kill(pid, signal.SIGKILL)
                killed[depth] += 1

    timer = threading.Timer(after_s, kill)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def kill_judges(count: int, zygotes: int, killed: Counter[int]) -> None:
    """Kills judging children, and now and then their zygote, at random moments of the judging of crimes and innocents."""
    generator = np.random.Generator(np.random.Philox(count))
    judge = SubprocessJudge(plugins=PLUGINS, limits=LIMITS)
    stack = candidates(["", "sleep", "", "", "spin", "", "", ""])
    expected = judged(candidates(["", ""]), InlineJudge())
    judged(candidates([""]), judge)
    try:
        while killed[0] < zygotes or killed[1] < count:
            assert judge._cell.running is not None
            depth = 0 if killed[0] < zygotes else 1
            with killed_meanwhile(judge._cell.running.pid, depth, float(generator.uniform(0.0, 0.2)), killed):
                judged(stack.gather([int(row) for row in generator.integers(0, 8, size=2)]), judge)
        after = judged(candidates(["", ""]), judge)
        assert [bits_of(after, row) for row in range(2)] == [bits_of(expected, row) for row in range(2)]
    finally:
        judge.close()


def kill_workers(count: int, killed: Counter[int]) -> None:
    """Kills workers, their zygotes and their judging children while units run; every unit is answered all the same."""
    generator = np.random.Generator(np.random.Philox(count))
    evaluator = ProcessEvaluator(toy_benchmark(), MATERIALISE, num_workers=1)
    try:
        while sum(killed.values()) < count:
            root, depth = evaluator.worker_pids[0], sum(killed.values()) % 3
            with killed_meanwhile(root, depth, float(generator.uniform(0.0, 0.1)), killed):
                for _ in range(3):
                    evaluator.submit(unit_of(toy_graph(), seeds=range(4)))
                results = []
                while len(results) < 3:
                    results += evaluator.collect()
    finally:
        evaluator.close()


def check(judges: int, zygotes: int, workers: int, told: Callable[[str], None]) -> None:
    killed: Counter[int] = Counter()
    below: Counter[int] = Counter()
    with no_orphans():
        kill_judges(judges, zygotes, killed)
        if workers:
            kill_workers(workers, below)
    told(
        f"{killed[1]} judging children and {killed[0]} zygotes killed; below workers {below[2]} children, {below[1]} zygotes "
        f"and {below[0]} workers: 0 orphans"
    )


@pytest.mark.slow  # quickly, without workers: tests/fitness/judges/test_judging_in_jail.py
def test_no_process_outlives_a_kill(told: Callable[[str], None]) -> None:
    check(5, 1, 0, told)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_process_outlives_five_hundred_kills(scaled: Callable[[int], int], told: Callable[[str], None]) -> None:
    check(scaled(440), scaled(30), scaled(30), told)


def test_what_is_left_is_seen() -> None:
    """The check is able: a process whose parent ended is found."""
    with pytest.raises(AssertionError, match="sleep 60"):
        leave_an_orphan()
    orphans = [pid for pid in children_of(os.getpid()) if command_of(pid).startswith("sleep 60")]
    for pid in orphans:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert len(orphans) == 1


def leave_an_orphan() -> None:
    with no_orphans():
        subprocess.run(["/bin/sh", "-c", "sleep 60 > /dev/null 2>&1 &"], check=True)
