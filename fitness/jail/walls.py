"""Entering the jail: every wall that this machine offers, put up one after the other around this very process, for good.

Nouns: *walls* (what a process is left with), *layer* (one kind of wall), *entered* (which layers stand, which are missing).
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fitness.jail import landlock, namespaces, seccomp
from fitness.jail.syscalls import machine, prctl

#: every layer, in the order in which they go up.
LAYERS = (
    "descriptors", "environment", "namespaces", "empty root", "own user", "limits", "ends with its parent",
    "not traceable", "no new privileges", "Landlock", "system calls",
)  # fmt: skip
#: these signals end a jailed process with their number as exit code: the first process of a namespace ignores them else.
EXITING_SIGNALS = (signal.SIGXCPU, signal.SIGABRT, signal.SIGTERM)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38


@dataclass(frozen=True)
class Walls:
    """What a process is left with.

    Attributes:
        memory_bytes: address space beyond what it has when it enters.
        cpu_s: seconds of CPU time from now; None: not limited here.
        file_bytes: how large a file it may write. open_files: how many descriptors it may hold.
        keep_fds: what stays open; the standard streams lead nowhere, everything else is closed.
        readable: paths that stay readable; without any, no file can be opened.
        threads: whether it may start threads.
        without: layers not to put up, as on a machine that lacks them.
    """

    memory_bytes: int
    cpu_s: int | None = None
    file_bytes: int = 0
    open_files: int = 64
    keep_fds: tuple[int, ...] = ()
    readable: tuple[str, ...] = ()
    threads: bool = False
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entered:
    """What stands: layer -> what it covers; and what does not: layer -> why."""

    layers: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def enter(walls: Walls, birth: namespaces.Birth | None = None, parent: int = 0) -> Entered:
    """Puts this process, which must have one thread, behind the walls; irrevocable. Nothing of it raises.

    Args:
        birth: how it was forked, where it was; else it enters what namespaces it can by itself.
        parent: its parent's process id, as seen from outside; when that is gone already, the process ends at once.
    """
    entered = Entered()
    born = birth or namespaces.Birth(0)
    if machine() is None:
        for layer in LAYERS:
            entered.missing[layer] = f"needs Linux on x86-64 or 64-bit ARM, this is {sys.platform}"
    steps: dict[str, Callable[[], str]] = {
        "ends with its parent": lambda: _end_with_parent(parent),
        "descriptors": lambda: _close_descriptors(walls.keep_fds),
        "environment": _empty_environment,
        "limits": lambda: _lower_limits(walls),
        "namespaces": lambda: _namespaces(birth, born),
        "empty root": lambda: _empty_root(walls, entered),
        "own user": _drop_user,
        "not traceable": _forbid_tracing,
        "no new privileges": _forbid_privileges,
        "Landlock": lambda: landlock.restrict(walls.readable),
        "system calls": lambda: _filter_calls(walls),
    }
    for layer, step in steps.items():
        _put_up(layer, step, walls, entered)
    return entered


def _put_up(layer: str, step: Callable[[], str], walls: Walls, entered: Entered) -> None:
    if layer in walls.without:
        entered.missing[layer] = "not wanted"
        return
    try:
        entered.layers[layer] = step()
        entered.missing.pop(layer, None)
    except (OSError, ValueError) as error:
        entered.missing[layer] = getattr(error, "strerror", None) or str(error)


def _end_with_parent(parent: int) -> str:
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and _stat_fields()[1] != parent:
        os._exit(1)
    with contextlib.suppress(OSError):  # one that leads a session already
        os.setsid()
    return "killed when its parent dies; a session of its own"


def _close_descriptors(kept: tuple[int, ...]) -> str:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        if stream not in kept:
            os.dup2(nowhere, stream)
    first = 3
    for descriptor in sorted(one for one in kept if one > 2):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, _highest_descriptor() + 1)
    return f"{len(kept)} open"


def _highest_descriptor() -> int:
    try:
        return max(int(name) for name in os.listdir("/proc/self/fd"))
    except OSError:
        return min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 20)


def _empty_environment() -> str:
    """Empties the environment, and the memory that the system passed it in."""
    fields = _stat_fields()
    os.environ.clear()
    ctypes.PyDLL(None).clearenv()
    start, end = fields[47], fields[48]
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)
    return "empty"


def _stat_fields() -> list[int]:
    """Returns what the system says of this process, from the parent's id (at 1) on; zeros where it is not a number."""
    with open("/proc/self/stat", encoding="ascii", errors="replace") as stat:
        words = stat.read().rsplit(")", 1)[1].split()
    return [int(word) if word.lstrip("-").isdigit() else 0 for word in words]


def _lower_limits(walls: Walls) -> str:
    with open("/proc/self/statm", encoding="ascii") as statm:
        held = int(statm.read().split()[0]) * resource.getpagesize()
    limits = {
        resource.RLIMIT_AS: held + walls.memory_bytes,
        resource.RLIMIT_FSIZE: walls.file_bytes,
        resource.RLIMIT_NOFILE: walls.open_files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        **({} if walls.threads else {resource.RLIMIT_NPROC: 0}),
    }
    for kind, value in limits.items():
        resource.setrlimit(kind, (_at_most_hard(kind, value),) * 2)
    if walls.cpu_s is not None:
        soft = math.ceil(time.process_time()) + walls.cpu_s
        resource.setrlimit(resource.RLIMIT_CPU, (soft, soft + 1))
    leave = ctypes.PyDLL(None)
    for number in EXITING_SIGNALS:
        leave.signal(int(number), ctypes.cast(leave._exit, ctypes.c_void_p))  # noqa: SLF001 - the C function
    return f"{walls.memory_bytes >> 20} MiB of address space, files of {walls.file_bytes} bytes, no core"


def _at_most_hard(kind: int, value: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _namespaces(birth: namespaces.Birth | None, born: namespaces.Birth) -> str:
    if born.namespaces:
        return ", ".join(born.namespaces)
    if birth is not None:
        raise OSError(1, next(iter(born.missing.values()), "forked plainly"))
    if os.geteuid() == 0:
        _drop_user()
        prctl(_PR_SET_DUMPABLE, 1)  # a change of user clears it, and the maps of users could not be written then
    return ", ".join(namespaces.unshare())


def _empty_root(walls: Walls, entered: Entered) -> str:
    if "mount" not in entered.layers.get("namespaces", ""):
        raise OSError(1, "no mount namespace of its own")
    if walls.readable:
        raise OSError(1, "some paths stay readable")
    namespaces.empty_root()
    return "no file has a name"


def _drop_user() -> str:
    """Becomes nobody, without groups and capabilities."""
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(namespaces.NOBODY, namespaces.NOBODY, namespaces.NOBODY)
            os.setresuid(namespaces.NOBODY, namespaces.NOBODY, namespaces.NOBODY)
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user clears it
    finally:  # also where root may not change its user, as in some containers
        namespaces.drop_capabilities()
    return f"user {os.geteuid()}, no capability"


def _forbid_tracing() -> str:
    prctl(_PR_SET_DUMPABLE, 0)
    return "no other process reads or traces it"


def _forbid_privileges() -> str:
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    return "for good"


def _filter_calls(walls: Walls) -> str:
    found = machine()
    if found is None:
        raise OSError(38, "the numbers of this machine's system calls are not known")
    rules = seccomp.policy(os.getpid(), threads=walls.threads, reading=bool(walls.readable))
    seccomp.install(seccomp.assemble(found, rules))
    return f"{sum(rule.allowed and rule.name in found.numbers for rule in rules)} allowed"
