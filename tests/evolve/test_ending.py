"""How the program ends where a tracker hangs: with its exit code, and with all that was said."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.evolve.cli.conftest import ROOT, environment

HANGS = """
import atexit, sys, time
import torch
from evolve.cli import main
from evolve.tracking.outbox import Note, Outbox
from population.clock import SystemClock
torch.set_num_threads(1)

def compute(contents):
    value = torch.ones(2000)
    while True:
        value = value + 0.0

outbox = Outbox("hangs", SystemClock())
outbox.put(Note(compute))
time.sleep(0.2)
outbox.close(0.1)
assert outbox.is_late
atexit.register(lambda: print("registered"))
sys.argv = ["evolve", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(("argument", "code"), [("--version", 0), ("--nonsense", 2)])
def test_a_thread_that_was_given_up_changes_no_exit_code(argument: str, code: int) -> None:
    """Python ended it in the midst of C++, and the process aborted (exit code 134) after it had said all it had to say."""
    done = subprocess.run(
        [sys.executable, "-c", HANGS, argument],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert done.stdout.endswith("registered\n")
    assert code == 2 or done.stdout.startswith("evolve ")
