"""Whole campaigns in real homes, small enough to run many times: in this process, or as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from evolve.campaign.summary import Progress
from evolve.config.campaign import CampaignConfig, load_config
from evolve.driver.launch import launch
from evolve.home.home import Home
from evolve.recovery.forked_plan import plan_in
from evolve.tracking.protocol import NullTracker
from population.errors import LineageCorrupt, NotFound
from population.files.local_files import LocalFiles
from population.lineage.format.commits import encode_commit
from population.lineage.format.frames import COMMIT, GENESIS, scan
from population.lineage.format.records import Commit
from population.lineage.journal.witness import read_witness

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "configs" / "digits.yaml"
HANDLE = "digits"
SAME = ("population", "lineage", "champion")
#: configs/digits.yaml, made small: eight commits in about a second of compute.
SMALL = (
    "strategy.population=6",
    "stop.generations=6",
    "exploration=1.0",
    "operators.burst.settings.steps=4",
    "tiers.distil.steps=8",
    "keyframe=2",
    "promote=null",
    "run.address=local",
    "run.workers=1",
)


def config(*overrides: str) -> CampaignConfig:
    """Returns the small config with further keys set otherwise."""
    return load_config(DIGITS, [*SMALL, *overrides])


def run_in(
    home: Path,
    *overrides: str,
    again: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    interrupted: threading.Event | None = None,
) -> dict[str, Any]:
    """Launches the small campaign in this process, in the home at this path, made where there is none."""
    return launch(
        plan_in(Home.create(home), config(*overrides)),
        Home.create(home),
        again=again,
        progress=progress,
        tracker=NullTracker(),
        interrupted=interrupted or threading.Event(),
    )


def hashes(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the three hashes of a summary that decide whether two campaigns are the same."""
    return {name: summary[name] for name in SAME}


def commits_of(home: Path, handle: str = HANDLE) -> list[bytes]:
    """Returns the encoded commits of a campaign, in order; none before its lineage exists."""
    try:
        return [encode_commit(commit) for commit in Home.open(home).lineage_reader().commits(handle)]
    except NotFound:
        return []


def facts_of(home: Path, handle: str = HANDLE) -> list[bytes]:
    """Returns the encoded commits of a campaign without clocks, handles, incidents and where it ran."""
    try:
        return [_without_clocks(commit) for commit in Home.open(home).lineage_reader().commits(handle)]
    except NotFound:
        return []


def _without_clocks(commit: Commit) -> bytes:
    plain = {
        table: [
            {name: value for name, value in row.items() if name not in ("started", "campaign", "config")}
            for row in rows
        ]
        for table, rows in commit.rows.items()
    }
    return encode_commit(replace(commit, rows=plain, incidents=()))


def command(*arguments: str | Path) -> list[str]:
    """Returns the command line that calls the program."""
    return [sys.executable, "-m", "evolve", *map(str, arguments)]


def run_command(home: Path, *arguments: str) -> list[str]:
    """Returns the command line that runs the small campaign in a home."""
    return command("run", DIGITS, *SMALL, "--home", home, "--json", *arguments)


def environment(**changes: str) -> dict[str, str]:
    """Returns the environment of a process of its own; its tracker is dead, so that nothing is spent on it."""
    kept = {k: v for k, v in os.environ.items() if k not in ("EVOLVE_HOME", "COLUMNS")}
    return {**kept, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", **changes}


def call(arguments: list[str], **changes: str) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end."""
    env = environment(**changes)
    return subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=240, check=False)


class Driver:
    """A campaign's driver as a process of its own; leaving the context kills it and what it started."""

    def __init__(self, arguments: list[str]) -> None:
        self._errors = tempfile.NamedTemporaryFile()  # noqa: SIM115 - it lives as long as this does
        self.process = subprocess.Popen(
            arguments, env=environment(), stdout=subprocess.PIPE, stderr=self._errors, text=True
        )

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        below = family(self.process.pid)
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=60)
        for pid in living(below):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._errors.close()

    def said(self) -> str:
        """Returns what it has written to its standard error so far."""
        return Path(self._errors.name).read_text()

    def wait_for(self, fact: Callable[[], bool], timeout_s: float = 120.0) -> bool:
        """Waits until a fact holds; returns False where the driver ended before."""
        deadline = time.monotonic() + timeout_s
        while not fact():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, "it never came to pass"
            time.sleep(0.002)
        return True

    def finish(self) -> tuple[int, str, str]:
        """Waits for its end; returns exit code, output and errors."""
        out, _ = self.process.communicate(timeout=240)
        return self.process.returncode, out, self.said()


def num_commits(home: Path, handle: str = HANDLE) -> int:
    """Returns how many commits of a campaign's first journal are acknowledged: cheap enough to be asked all the time.

    One that lies there before its sync may still be taken back, by a second Ctrl-C.
    """
    path = home / "campaigns" / handle / "journal-0.log"
    witness = read_witness(LocalFiles(), home, handle)
    try:
        frames = scan(path.read_bytes(), str(path), GENESIS, 0).frames
    except (FileNotFoundError, LineageCorrupt):
        return 0
    durable = witness.end if witness is not None and witness.journal == 0 else 0
    return sum(frame.kind == COMMIT for frame in frames if frame.position < durable)


def family(pid: int) -> dict[int, str]:
    """Returns the processes below one, each with the time it began, which tells it from a later one of the same number."""
    parents = {found: facts for found in _pids() if (facts := _facts(found)) is not None}
    below: dict[int, str] = {}
    fresh = {pid}
    while fresh:
        fresh = {found for found, (parent, _) in parents.items() if parent in fresh and found not in below}
        below |= {found: parents[found][1] for found in fresh}
    return below


def children(pid: int) -> dict[int, str]:
    """Returns the processes that one has started itself, each with the time it began."""
    return {found: facts[1] for found in _pids() if (facts := _facts(found)) is not None and facts[0] == pid}


def known(pid: int) -> dict[int, str]:
    """Returns a process with the time it began; nothing where it is gone."""
    return {pid: facts[1]} if (facts := _facts(pid)) is not None else {}


def living(processes: Mapping[int, str]) -> list[int]:
    """Returns those that still run."""
    return [pid for pid, began in processes.items() if (facts := _facts(pid)) is not None and facts[1] == began]


def all_end(processes: Mapping[int, str], timeout_s: float) -> bool:
    """Returns whether all of them end within the time."""
    deadline = time.monotonic() + timeout_s
    while living(processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _facts(pid: int) -> tuple[int, str] | None:
    """Returns a process's parent and when it began; None when it is gone, or dead and not reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else (int(fields[1]), fields[19])
