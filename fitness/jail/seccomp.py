"""The filter of system calls: which ones a jailed process may make, assembled for the kernel (seccomp, classic BPF).

Everything that is not named is refused with EPERM, so that code inside can be told apart from code that was killed; only
foreign interfaces (32-bit entry, x32), whose numbers mean other calls, end the process.

Nouns: a *rule* allows one system call, if its arguments pass every *check*.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from fitness.jail.syscalls import X32_BIT, X86_64, Machine, call

ALLOW = 0x7FFF_0000
KILL = 0x8000_0000
REFUSE = 0x0005_0000  # with the errno in the low 16 bits
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, AND, RETURN = 0x20, 0x15, 0x35, 0x54, 0x06

#: what a new thread is made with by glibc: memory, files, signals and identity all shared; no namespace, no ptrace.
CLONE_AS_A_THREAD = 0x003D_0F00
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16

#: the clocks by number; a number below 0 is a clock of another process, or of a device.
CLOCKS = ("clock_gettime", "clock_getres", "clock_nanosleep")
#: waiting and waking, and the bits that may be added; what else a futex can do takes the number of any thread.
FUTEX_WAITS, FUTEX_BITS = (0, 1, 3, 4, 5, 9, 10), 0x180

#: what computing needs: memory, clocks, waiting, the connections that are open already; and what tells harmless things.
ALLOWED = (
    "read", "write", "mmap", "munmap", "madvise", "mprotect", "brk", "mremap", "poll", "ppoll", "recvfrom", "nanosleep",
    "gettimeofday", "time", "sched_yield", "getrusage", "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid",
    "getegid", "times", "getcpu",
    "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "exit", "exit_group", "getrandom", "close",
    "readv", "writev", "lseek", "fstat", "select", "pselect6", "membarrier", "mincore", "getrlimit", "sysinfo",
    "set_robust_list", "rseq", "uname",
)  # fmt: skip
#: what reading may ask of an open file: copies, flags, to lock it; neither who holds it nor whom to send signals about it.
FILE_CONTROLS = (0, 1, 2, 3, 6, 7, 1030)
#: what reading named folders needs besides; Landlock decides which files.
READING = (
    "open", "openat", "openat2", "stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2",
    "readlink", "readlinkat", "getdents64", "pread64", "preadv", "getcwd",
)  # fmt: skip


@dataclass(frozen=True)
class ArgumentCheck:
    """What an argument must be: ``argument & mask`` in its low half is ``value`` or another of these, and the high half 0 where
    ``whole``."""

    argument: int
    value: int
    mask: int = 0xFFFF_FFFF
    whole: bool = False
    others: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rule:
    """Allows a system call whose arguments pass all checks; otherwise it is refused with ``refusal``."""

    name: str
    checks: tuple[ArgumentCheck, ...] = ()
    refusal: int = errno.EPERM
    allowed: bool = True


def policy(pid: int, *, threads: bool = False, reading: bool = False) -> list[Rule]:
    """Returns what a jailed process may call.

    Args:
        pid: its process id as it sees it itself; signals go to no other.
        threads: whether it may start threads. reading: whether it may open files (others decide which).
    """
    rules = [Rule(name) for name in (*ALLOWED, *(READING if reading else ()))]
    rules += [Rule(name, (ArgumentCheck(0, pid),)) for name in ("kill", "tgkill")]
    rules += [Rule(name, (ArgumentCheck(0, 0, mask=0x8000_0000),)) for name in CLOCKS]
    rules.append(Rule("futex", (ArgumentCheck(1, FUTEX_WAITS[0], 0xFFFF_FFFF & ~FUTEX_BITS, others=FUTEX_WAITS[1:]),)))
    rules.append(Rule("sched_getaffinity", (ArgumentCheck(0, 0, others=(pid,)),)))
    rules.append(Rule("sendto", (ArgumentCheck(4, 0, whole=True),)))  # on the open connection, to no address
    rules.append(Rule("prlimit64", (ArgumentCheck(0, 0), ArgumentCheck(2, 0, whole=True))))  # asks, never sets
    rules.append(Rule("clone3", refusal=errno.ENOSYS, allowed=False))  # its flags lie in memory; libraries fall back
    if reading:
        rules.append(Rule("fcntl", (ArgumentCheck(1, FILE_CONTROLS[0], others=FILE_CONTROLS[1:]),)))
    if threads:
        rules.append(Rule("clone", (ArgumentCheck(0, CLONE_AS_A_THREAD, mask=0xFFFF_FFFF & ~0x0100_0000),)))
    return rules


def assemble(machine: Machine, rules: Sequence[Rule]) -> bytes:
    """Returns the filter as the kernel takes it: eight bytes an instruction."""
    code = [_load(_MACHINE_AT), _jump(JUMP_EQUAL, machine.audit, 1, 0), _return(KILL), _load(_NUMBER_AT)]
    if machine.name == X86_64.name:
        code += [_jump(JUMP_AT_LEAST, X32_BIT, 0, 1), _return(KILL)]
    for rule in rules:
        if rule.name in machine.numbers:
            block = _block(rule)
            code += [_jump(JUMP_EQUAL, machine.numbers[rule.name], 0, len(block)), *block]
    return b"".join([*code, _return(REFUSE | errno.EPERM)])


def install(program: bytes) -> None:
    """Puts this process under a filter, for good. Raises: OSError."""

    class Program(ctypes.Structure):
        """The kernel's ``struct sock_fprog``."""

        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]

    memory = ctypes.create_string_buffer(program, len(program))
    header = Program(len(program) // 8, ctypes.addressof(memory))
    call("seccomp", 1, 0, ctypes.addressof(header))


def _block(rule: Rule) -> list[bytes]:
    """Returns what runs when the number is the rule's; every way through it ends in a return."""
    refuse = _return(REFUSE | rule.refusal)
    if not rule.allowed:
        return [refuse]
    steps: list[bytes | tuple[int, int]] = []  # an instruction; or a value, and over how many more values equality goes
    for check in rule.checks:
        place = _ARGUMENTS_AT + 8 * check.argument
        steps.append(_load(place))
        if check.mask != 0xFFFF_FFFF:
            steps.append(struct.pack("HBBI", AND, 0, 0, check.mask))
        values = (check.value, *check.others)
        steps += [(value, len(values) - position) for position, value in enumerate(values, 1)]
        if check.whole:
            steps += [_load(place + 4), (0, 0)]
    code = []
    for position, step in enumerate(steps):
        if isinstance(step, bytes):
            code.append(step)
            continue
        value, to_the_last = step
        to_refusal = len(steps) - position  # over the rest and the allowing return
        code.append(_jump(JUMP_EQUAL, value, to_the_last, 0 if to_the_last else to_refusal))
    return [*code, _return(ALLOW), *([refuse] if rule.checks else [])]


def _load(offset: int) -> bytes:
    return struct.pack("HBBI", LOAD, 0, 0, offset)


def _jump(operation: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("HBBI", operation, if_true, if_false, value)


def _return(value: int) -> bytes:
    return struct.pack("HBBI", RETURN, 0, 0, value)
