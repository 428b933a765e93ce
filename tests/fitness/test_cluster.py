"""Whole campaigns on real Ray nodes of which some die and some join, typed as a user would: the hashes of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fitness.ports import descendants
from tests.fitness.ray_nodes import Nodes, ray_nodes

ROOT = Path(__file__).parents[2]
SMALL = ("strategy.population=24", "tiers.finalists=2")
COUNT_RETRIES = "SELECT count(*) AS num FROM incidents WHERE kind = 'retry'"
SAME = ("population", "lineage", "champion")


class Running:
    """An ``evolve run`` in a child process; ``lines`` are what it has said so far."""

    def __init__(self, home: Path, generations: int, *options: str, variables: dict[str, str] | None = None) -> None:
        command = ["run", "configs/digits.yaml", *SMALL, f"stop.generations={generations}", "--json"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "evolve", *command, "--home", str(home), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(variables or {})},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Returns the process id of the campaign."""
        return self._process.pid

    @property
    def generation(self) -> int:
        """Returns the last generation that was told."""
        told = [line.split("generation")[1].split()[0] for line in self.lines if " generation " in line]
        return int(told[-1]) if told else -1

    def wait_for(self, is_so: Callable[[], bool], timeout_s: float = 120.0) -> None:
        """Waits until something holds; fails where the campaign ends before."""
        deadline = time.monotonic() + timeout_s
        while not is_so():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise AssertionError("".join(self.lines))
            time.sleep(0.05)

    def end(self, timeout_s: float = 280.0) -> tuple[int, str]:
        """Returns exit code and output."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError("".join(self.lines)) from None
        finally:
            self.close()
        return code, self.output

    def close(self) -> None:
        """Ends the campaign, if it still runs, and its reader."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self.output = self._process.stdout.read()
        self._process.stdout.close()
        self._process.stderr.close()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)


def hashes_of(running: Running) -> dict[str, str]:
    code, output = running.end()
    assert code == 0, "".join(running.lines)
    summary = json.loads(output)
    return {name: summary[name] for name in SAME}


def on(nodes: Nodes, home: Path, generations: int, workers: int) -> Running:
    return Running(home, generations, "--address", nodes.address, "--workers", str(workers), variables=nodes.variables)


def seen_nodes(running: Running, text: str) -> bool:
    return any(text in line for line in running.lines)


@pytest.mark.slow
def test_a_node_that_dies_and_one_that_joins_change_no_bit(tmp_path: Path, told: Callable[[str], None]) -> None:
    generations = 16
    with ray_nodes(3) as nodes:
        running = on(nodes, tmp_path / "cluster", generations, workers=4)
        running.wait_for(lambda: running.generation >= 2)
        nodes.kill(nodes.raylets[2])
        running.wait_for(lambda: running.generation >= 5)
        nodes.add()
        found = hashes_of(running)
        assert seen_nodes(running, "3 workers of 4"), "".join(running.lines)
    alone = Running(tmp_path / "alone", generations, "--address", "local", "--workers", "1")
    assert found == hashes_of(alone)
    told(f"3 nodes, 1 killed, 1 joined in {generations} generations: the same population, lineage and champion")


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("num_workers", "num_raylets"), [(8, 2)])
def test_workers_judges_and_raylets_that_are_killed_change_no_bit(
    tmp_path: Path, num_workers: int, num_raylets: int, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    num_workers, num_raylets = scaled(num_workers), scaled(num_raylets)
    generations = 6 + 2 * num_workers + 4 * num_raylets
    killed = {"worker": 0, "raylet": 0}
    with ray_nodes(3) as nodes:
        running = on(nodes, tmp_path / "cluster", generations, workers=3)
        running.wait_for(lambda: running.generation >= 1)
        for turn in range(num_workers + num_raylets):
            before = running.generation
            if turn % max((num_workers + num_raylets) // num_raylets, 1) == 0 and killed["raylet"] < num_raylets:
                nodes.kill_raylet(nodes.raylets.pop())
                nodes.raylets.append(nodes.add())
                killed["raylet"] += 1
            else:
                pids = working_pids(nodes)
                os.kill(pids[turn * 7 % len(pids)], signal.SIGKILL)
                killed["worker"] += 1
            running.wait_for(lambda before=before: running.generation > before)
        found = hashes_of(running)
        assert working_pids(nodes, patience_s=20.0) == []
    alone = Running(tmp_path / "alone", generations, "--address", "local", "--workers", "1")
    assert found == hashes_of(alone)
    again = retries(tmp_path / "cluster")
    assert again <= killed["worker"] + 2 * killed["raylet"]
    told(
        f"{killed['worker']} kills of workers and judges, {killed['raylet']} of raylets: same hashes, {again} units again"
    )


@pytest.mark.slow
def test_nothing_outlives_a_campaign_whose_process_is_killed(tmp_path: Path) -> None:
    running = Running(tmp_path, 200, "--address", "", "--workers", "2")
    running.wait_for(lambda: running.generation >= 1)
    below = descendants(running.pid)
    assert len(below) >= 6  # head, raylet, its agents, two workers, their judges
    running.close()
    assert left_after(10.0, below) == []


def left_after(patience_s: float, pids: list[int]) -> list[int]:
    """Returns which processes still run after so long."""
    deadline = time.monotonic() + patience_s
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def working_pids(nodes: Nodes, patience_s: float | None = None) -> list[int]:
    """Returns our workers and judges on the nodes; with patience, what is left of them after so long."""
    deadline = time.monotonic() + (30.0 if patience_s is None else patience_s)
    while True:
        found = [pid for pid in descendants(nodes.pid) if is_ours(pid)]
        if bool(found) == (patience_s is None) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def is_ours(pid: int) -> bool:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return line.startswith(b"ray::WorkerActor") or b"fitness.judge_process" in line


def retries(home: Path) -> int:
    """Returns how many units were judged again, as the incidents of the home's only campaign tell."""
    done = subprocess.run(
        [sys.executable, "-m", "evolve", "query", COUNT_RETRIES, "--home", str(home), "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return int(json.loads(done.stdout)[0]["num"])
