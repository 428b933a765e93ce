"""The worlds that attacks run in: as root, as an ordinary user, where namespaces are forbidden, and as in a container.

A process joins one for good. Nothing of the machine's own settings is changed: what a world forbids, a filter of system
calls over the process refuses.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fitness.jail import seccomp
from fitness.jail.syscalls import X86_64, Machine
from tests.attacks.toolkit import SYSCALLS, call, libc

#: Any number but 0 and 65534, which is what the kernel calls everybody whom a user namespace does not know.
ORDINARY = 1234
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38
CLONE_NEWNS, CLONE_NEWUTS, MS_REC_PRIVATE = 0x0002_0000, 0x0400_0000, 0x4000 | 0x40000
CAP_SYS_ADMIN = 21
EVERY_NEW_NAMESPACE = 0x7E02_0000
LANDLOCK = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
#: What the default profile of container runtimes refuses to a process without capabilities, besides some arguments.
CONTAINER_REFUSES = (
    "acct", "add_key", "bpf", "clock_settime", "delete_module", "fanotify_init", "finit_module", "fsconfig", "fsmount",
    "fsopen", "fspick", "get_mempolicy", "init_module", "io_uring_enter", "io_uring_register", "io_uring_setup", "ioperm",
    "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "mbind", "mount", "mount_setattr", "move_mount",
    "move_pages", "open_by_handle_at", "open_tree", "perf_event_open", "pidfd_getfd", "pivot_root", "process_madvise",
    "quotactl", "reboot", "request_key", "set_mempolicy", "setdomainname", "sethostname", "setns", "settimeofday",
    "swapoff", "swapon", "syslog", "umount2", "unshare", "userfaultfd", "vhangup",
)  # fmt: skip
PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFF_FFFF)
MORE_NUMBERS = {
    "fsconfig": 431, "get_mempolicy": 239, "set_mempolicy": 238, "settimeofday": 164, "swapoff": 168,
}  # fmt: skip
_MACHINE = Machine(X86_64.name, X86_64.audit, {**X86_64.numbers, **SYSCALLS, **MORE_NUMBERS})


@dataclass(frozen=True)
class World:
    """Whether its processes are root, and what is refused to them."""

    is_root: bool
    rules: tuple[seccomp.Rule, ...] = ()
    has_namespaces: bool = True
    has_landlock: bool = True


def _refused(names: Sequence[str], code: int = errno.EPERM) -> tuple[seccomp.Rule, ...]:
    return tuple(seccomp.Rule(name, refusal=code, allowed=False) for name in names)


_PLAIN_FORKS = (
    seccomp.Rule("clone", (seccomp.ArgumentCheck(0, 0, mask=EVERY_NEW_NAMESPACE),)),
    *_refused(["clone3"], errno.ENOSYS),
)
_NO_NAMESPACES = (*_PLAIN_FORKS, *_refused(["unshare", "setns"]))
_CONTAINER = (
    *_PLAIN_FORKS,
    *_refused(CONTAINER_REFUSES),
    seccomp.Rule("personality", (seccomp.ArgumentCheck(0, PERSONALITIES[0], others=PERSONALITIES[1:]),)),
    seccomp.Rule(
        "socket", (seccomp.ArgumentCheck(0, 0, others=tuple(family for family in range(1, 64) if family != 40)),)
    ),
)
WORLDS = {
    "root": World(is_root=True),
    "an ordinary user": World(is_root=False),
    "root without namespaces": World(is_root=True, rules=_NO_NAMESPACES, has_namespaces=False),
    "an ordinary user without namespaces": World(is_root=False, rules=_NO_NAMESPACES, has_namespaces=False),
    "an ordinary user in a container": World(is_root=False, rules=_CONTAINER, has_namespaces=False),
    "an ordinary user without namespaces and Landlock": World(
        is_root=False,
        rules=(*_NO_NAMESPACES, *_refused(LANDLOCK, errno.ENOSYS)),
        has_namespaces=False,
        has_landlock=False,
    ),
}


def become(world: str) -> None:
    """Joins a world: gives root up where the world has none. What it was before stays reachable: imports come first."""
    if not WORLDS[world].is_root and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(ORDINARY, ORDINARY, ORDINARY)
        os.setresuid(ORDINARY, ORDINARY, ORDINARY)
        libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # as a process that was started by this user would be


def take_away(world: str) -> None:
    """Refuses what the world lacks, for this process and all it starts."""
    if not WORLDS[world].rules:
        return
    program = bytearray(seccomp.assemble(_MACHINE, WORLDS[world].rules))
    allowing = seccomp.assemble(_MACHINE, [seccomp.Rule("read")])[-16:-8]  # the instruction that ends this rule
    assert allowing[4:] == seccomp.ALLOW.to_bytes(4, "little")
    for place in (2, 5, len(program) // 8 - 1):  # foreign interfaces, and whatever no rule names
        program[8 * place : 8 * place + 8] = allowing
    with contextlib.suppress(OSError):  # root need not promise anything, and some attacks look whether it had to
        seccomp.install(bytes(program))
        return
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    seccomp.install(bytes(program))


def can_have_namespaces(world: str) -> bool:
    """Asks the machine itself, with a program that is not ours, what it gives to whom the world's processes are."""
    if not WORLDS[world].has_namespaces:
        return False
    options: dict[str, Any] = {"capture_output": True}
    if os.getuid() == 0 and not WORLDS[world].is_root:
        options |= {"user": ORDINARY, "group": ORDINARY, "extra_groups": []}
    ways = (["--map-root-user"], ["--pid", "--fork"])
    return any(subprocess.run(["unshare", *way, "true"], check=False, **options).returncode == 0 for way in ways)


def hide_mounts() -> None:
    """As root, gives this process mounts and host names of its own, so that an attack that succeeds harms nobody.

    Where root gets none, it gives up the right to mount and to name the host instead.
    """
    if os.geteuid() != 0:
        return
    try:
        call("unshare", CLONE_NEWNS | CLONE_NEWUTS)
    except OSError:
        _give_up(CAP_SYS_ADMIN)
        return
    call("mount", b"none", b"/", None, MS_REC_PRIVATE, None)


def _give_up(capability: int) -> None:
    header, held = (ctypes.c_uint32 * 2)(0x2008_0522, 0), (ctypes.c_uint32 * 6)()
    call("capget", header, held)
    for place in range(3):  # effective, permitted, inheritable; the low halves
        held[place] &= ~(1 << capability)
    call("capset", header, held)
