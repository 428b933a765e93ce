"""Whole campaigns on real Ray nodes of which some die and some join, typed as a user would: the hashes of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fitness.ray_nodes import Nodes, ray_nodes

ROOT = Path(__file__).parents[2]
SMALL = ("strategy.population=24", "tiers.finalists=2")
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
