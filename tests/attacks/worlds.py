"""The worlds that attacks run in: as root, as nobody, and where user namespaces are forbidden; a process joins one for good.

Nothing of the machine's own settings is changed: what a world forbids, a seccomp filter over the process refuses.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from tests.attacks.toolkit import SYSCALLS, call, libc

NOBODY = 65534
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER = 4, 38, 1
CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWUTS, MS_REC_PRIVATE = 0x10000000, 0x00020000, 0x04000000, 0x4000 | 0x40000
NAMESPACES = ("unshare", "setns", "clone3")
LANDLOCK = (444, 445, 446)

#: A world's name -> whether its processes give up root, and which walls are taken away from the jail there.
WORLDS = {
    "root": (False, ()),
    "nobody": (True, ()),
    "root without user namespaces": (False, ("namespaces",)),
    "nobody without user namespaces": (True, ("namespaces",)),
    "nobody without namespaces and Landlock": (True, ("namespaces", "landlock")),
}


def become(world: str) -> None:
    """Joins a world: gives root up where the world has none. What it was before stays reachable: imports come first."""
    is_unprivileged, _ = WORLDS[world]
    if is_unprivileged and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # as a process that was started by this user would be


def take_away(world: str) -> None:
    """Refuses what the world lacks, for this process and all it starts."""
    _, missing = WORLDS[world]
    if "namespaces" in missing:
        refuse_user_namespaces()
    if "landlock" in missing:
        refuse(LANDLOCK, errno.ENOSYS)


def hide_mounts() -> None:
    """As root, gives this process mounts and host names of its own, so that an attack that succeeds harms nobody."""
    if os.geteuid() == 0:
        call("unshare", CLONE_NEWNS | CLONE_NEWUTS)
        call("mount", b"none", b"/", None, MS_REC_PRIVATE, None)


def refuse(numbers: Sequence[int], code: int) -> None:
    """Lays a filter over this process that answers these system calls with an error."""
    load_number = struct.pack("<HBBI", 0x20, 0, 0, 0)
    checks = [struct.pack("<HBBI", 0x15, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    verdicts = [struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000), struct.pack("<HBBI", 0x06, 0, 0, 0x00050000 | code)]
    _install([load_number, *checks, *verdicts])


def refuse_user_namespaces() -> None:
    """Answers what would make namespaces as a hardened machine or a container does: EPERM, and ENOSYS for clone3."""
    refuse([SYSCALLS["clone3"]], errno.ENOSYS)
    load, equal, any_of, give = 0x20, 0x15, 0x45, 0x06
    flags = 0x7E020000 | 0x80  # every CLONE_NEW flag
    program = [
        (load, 0, 0, 0),
        (equal, 4, 0, SYSCALLS["setns"]),
        (equal, 1, 0, SYSCALLS["unshare"]),
        (equal, 0, 3, SYSCALLS["clone"]),
        (load, 0, 0, 16),
        (any_of, 0, 1, flags),
        (give, 0, 0, 0x00050000 | errno.EPERM),
        (give, 0, 0, 0x7FFF0000),
    ]
    _install([struct.pack("<HBBI", *instruction) for instruction in program])


def _install(instructions: Sequence[bytes]) -> None:
    class Program(ctypes.Structure):
        _fields_ = [("size", ctypes.c_ushort), ("code", ctypes.c_char_p)]

    if os.geteuid() != 0:  # root need not promise anything, and some attacks look whether it had to
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    program = Program(len(instructions), b"".join(instructions))
    call("seccomp", SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(program))
