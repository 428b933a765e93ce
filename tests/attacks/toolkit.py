"""What the attacks share: where the plants are, system calls by number, and a few machine instructions.

Nouns: a *plant* is something placed for an attack to reach (a secret, a socket, a neighbour), so that success is a fact;
the *prey* is a neighbouring process of the same user that holds most of them. x86-64 Linux only.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plants:
    """Where the plants are. The secrets themselves are not here; every one starts with ``PLANT-`` and its kind.

    Attributes:
        folder: a folder anybody may write to, with the files ``secret`` (readable by all), ``victim`` and ``socket``.
        parent_pid, parent_address: the process that forked the attack, and where its memory holds a secret.
        prey_pid, prey_address, prey_fd: the neighbour, where its memory holds a secret, and a descriptor to read one from.
        inherited_fd, control_fd: what the parent left open at the fork: a file with a secret, a socket that somebody reads.
        memory_bytes: what a jailed process may hold.
    """

    folder: str
    parent_pid: int
    parent_address: int
    prey_pid: int
    prey_address: int
    prey_fd: int
    tcp_port: int
    tcp6_port: int
    udp_port: int
    abstract: str
    shm_id: int
    msg_id: int
    shm_name: str
    inherited_fd: int
    control_fd: int
    memory_bytes: int

    @property
    def secret(self) -> str:
        """The path of the file that holds a secret."""
        return f"{self.folder}/secret"

    @property
    def victim(self) -> str:
        """The path of a file that an attack may try to change."""
        return f"{self.folder}/victim"


libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

SYSCALLS = {
    "open": 2, "mmap": 9, "ioctl": 16, "shmget": 29, "shmat": 30, "clone": 56, "fork": 57, "vfork": 58, "execve": 59,
    "msgrcv": 70,
    "chmod": 90, "ptrace": 101, "syslog": 103, "rt_sigqueueinfo": 129, "personality": 135, "setpriority": 141,
    "sched_setscheduler": 144, "vhangup": 153, "modify_ldt": 154, "pivot_root": 155, "prctl": 157, "adjtimex": 159,
    "chroot": 161, "acct": 163, "mount": 165, "umount2": 166, "swapon": 167, "reboot": 169, "sethostname": 170,
    "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175, "quotactl": 179, "setxattr": 188, "tgkill": 234,
    "kexec_load": 246, "add_key": 248, "keyctl": 250, "ioprio_set": 251, "mknod": 133, "unshare": 272, "get_robust_list": 274,
    "move_pages": 279, "timer_create": 222, "perf_event_open": 298, "fanotify_init": 300, "prlimit64": 302,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
    "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "sched_setattr": 314, "seccomp": 317, "memfd_create": 319,
    "bpf": 321, "execveat": 322, "userfaultfd": 323, "io_uring_setup": 425, "open_tree": 428, "fsopen": 430, "fspick": 433,
    "pidfd_send_signal": 424, "pidfd_open": 434, "clone3": 435, "openat2": 437, "pidfd_getfd": 438, "process_madvise": 440,
    "mount_setattr": 442, "landlock_create_ruleset": 444, "mq_open": 240, "capset": 126, "statx": 332, "kexec_file_load": 320,
    "sched_setaffinity": 203, "process_mrelease": 448, "mlockall": 151, "inotify_add_watch": 254, "clock_settime": 227,
    "delete_module": 176, "semget": 64, "clock_getres": 229, "clock_nanosleep": 230, "futex": 202, "ioprio_get": 252,
    "sched_getattr": 315, "capget": 125, "kill": 62, "tkill": 200,
}  # fmt: skip


def call(name: str | int, *arguments: Any) -> int:
    """Makes a system call by name or number; an error is raised as OSError."""
    number = SYSCALLS[name] if isinstance(name, str) else name
    found: int = libc.syscall(ctypes.c_long(number), *(_argument(argument) for argument in arguments))
    if found == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return found


def admitted(name: str, *arguments: Any, beyond: tuple[int, ...]) -> str:
    """Makes a call whose arguments are wrong on purpose; one of the errors ``beyond`` shows that permission was given."""
    try:
        return f"{name} returned {call(name, *arguments)}"
    except OSError as error:
        if error.errno in beyond:
            return f"{name} was admitted: it looked at its arguments and said {errno.errorcode[error.errno]}"
        raise


def any_of(*ways: Callable[[], object]) -> str:
    """Tries ways one after the other; the first that comes back is the evidence, else the last one's error is raised."""
    refusal: OSError = OSError("no way at all")
    for way in ways:
        try:
            return f"{way()}"
        except OSError as error:
            refusal = error
    raise refusal


def clock_of(pid: int) -> int:
    """Returns the number of a process's clock of processor time."""
    return ~pid << 3 | 2


def limited(kind: int, value: int) -> None:
    """Sets a limit of this process; a refusal is an OSError."""
    import resource

    try:
        resource.setrlimit(kind, (value, value))
    except ValueError as error:
        raise OSError(str(error)) from error


def begin(thread: threading.Thread) -> None:
    """Starts a thread; a refusal is an OSError."""
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(str(error)) from error


def _argument(value: Any) -> Any:
    if isinstance(value, int):
        return ctypes.c_long(value)
    return ctypes.c_char_p(value) if isinstance(value, bytes) else value


def run_code(code: bytes, *arguments: int) -> int:
    """Executes machine code as a function of integers."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    function = ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * len(arguments))(address)
    return int(function(*arguments))


def low_memory(content: bytes) -> int:
    """Returns the address, below 4 GiB, of a copy of ``content``, for calls that take 32-bit pointers."""
    libc.mmap.restype = ctypes.c_void_p
    map_private_anonymous_32bit = 0x02 | 0x20 | 0x40
    address = libc.mmap(
        None, ctypes.c_size_t(4096), mmap.PROT_READ | mmap.PROT_WRITE, map_private_anonymous_32bit, -1, ctypes.c_long(0)
    )
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "no memory below 4 GiB")
    ctypes.memmove(address, content + b"\0", len(content) + 1)
    return int(address)


def int80(number: int, first: int = 0, second: int = 0, third: int = 0) -> int:
    """Makes a system call of the i386 table from 64-bit code; returns what the kernel left in eax, sign extended."""
    # push rbx; mov eax, edi; mov ebx, esi; mov ecx, edx (through r8: third is in rcx); int 0x80; cdqe; pop rbx; ret
    code = bytes.fromhex("53 4189c8 89f8 89f3 89d1 4489c2 cd80 4898 5b c3".replace(" ", ""))
    return run_code(code, number, first, second, third)


class IoVec(ctypes.Structure):
    """A piece of memory, as ``process_vm_readv`` takes it."""

    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


def read_of(pid: int, address: int, size: int = 64) -> str:
    """Reads another process's memory with ``process_vm_readv``."""
    buffer = ctypes.create_string_buffer(size)
    here, there = IoVec(ctypes.addressof(buffer), size), IoVec(address, size)
    call("process_vm_readv", pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    return text_of(buffer.raw)


def text_of(data: bytes) -> str:
    """Returns bytes as text up to the first NUL, whatever they hold."""
    return data.split(b"\0")[0].decode("latin-1")


def in_child(start: Callable[[], int]) -> str:
    """Calls what forks; the child ends at once. Returns evidence of the child."""
    pid = start()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return f"a child with pid {pid} ran"
