"""Campaigns for half an hour in one home, with workers and drivers killed at random: nothing grows, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fitness.evaluators.in_process import InProcessEvaluator
from fitness.judges.judge import SubprocessJudge
from tests.evolve import whole
from tests.fitness.contract import LIMITS, run
from tests.fitness.toys import MATERIALISE, toy_benchmark, toy_graph, unit_of
from tests.soak import gauges

#: Every how many seconds a sample is taken, a process of the long-lived driver killed, another driver killed or resumed.
SAMPLE_S, KILL_S = 2.0, 9.0


class Soak:
    """One home; a driver that lives as long as the soak; others that are killed and resumed beside it."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home, self.rng = home, np.random.default_rng(seed)
        self.counts: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.samples: list[Mapping[str, float]] = []
        self.ends: dict[str, set[str]] = {}
        self.failed: Counter[str] = Counter()
        self.unreaped: dict[int, float] = {}
        self._output = home.parent / "driver.jsonl"
        self._short: subprocess.Popen[bytes] | None = None

    def live(self, duration_s: float) -> None:
        """Lives for so many seconds; then ends everything in an orderly way."""
        began = time.monotonic()
        command = [sys.executable, "-m", "tests.soak.driver", str(self.home), "1"]
        with self._output.open("wb") as output:
            driver = subprocess.Popen(command, env=whole.environment(), stdin=subprocess.PIPE, stdout=output)
            next_kill = began + 10.0
            try:
                while time.monotonic() - began < duration_s:
                    assert driver.poll() is None, f"the long-lived driver ended: {driver.returncode}"
                    time.sleep(SAMPLE_S)
                    self._sample(driver.pid, time.monotonic() - began)
                    if time.monotonic() >= next_kill:
                        next_kill = time.monotonic() + float(self.rng.exponential(KILL_S))
                        self._kill_below(driver.pid)
                        self._disturb_short()
            finally:
                below = whole.family(os.getpid())
                self._end(driver)
        assert whole.all_end(below, 150.0), whole.living(below)
        self._read_ends()

    def _sample(self, pid: int, second: float) -> None:
        below = whole.family(pid)
        dead = set(gauges.zombies([pid, *below]))
        self.unreaped = {child: self.unreaped.get(child, second) for child in dead}
        self.counts["zombies"] += sum(second - since > 10.0 for since in self.unreaped.values())
        self.seconds.append(second)
        self.samples.append(
            {
                "memory": gauges.memory_of(pid),
                "descriptors": gauges.descriptors_of(pid),
                "threads": gauges.threads_of(pid),
                "processes": float(len(below)),
                "shared memory": gauges.shared_bytes(),
                "disk": gauges.disk_bytes(self.home),
                "leftovers": gauges.leftovers(self.home),
            }
        )

    def _kill_below(self, pid: int) -> None:
        below = sorted(whole.family(pid))
        if below:
            self.counts["workers killed"] += 1
            with suppress(ProcessLookupError):
                os.kill(below[int(self.rng.integers(len(below)))], signal.SIGKILL)

    def _disturb_short(self) -> None:
        """Begins or resumes a driver of its own process, or kills the one that runs."""
        if self._short is not None and self._short.poll() is None:
            hard = self.rng.random() < 0.7
            self._short.send_signal(signal.SIGKILL if hard else signal.SIGINT)
            self._short.wait(120)
            self.counts["drivers killed" if hard else "drivers interrupted"] += 1
            return
        with_ray = self.counts["drivers"] % 5 == 4
        address = ("--address", "") if with_ray else ()
        self.counts["drivers"] += 1
        self.counts["drivers with Ray"] += with_ray
        self._short = subprocess.Popen(
            whole.run_command(self.home, "--workers", "1", *address),
            env=whole.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _end(self, driver: subprocess.Popen[bytes]) -> None:
        if self._short is not None and self._short.poll() is None:
            self._short.send_signal(signal.SIGINT)
            self._short.wait(120)
        assert driver.stdin is not None
        driver.stdin.close()
        try:
            assert driver.wait(240) == 0
        finally:
            driver.kill()

    def _read_ends(self) -> None:
        for line in self._output.read_text().splitlines():
            value = json.loads(line)
            self.counts[f"campaigns {value['state']}"] += 1
            if value["state"] == "done":
                self.failed.update(value["failed"])
                found = json.dumps({name: value[name] for name in whole.SAME})
                self.ends.setdefault(value["seed"], set()).add(found)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_nothing_grows_in_half_an_hour_of_campaigns_with_faults(
    tmp_path: Path, scale: float, told: Callable[[str], None]
) -> None:
    soak = Soak(tmp_path / "home", 7)
    soak.live(max(60.0, 1800.0 * scale))
    found = gauges.growths(soak.seconds, soak.samples)
    told(
        f"{soak.seconds[-1] / 60:.1f} minutes, {len(soak.samples)} samples, {dict(soak.counts)}, failed {dict(soak.failed)}"
    )
    for growth in found:
        told(str(growth))
    assert soak.counts["zombies"] == 0
    assert soak.counts["campaigns done"] >= max(1, soak.seconds[-1] // 240)
    assert soak.counts["workers killed"] > 0
    assert {seed: len(ends) for seed, ends in soak.ends.items()} == dict.fromkeys(soak.ends, 1)
    assert [str(growth) for growth in found if not growth.is_flat] == []


def _live_through(kind: str, count: int, told: Callable[[str], None]) -> None:
    judge = SubprocessJudge(limits=LIMITS) if kind == "in a child" else None
    evaluator = InProcessEvaluator(toy_benchmark(), MATERIALISE, judge=judge)
    seconds, samples, began = [], [], time.monotonic()
    try:
        for number in range(count):
            (result,) = run(evaluator, unit_of(toy_graph(), seeds=range(4 * number, 4 * number + 4)))
            assert result.verdicts == ["ok"] * 4
            evaluator.retain([])
            if number % max(1, count // 100) == 0:
                pid = os.getpid()
                seconds.append(time.monotonic() - began)
                samples.append({"memory": gauges.memory_of(pid), "descriptors": gauges.descriptors_of(pid)})
    finally:
        evaluator.close()
    found = gauges.growths(seconds, samples)
    told(f"{count} units; " + "; ".join(map(str, found)))
    assert [str(growth) for growth in found if not growth.is_flat] == []


@pytest.mark.parametrize(("kind", "count"), [("inline", 200), ("in a child", 60)])
def test_an_evaluator_that_lives_through_many_units_does_not_grow(
    kind: str, count: int, told: Callable[[str], None]
) -> None:
    _live_through(kind, count, told)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["inline", "in a child"])
def test_an_evaluator_that_lives_through_thousands_of_units_does_not_grow(
    kind: str, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    _live_through(kind, scaled(5000), told)


def test_growth_is_told_from_noise() -> None:
    """The measure itself: steady growth is found in noise, noise alone and a single jump early on are not growth."""
    rng = np.random.default_rng(0)
    seconds = list(np.arange(0.0, 600.0, 2.0))
    noise = rng.normal(0.0, 2e6, len(seconds))
    leak = [{"memory": 3e8 + 1e5 * second + wobble} for second, wobble in zip(seconds, noise, strict=True)]
    flat = [{"memory": 3e8 + wobble} for wobble in noise]
    jump = [{"memory": 3e8 + (6e7 if second > 60 else 0.0) + w} for second, w in zip(seconds, noise, strict=True)]
    assert not gauges.growths(seconds, leak)[0].is_flat
    assert gauges.growths(seconds, flat)[0].is_flat
    assert gauges.growths(seconds, jump)[0].is_flat
