"""Child processes: Python that is isolated from the current folder; killed and reaped by its parent.

Every Python that the project starts gets its command line from ``python_command`` and its import path from
``python_variables``. It imports from where this process imports, and from nowhere else: not from the current folder, which
``python -m`` would put first, and not from the user's own site unless the project needs it. ``PYTHONPATH`` is kept:
a user names folders there on purpose, and every child finds plugins and modules in them.
"""

from __future__ import annotations

import functools
import os
import site
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "tensor-block-evolution"


def python_command(*arguments: str) -> list[str]:
    """Returns the command line of a Python child: no current folder (``-P``), no site of the user's own (``-s``)."""
    return [sys.executable, "-P", *([] if needs_user_site() else ["-s"]), *arguments]


def python_variables() -> dict[str, str]:
    """Returns what a Python child's environment says of its imports; the same holds for what it starts itself."""
    alone = {} if needs_user_site() else {"PYTHONNOUSERSITE": "1"}
    return {"PYTHONPATH": module_path(), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1", **alone}


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
    return {**kept, **threads, **python_variables()}


def module_path() -> str:
    """Returns the folders this process imports from, as ``PYTHONPATH``; the user's own site only where it is needed."""
    folders = [entry or os.getcwd() for entry in sys.path]
    own = None if needs_user_site() else _user_site()
    return os.pathsep.join(folder for folder in folders if own is None or Path(folder) != own)


@functools.cache
def needs_user_site() -> bool:
    """Returns whether the project, or PyTorch, is installed in the user's own site: without it no child would start."""
    own = _user_site()
    if own is None:
        return False
    from importlib import metadata

    try:
        installed = [str(metadata.distribution(DISTRIBUTION).locate_file(""))]
    except metadata.PackageNotFoundError:
        installed = []
    spec = find_spec("torch")
    places = [*installed, *([spec.origin] if spec is not None and spec.origin else [])]
    return any(Path(place).is_relative_to(own) for place in places)


def _user_site() -> Path | None:
    """Returns the user's own site, where this process imports from it."""
    return Path(site.getusersitepackages()) if site.ENABLE_USER_SITE else None


def end_process(process: subprocess.Popen[bytes], patience_s: float = 5.0) -> None:
    """Waits for a process that was asked to end, and kills it when it does not."""
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
