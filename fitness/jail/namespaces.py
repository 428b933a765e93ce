"""Namespaces of its own for a jailed process: processes, network, mounts, System V objects, names, users.

A process forked straight into them is number 1 of its process namespace: it sees no other, and what it may have started
ends with it. The kernel may forbid all of this; then the process is forked plainly, and what is missing is said.

Nouns: a *birth* is a forked process with the namespaces it was born into; *maps* say which user of the machine a user of
a user namespace is.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from fitness.jail.syscalls import call, machine, prctl

FLAGS = {
    "mount": 0x0002_0000,
    "cgroup": 0x0200_0000,
    "uts": 0x0400_0000,
    "ipc": 0x0800_0000,
    "user": 0x1000_0000,
    "pid": 0x2000_0000,
    "network": 0x4000_0000,
}
NOBODY = 65534
_MAPPED = b"mapped"
_AS_ROOT = ("pid", "network", "mount", "ipc", "uts", "cgroup")
_AS_USER = ("user", *_AS_ROOT)
_CHILD_SETTID, _CHILD_CLEARTID, _PR_GET_TID_ADDRESS = 0x0100_0000, 0x0020_0000, 40
_MS_REC, _MS_PRIVATE, _MS_BIND, _MNT_DETACH = 16384, 1 << 18, 4096, 2
_MS_SEALED = 1 | 2 | 4 | 8  # read-only, no set-uid, no devices, no programs


@dataclass(frozen=True)
class Birth:
    """A fork: ``pid`` is 0 in the child. missing: why namespaces could not be had."""

    pid: int
    namespaces: tuple[str, ...] = ()
    missing: dict[str, str] = field(default_factory=dict)


def fork_inside(*, wanted: bool = True) -> Birth:
    """Forks this process, which must have one thread, into namespaces of its own if the kernel lets it.

    Args:
        wanted: False forks plainly, as where namespaces are forbidden.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if not wanted:
        return Birth(os.fork(), (), {"namespaces": "not wanted"})
    uid, gid = os.geteuid(), os.getegid()  # before the clone: in a new user namespace everybody is 65534 until mapped
    reasons = []
    for names in (_AS_ROOT, _AS_USER) if uid == 0 else (_AS_USER,):
        try:
            return Birth(_fork_mapped(names, uid, gid) if "user" in names else _clone(names), names)
        except OSError as error:
            reasons.append(f"with {names[0]}: {error.strerror}")
    return Birth(os.fork(), (), {"namespaces": "; ".join(reasons)})


def _fork_mapped(names: Sequence[str], uid: int, gid: int) -> int:
    """Forks into new namespaces; returns once the child has written its maps.

    Raises:
        OSError: the kernel gives no namespaces, or refuses their maps; the child has ended then.
    """
    reading, writing = os.pipe()
    try:
        pid = _clone(names)
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if pid == 0:
        os.close(reading)
        _map_or_end(uid, gid, writing)
        return 0
    os.close(writing)
    with open(reading, "rb", buffering=0) as pipe:
        said = pipe.read(4096)
    if said != _MAPPED:
        os.waitpid(pid, 0)
        raise OSError(errno.EPERM, said.decode(errors="replace") or "the child died before it wrote its maps")
    return pid


def _map_or_end(uid: int, gid: int, writing: int) -> None:
    """Writes the maps of this new process and says so; what fails ends it, and its parent reads why."""
    is_mapped = False
    try:
        try:
            _map_user(uid, gid)
        except OSError as error:
            os.write(writing, f"{error.filename or 'maps'}: {error.strerror}".encode())
        else:
            os.write(writing, _MAPPED)
            os.close(writing)
            is_mapped = True
    finally:
        if not is_mapped:
            os._exit(1)  # else it would run on as a second copy of its parent


def _clone(names: Sequence[str]) -> int:
    """Forks into new namespaces: what ``os.fork`` does around its system call, around this one."""
    flags, place = int(signal.SIGCHLD), 0
    for name in names:
        flags |= FLAGS[name]
    slot = ctypes.c_void_p()
    try:  # where the C library keeps this thread's number, so that the child finds its own there
        call("prctl", _PR_GET_TID_ADDRESS, ctypes.addressof(slot), 0, 0, 0)
        place = slot.value or 0
    except OSError:
        pass  # a kernel without it: the number is only compared with itself
    flags |= (_CHILD_SETTID | _CHILD_CLEARTID) if place else 0
    # x86-64 takes (flags, stack, parent's, child's, thread area), 64-bit ARM swaps the last two
    found = machine()
    last = (0, place) if found is not None and found.name == "aarch64" else (place, 0)
    ctypes.pythonapi.PyOS_BeforeFork()
    try:
        pid = call("clone", flags, 0, 0, *last)
    except OSError:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        raise
    (ctypes.pythonapi.PyOS_AfterFork_Parent if pid else ctypes.pythonapi.PyOS_AfterFork_Child)()
    return pid


def _map_user(uid: int, gid: int) -> None:
    """Makes this process nobody of its own user namespace."""
    for file, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        descriptor = os.open(f"/proc/self/{file}", os.O_WRONLY)
        try:
            os.write(descriptor, text.encode())
        except OSError as error:
            error.filename = file
            raise
        finally:
            os.close(descriptor)


def unshare() -> tuple[str, ...]:
    """Moves this process into what namespaces it may still enter without being forked anew; returns which.

    Raises:
        OSError: none, or the process has several threads.
    """
    uid, gid = os.geteuid(), os.getegid()
    names = tuple(name for name in _AS_USER if name != "pid")
    flags = 0
    for name in names:
        flags |= FLAGS[name]
    call("unshare", flags)
    try:
        _map_user(uid, gid)
    except OSError as error:  # the namespaces exist without a user: nothing can be mounted in them
        raise OSError(error.errno, f"{error.filename}: {error.strerror}") from error
    return names


def empty_root() -> None:
    """Makes the root of this mount namespace an empty folder that nothing can be written to. Raises: OSError."""
    _mount(None, b"/", None, _MS_REC | _MS_PRIVATE)
    _mount(b"jail", b"/proc", b"tmpfs", _MS_SEALED & ~1, b"size=4k,nr_inodes=4,mode=555")
    os.chdir("/proc")
    call("pivot_root", b".", b".")
    call("umount2", b".", _MNT_DETACH)
    os.chdir("/")
    _mount(None, b"/", None, 32 | _MS_SEALED)  # remount


def drop_capabilities() -> None:
    """Gives up every capability, those of an own user namespace included. Raises: OSError."""
    header = (ctypes.c_uint32 * 2)(0x2008_0522, 0)
    nothing = (ctypes.c_uint32 * 6)()
    call("capset", ctypes.addressof(header), ctypes.addressof(nothing))
    prctl(47, 4)  # ambient ones: clear all


def _mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    call("mount", source, target, kind, flags, data)
