"""Runs changed files through a door and tells what came of them, as JSON: run as a process, so that its memory is its own.

python -m tests.fuzz.driver FORM FIRST COUNT SEED
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from population.errors import EvolveError
from tests.fuzz.doors import DOORS, mutant

#: A file that takes longer hangs.
PATIENCE_S = 60


class Hangs(BaseException):
    """A file took longer than any may."""


def drive(form: str, first: int, count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Returns how many were taken and refused, what went wrong, the slowest, and the most memory of this process."""
    door = DOORS[form]
    taken, refused, faults, slowest = 0, 0, [], (0.0, -1)
    for number in range(first, first + count):
        path = folder / f"file{door.suffix}"
        path.write_bytes(mutant(form, number, seed))
        began = time.monotonic()
        signal.alarm(PATIENCE_S)
        try:
            door.enter(path)
            taken += 1
        except (EvolveError, Hangs, Exception) as error:  # noqa: BLE001 - what comes is what is measured
            if (
                isinstance(error, door.allowed)
                and getattr(error, "exit_code", 70) in (1, 2, 3)
                and len(str(error)) < 25_000
            ):
                refused += 1
            else:
                where = traceback.format_exception(error)[-3:]
                faults.append(
                    {
                        "number": number,
                        "error": f"{type(error).__name__}: {error}"[:300],
                        "where": "".join(where)[-900:],
                    }
                )
        finally:
            signal.alarm(0)
        slowest = max(slowest, (round(time.monotonic() - began, 3), number))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"form": form, "taken": taken, "refused": refused, "faults": faults, "slowest": slowest, "mib": most}


def _hang(_number: int, _frame: FrameType | None) -> None:
    raise Hangs


def main() -> None:
    """Drives what the arguments name."""
    form, first, count, seed = sys.argv[1], *map(int, sys.argv[2:5])
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _hang)
    with tempfile.TemporaryDirectory(prefix="evolve-fuzz-") as folder:
        sys.stdout.write(json.dumps(drive(form, first, count, seed, Path(folder))))


if __name__ == "__main__":
    main()
