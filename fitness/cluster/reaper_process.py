"""Ends what a dead process left behind; run by its path, with nothing imported but the standard library.

It waits until the pipe whose descriptor is the first argument closes: then its owner is gone, or has said goodbye. Whatever
then still belongs to the second argument, a folder, is killed, and the folder removed.

Nouns: the *mark* is the line of the environment that names the folder; children inherit it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator

VARIABLE = "TENSOR_BLOCK_EVOLUTION_RAY"
#: A process that was just being started when its parent was killed shows up a little later.
QUIET_S = 0.7
ROUND_S = 0.05


def main() -> None:
    """Waits for the owner's end, and ends the rest."""
    said_goodbye = os.read(int(sys.argv[1]), 1)
    folder = sys.argv[2]
    quiet_until = time.monotonic() + (0.0 if said_goodbye else QUIET_S)
    while True:
        num_killed = sum(_kill(pid, folder) for pid in _pids())
        if num_killed:
            quiet_until = max(quiet_until, time.monotonic() + ROUND_S)
        elif time.monotonic() >= quiet_until:
            break
        time.sleep(ROUND_S)
    shutil.rmtree(folder, ignore_errors=True)


def _pids() -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(name) for name in os.listdir("/proc") if name.isdigit())


def _kill(pid: int, folder: str) -> bool:
    """Kills a process that is ours; a handle on it is taken before the look, so that no number is mistaken."""
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            if not _is_ours(pid, folder):
                return False
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            return True
        finally:
            os.close(handle)
    return False


def _is_ours(pid: int, folder: str) -> bool:
    with open(f"/proc/{pid}/environ", "rb") as file:
        environ = file.read()
    if f"{VARIABLE}={folder}".encode() in environ.split(b"\0"):
        return True
    return environ.startswith(b"\0") and _writes_below(pid, folder)


def _writes_below(pid: int, folder: str) -> bool:
    """Whether a process has a file of the folder open for writing.

    Ray's agents name themselves by overwriting the memory where their environment began, and the mark with it, now and then.
    """
    for number in os.listdir(f"/proc/{pid}/fd"):
        link = f"/proc/{pid}/fd/{number}"
        with contextlib.suppress(OSError):
            if os.readlink(link).startswith(folder + "/") and os.lstat(link).st_mode & 0o200:
                return True
    return False


if __name__ == "__main__":
    main()
