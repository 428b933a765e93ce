"""Kills drivers of a study at many moments, goes on with it each time, and compares it with one that nobody killed.

Run as ``python -m tests.evolve.tune_kills FOLDER KILLS``: a process that has imported everything forks the drivers.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from evolve.driver import launch as launching
from evolve.home.home import Home
from tests.evolve.tuning.test_tuning import evaluator_of, go, tuning_of, without_clocks


def main() -> None:
    """Kills so many drivers as are asked for; raises where a study is not what it must be."""
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    setattr(launching, "make_evaluator", evaluator_of)  # noqa: B010
    began = time.monotonic()
    wanted = without_clocks(go(folder / "reference", tuning_of()))
    seconds = time.monotonic() - began
    rng, killed, ended = np.random.default_rng(1), 0, 0
    while killed < kills:
        home = folder / str(ended)
        pid = fork(lambda home=home: go(home, tuning_of()))  # type: ignore[misc]
        time.sleep(rng.uniform(0.0, 0.5 * seconds))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL), "a driver failed"
        if os.waitstatus_to_exitcode(status) == 0:
            check(home, wanted)
            ended += 1
        else:
            killed += 1
    check(folder / str(ended), wanted)
    sys.stdout.write(f"{killed} drivers of studies killed, {ended + 1} studies ended as the one that nobody killed")


def check(home: Path, wanted: list[object]) -> None:
    """Goes on with a study to its end, and compares it."""
    assert without_clocks(go(home, tuning_of())) == wanted
    assert Home.open(home).campaigns() == [f"tiny-t{n}" for n in range(4)]
    shutil.rmtree(home)


def fork(act: Callable[[], object]) -> int:
    """Returns the process that does something."""
    gc.freeze()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        act()
        code = 0
    except BaseException:  # noqa: BLE001 - the end of a process: whatever it was is told, and nothing runs after it
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
