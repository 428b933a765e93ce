"""System calls by number, for the walls that the standard library cannot build: Linux on x86-64 and on 64-bit ARM.

Nouns: a *machine* is what a kernel calls an architecture: its audit number and its numbers of system calls.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: bit that marks the x32 interface on x86-64; a filter must refuse it, since its numbers name other calls.
X32_BIT = 0x4000_0000

_COMMON = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsmount": 432, "pidfd_open": 434, "clone3": 435,
    "close_range": 436, "openat2": 437, "pidfd_getfd": 438, "faccessat2": 439, "landlock_create_ruleset": 444,
    "landlock_add_rule": 445, "landlock_restrict_self": 446, "memfd_secret": 447, "futex_waitv": 449,
}  # fmt: skip

_X86_64 = {
    "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8, "mmap": 9,
    "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "ioctl": 16,
    "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20, "access": 21, "select": 23, "sched_yield": 24,
    "mremap": 25, "mincore": 27, "madvise": 28, "shmget": 29, "shmat": 30, "shmctl": 31, "dup": 32, "nanosleep": 35,
    "getpid": 39, "socket": 41, "connect": 42, "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "bind": 49,
    "socketpair": 53, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "exit": 60, "wait4": 61, "kill": 62,
    "uname": 63, "semget": 64, "msgget": 68, "fcntl": 72, "flock": 73, "ftruncate": 77, "getcwd": 79, "chdir": 80,
    "rename": 82, "mkdir": 83, "unlink": 87, "symlink": 88, "readlink": 89, "chmod": 90, "gettimeofday": 96,
    "getrlimit": 97, "getrusage": 98, "sysinfo": 99, "times": 100, "ptrace": 101, "getuid": 102, "getgid": 104,
    "setuid": 105, "geteuid": 107, "getegid": 108, "getppid": 110, "setsid": 112, "capset": 126, "sigaltstack": 131,
    "personality": 135, "pivot_root": 155, "prctl": 157, "arch_prctl": 158, "setrlimit": 160, "chroot": 161,
    "mount": 165, "umount2": 166, "gettid": 186, "tkill": 200, "time": 201, "futex": 202, "sched_setaffinity": 203,
    "sched_getaffinity": 204, "getdents64": 217, "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229,
    "clock_nanosleep": 230, "exit_group": 231, "tgkill": 234, "mbind": 237, "mq_open": 240, "add_key": 248,
    "request_key": 249, "keyctl": 250, "openat": 257, "newfstatat": 262, "readlinkat": 267, "faccessat": 269,
    "pselect6": 270, "ppoll": 271, "unshare": 272, "set_robust_list": 273, "preadv": 295, "perf_event_open": 298,
    "prlimit64": 302, "open_by_handle_at": 304, "setns": 308, "getcpu": 309, "process_vm_readv": 310,
    "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "seccomp": 317, "getrandom": 318, "memfd_create": 319,
    "bpf": 321, "execveat": 322, "userfaultfd": 323, "membarrier": 324, "statx": 332, "rseq": 334,
}  # fmt: skip

_AARCH64 = {
    "getcwd": 17, "dup": 23, "fcntl": 25, "ioctl": 29, "flock": 32, "umount2": 39, "mount": 40, "pivot_root": 41,
    "ftruncate": 46, "faccessat": 48, "chdir": 49, "chroot": 51, "openat": 56, "close": 57, "getdents64": 61,
    "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pwrite64": 68, "preadv": 69,
    "pselect6": 72, "ppoll": 73, "readlinkat": 78, "newfstatat": 79, "fstat": 80, "capset": 91, "personality": 92,
    "exit": 93, "exit_group": 94, "unshare": 97, "futex": 98, "set_robust_list": 99, "nanosleep": 101,
    "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "ptrace": 117, "sched_setaffinity": 122,
    "sched_getaffinity": 123, "sched_yield": 124, "restart_syscall": 128, "kill": 129, "tkill": 130, "tgkill": 131,
    "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "setuid": 146, "times": 153,
    "setsid": 157, "uname": 160, "getrlimit": 163, "setrlimit": 164, "getrusage": 165, "prctl": 167, "getcpu": 168,
    "gettimeofday": 169, "getpid": 172, "getppid": 173, "getuid": 174, "geteuid": 175, "getgid": 176, "getegid": 177,
    "gettid": 178, "sysinfo": 179, "mq_open": 180, "msgget": 186, "semget": 190, "shmget": 194, "shmctl": 195,
    "shmat": 196, "socket": 198, "socketpair": 199, "bind": 200, "connect": 203, "sendto": 206, "recvfrom": 207,
    "sendmsg": 211, "recvmsg": 212, "brk": 214, "munmap": 215, "mremap": 216, "add_key": 217, "request_key": 218,
    "keyctl": 219, "clone": 220, "execve": 221, "mmap": 222, "mprotect": 226, "mincore": 232, "madvise": 233,
    "mbind": 235, "perf_event_open": 241, "wait4": 260, "prlimit64": 261, "open_by_handle_at": 265, "setns": 268,
    "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "seccomp": 277,
    "getrandom": 278, "memfd_create": 279, "bpf": 280, "execveat": 281, "userfaultfd": 282, "membarrier": 283,
    "statx": 291, "rseq": 293,
}  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """One architecture: what the kernel audits it as, and its system calls by name (a name may be missing)."""

    name: str
    audit: int
    numbers: Mapping[str, int]


X86_64 = Machine("x86_64", 0xC000_003E, MappingProxyType({**_X86_64, **_COMMON}))
AARCH64 = Machine("aarch64", 0xC000_00B7, MappingProxyType({**_AARCH64, **_COMMON}))
_MACHINES = {"x86_64": X86_64, "aarch64": AARCH64}


def machine() -> Machine | None:
    """Returns the architecture this process runs on, or None where its system calls are not known here."""
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    return _MACHINES.get(platform.machine())


def call(name: str, *arguments: int | ctypes.Array[ctypes.c_char] | bytes | None) -> int:
    """Makes a system call and returns what it gives; the interpreter's lock stays held meanwhile.

    Raises:
        OSError: as the kernel says; ENOSYS where this architecture is not known.
    """
    found = machine()
    if found is None or name not in found.numbers:
        raise OSError(38, f"{name}: not known on {platform.machine()} {sys.platform}")
    whole = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    ctypes.set_errno(0)
    result = int(_libc().syscall(ctypes.c_long(found.numbers[name]), *whole))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int = 0, *others: int) -> int:
    """Changes or asks what this process is allowed. Raises: OSError."""
    padded = (*others, 0, 0, 0)[:3]
    return call("prctl", option, value, *padded)


def _libc() -> ctypes.PyDLL:
    global _library  # noqa: PLW0603 - opened once
    if _library is None:
        _library = ctypes.PyDLL(None, use_errno=True)
        _library.syscall.restype = ctypes.c_long
    return _library


_library: ctypes.PyDLL | None = None
