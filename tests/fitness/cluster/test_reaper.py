"""Processes that would outlive whoever started them: marked by their environment, or by what they write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fitness.cluster.reaper import Leftovers
from tests.evolve import whole

#: Overwrites its own environment as the kernel shows it, as Ray's agents do to name themselves.
COVERS = """
import ctypes, sys
fields = open("/proc/self/stat").read().rpartition(")")[2].split()
ctypes.memset(int(fields[47]), 0, int(fields[48]) - int(fields[47]))
print(flush=True)
sys.stdin.read()
"""
STARTS = """
import os, subprocess, sys
from pathlib import Path
from fitness.cluster.reaper import Leftovers

leftovers = Leftovers(Path(sys.argv[1]))
sleeper = [sys.executable, "-c", "import time; print(flush=True); time.sleep(100)"]
options = {"start_new_session": True, "stdout": subprocess.PIPE}
with leftovers.marked():
    children = [subprocess.Popen(["sh", "-c", '"$@" & wait', "sh", *sleeper], **options)]
with leftovers.marked(), open(leftovers.folder / "log", "w") as log:
    children.append(subprocess.Popen([sys.executable, "-c", sys.argv[2]], stdin=subprocess.PIPE, stderr=log, **options))
children.append(subprocess.Popen(sleeper, **options))  # not marked: nobody's business
for child in children:
    child.stdout.readline()
print(children[-1].pid, flush=True)
sys.stdin.readline()
leftovers.close()
print(leftovers.folder.exists(), flush=True)
sys.stdin.readline()
"""


def begun(parent: Path) -> tuple[subprocess.Popen[str], dict[int, str], int]:
    """Returns a process that started two marked ones and one that is not, all processes below it, and the latter."""
    process = subprocess.Popen(
        [sys.executable, "-c", STARTS, str(parent), COVERS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=whole.environment(),
    )
    assert process.stdout is not None
    bystander = int(process.stdout.readline())
    return process, whole.family(process.pid), bystander


@pytest.mark.parametrize("how", ["killed", "closed"])
def test_what_is_marked_ends_with_its_owner_and_nothing_else_does(tmp_path: Path, how: str) -> None:
    process, below, bystander = begun(tmp_path)
    with process:
        assert len(below) == 5  # the watcher, a shell and its child, one that covered its mark, the bystander
        spared = {bystander: below.pop(bystander)}
        if how == "killed":
            process.kill()
        else:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout is not None
            assert process.stdout.readline() == "False\n"
        assert whole.all_end(below, 2.0 if how == "killed" else 0.5), whole.living(below)
        assert whole.living(spared)
        assert list(tmp_path.iterdir()) == []
        os.kill(bystander, 9)
        process.kill()


def test_closing_twice_changes_nothing(tmp_path: Path) -> None:
    leftovers = Leftovers(tmp_path)
    assert leftovers.folder.stat().st_mode & 0o777 == 0o700
    assert leftovers.inner.parent == leftovers.folder, "whoever opens up its own folder does not open this one"
    leftovers.close()
    leftovers.close()
    assert not leftovers.folder.exists()


def test_leftovers_that_cannot_be_watched_leave_no_folder_and_no_descriptor(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError, match="/no/such/python"):
        Leftovers(tmp_path)
    assert (list(tmp_path.iterdir()), len(os.listdir("/proc/self/fd"))) == ([], len(before))
