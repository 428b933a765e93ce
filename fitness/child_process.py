"""Child processes: executed with a minimal environment, killed and reaped by their parent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence


def start_process(command: Sequence[str], *passed_fds: int) -> subprocess.Popen[bytes]:
    """Executes a Python program of ours in a session of its own, with a minimal environment and no standard streams."""
    return subprocess.Popen(
        command,
        env=_environment(),
        pass_fds=passed_fds,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


#: What a child process may know of its parent's environment: where libraries are, and what changes the bits of kernels.
KEPT_VARIABLES = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA")


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**kept, **threads, "PYTHONPATH": module_path(), "PYTHONDONTWRITEBYTECODE": "1"}


def module_path() -> str:
    """Returns the folders this process imports from, as ``PYTHONPATH``."""
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path)


def end_process(process: subprocess.Popen[bytes], patience_s: float = 5.0) -> None:
    """Waits for a process that was asked to end, and kills it when it does not."""
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
