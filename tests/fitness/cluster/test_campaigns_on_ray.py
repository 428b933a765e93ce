"""Whole campaigns on real Ray nodes of which some die and some join, typed as a user would: the hashes of one process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fitness.cluster.ports import descendants
from tests.evolve import whole
from tests.fitness.ray_nodes import Nodes, ray_nodes
from tests.orphans import children_of

ROOT = Path(__file__).parents[3]
SMALL = ("strategy.population=24", "tiers.finalists=2")
#: What makes a generation cost little besides its units' travel.
CHEAP = ("operators.burst.settings.steps=4", "tiers.distil.steps=8", "promote=null")
COUNT_INCIDENTS = "SELECT kind, count(*) AS num FROM incidents GROUP BY kind"
KILLED = ("worker", "zygote", "judging child")
SAME = ("population", "lineage", "champion")


class Running:
    """An ``evolve run`` in a child process; ``lines`` are what it has said so far."""

    def __init__(self, home: Path, *options: str, variables: dict[str, str] | None = None) -> None:
        command = ["run", "configs/digits.yaml", *SMALL, "--json"]
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

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Waits until something holds; fails where the campaign ends before."""
        if not self.comes_to(is_so):
            self.close()
            raise AssertionError("".join(self.lines))

    def comes_to(self, is_so: Callable[[], bool], timeout_s: float = 180.0) -> bool:
        """Waits until something holds; returns False where the campaign ends before."""
        deadline = time.monotonic() + timeout_s
        while not is_so():
            if self._process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                self.close()
                raise AssertionError("".join(self.lines))
            time.sleep(0.2)  # what is waited for may look through all processes
        return True

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


def on(nodes: Nodes, home: Path, generations: str, workers: str, *options: str) -> Running:
    where = (f"stop.generations={generations}", "--address", nodes.address, "--workers", workers)
    return Running(home, *options, *where, variables=nodes.variables)


def seen_nodes(running: Running, text: str) -> bool:
    return any(text in line for line in running.lines)


@pytest.mark.slow
def test_a_node_that_dies_and_one_that_joins_change_no_bit(tmp_path: Path, told: Callable[[str], None]) -> None:
    generations = "16"
    with ray_nodes(3) as nodes:
        running = on(nodes, tmp_path / "cluster", generations, "4")
        running.wait_for(lambda: running.generation >= 2)
        nodes.kill(nodes.raylets[2])
        running.wait_for(lambda: running.generation >= 5)
        nodes.add()
        found = hashes_of(running)
        assert seen_nodes(running, "3 workers of 4"), "".join(running.lines)
    alone = Running(tmp_path / "alone", f"stop.generations={generations}", "--address", "local", "--workers", "1")
    assert found == hashes_of(alone)
    told(f"3 nodes, 1 killed, 1 joined in {generations} generations: the same population, lineage and champion")


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_workers_judges_and_raylets_that_are_killed_change_no_bit(
    tmp_path: Path, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    """An object that was lost with its node once counted as a second judging, though nothing had been computed."""
    generations, took = "20", 0.0
    turns = kills(scaled(40), scaled(10))
    killed: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    alone = Running(
        tmp_path / "alone", *CHEAP, f"stop.generations={generations}", "--address", "local", "--workers", "1"
    )
    expected, num_campaigns = hashes_of(alone), 0
    with ray_nodes(3) as nodes:
        while turns:
            home, num_campaigns = tmp_path / str(num_campaigns), num_campaigns + 1
            running = on(nodes, home, generations, "3", *CHEAP)
            began = time.monotonic()
            before = -1
            while turns and running.comes_to(
                lambda running=running, before=before: running.generation > before and len(workers_of(nodes)) >= 2
            ):
                before = running.generation
                if kill_one(nodes, turns[-1]):
                    killed[turns.pop()] += 1
            assert hashes_of(running) == expected
            assert working_pids(nodes, patience_s=20.0) == []
            kinds += incidents(home)
            took += time.monotonic() - began
            assert kinds["retry"] <= killed.total()
    told(
        f"killed {', '.join(f'{kind}: {num}' for kind, num in killed.items())} in {took:.0f} s and {num_campaigns} campaigns: "
        f"the same hashes, {kinds['retry']} units judged again, {kinds['unread']} sent again before they began, 0 processes left"
    )


def kills(num_others: int, num_raylets: int) -> list[str]:
    """Returns what is killed turn by turn: raylets spread evenly among workers, zygotes and judging children."""
    turns = [KILLED[turn % len(KILLED)] for turn in range(num_others)]
    for turn in range(num_raylets):
        turns.insert(turn * (num_others // num_raylets + 1) + 1, "raylet")
    return turns


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("program", ["gcs_server", "raylet"])
def test_a_campaign_whose_own_ray_dies_says_so_and_goes_on_after_resume(tmp_path: Path, program: str) -> None:
    small = (*CHEAP, "stop.generations=8")
    running = Running(tmp_path / "h", *small, "--address", "", "--workers", "1")
    running.wait_for(lambda: running.generation >= 1)
    below = whole.family(running.pid)
    (pid,) = [pid for pid in below if Path(f"/proc/{pid}/comm").read_text().strip() == program]
    os.kill(pid, signal.SIGKILL)
    code, _ = running.end(100.0)
    assert code == 3, "".join(running.lines)
    assert seen_nodes(running, "evolve resume"), "".join(running.lines)
    assert whole.all_end(below, 5.0), whole.living(below)
    done = whole.call(whole.command("resume", "--home", tmp_path / "h", "--json", "--address", "local"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    alone = Running(tmp_path / "alone", *small, "--address", "local", "--workers", "1")
    assert {name: found[name] for name in SAME} == hashes_of(alone)


@pytest.mark.slow
def test_nothing_outlives_a_campaign_whose_process_is_killed(tmp_path: Path) -> None:
    running = Running(tmp_path, "stop.generations=200", "--address", "", "--workers", "2")
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
    return is_worker(pid) or b"fitness.judges.judge_process" in line


def workers_of(nodes: Nodes) -> list[int]:
    """Returns the workers that judge: below each of them a zygote has forked."""
    return [pid for pid in working_pids(nodes) if is_worker(pid) and any(map(children_of, children_of(pid)))]


def kill_one(nodes: Nodes, kind: str) -> bool:
    """Kills a worker, its zygote, what that has forked, or a raylet for which a new node joins; returns whether it could."""
    if kind == "raylet":
        nodes.kill_raylet(nodes.raylets.pop())
        nodes.raylets.append(nodes.add())
        return True
    found = workers_of(nodes)[:1]
    for _ in range(KILLED.index(kind)):
        found = [child for pid in found for child in children_of(pid)]
    for pid in found[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def is_worker(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::WorkerActor")
    except OSError:
        return False


def incidents(home: Path) -> Counter[str]:
    """Returns how many incidents of each kind the home's only campaign had."""
    done = subprocess.run(
        [sys.executable, "-m", "evolve", "query", COUNT_INCIDENTS, "--home", str(home), "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return Counter({row["kind"]: int(row["num"]) for row in json.loads(done.stdout)})
