"""The filter is run here, by a small interpreter of its own, over every system call of both machines."""

from __future__ import annotations

import errno
import struct

import pytest

from fitness.jail import seccomp
from fitness.jail.syscalls import AARCH64, X32_BIT, X86_64, Machine

MACHINES = pytest.mark.parametrize("machine", [X86_64, AARCH64], ids=lambda machine: machine.name)
PID = 7
REFUSED = seccomp.REFUSE | errno.EPERM
FORBIDDEN = (
    "socket", "connect", "bind", "socketpair", "sendmsg", "recvmsg", "execve", "execveat", "fork", "vfork", "clone",
    "ptrace", "process_vm_readv", "process_vm_writev", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns",
    "io_uring_setup", "io_uring_enter", "io_uring_register", "bpf", "memfd_create", "userfaultfd", "perf_event_open",
    "keyctl", "add_key", "request_key", "shmget", "shmat", "msgget", "semget", "mq_open", "open", "openat", "openat2",
    "stat", "readlink", "unlink", "rename", "ioctl", "prctl", "seccomp", "setuid", "capset", "personality", "kcmp",
    "tkill", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "rt_sigaction", "setrlimit", "finit_module",
    "open_by_handle_at", "memfd_secret", "ftruncate", "fcntl", "dup", "sched_setaffinity", "landlock_create_ruleset",
)  # fmt: skip


def verdict_on(program: bytes, audit: int, number: int, *arguments: int) -> int:
    """What the kernel would do: runs the program over ``struct seccomp_data``."""
    data = struct.pack("<iIQ6Q", number - (number >> 31 << 32), audit, 0, *arguments, *[0] * (6 - len(arguments)))
    code = [struct.unpack_from("HBBI", program, place) for place in range(0, len(program), 8)]
    register, counter = 0, 0
    while True:
        operation, if_true, if_false, value = code[counter]
        counter += 1
        if operation == seccomp.LOAD:
            (register,) = struct.unpack_from("<I", data, value)
        elif operation == seccomp.AND:
            register &= value
        elif operation == seccomp.JUMP_EQUAL:
            counter += if_true if register == value else if_false
        elif operation == seccomp.JUMP_AT_LEAST:
            counter += if_true if register >= value else if_false
        else:
            assert operation == seccomp.RETURN
            return value


def run(machine: Machine, name: str, *arguments: int, **options: bool) -> int:
    program = seccomp.assemble(machine, seccomp.policy(PID, **options))
    return verdict_on(program, machine.audit, machine.numbers[name], *arguments)


@MACHINES
def test_what_computing_needs_is_allowed(machine: Machine) -> None:
    names = [name for name in seccomp.ALLOWED if name in machine.numbers]
    assert {run(machine, name) for name in names} == {seccomp.ALLOW}
    assert {"read", "write", "mmap", "ppoll", "exit_group"} <= set(names)
    assert {run(machine, name) for name in ("futex", "sched_getaffinity", *seccomp.CLOCKS)} == {seccomp.ALLOW}


@MACHINES
def test_everything_else_is_refused(machine: Machine) -> None:
    program = seccomp.assemble(machine, seccomp.policy(PID))
    named = {machine.numbers[rule.name] for rule in seccomp.policy(PID) if rule.name in machine.numbers}
    others = [number for number in range(1024) if number not in named]
    assert {verdict_on(program, machine.audit, number) for number in others} == {REFUSED}
    forbidden = [name for name in FORBIDDEN if name in machine.numbers]
    assert {run(machine, name) for name in forbidden} == {REFUSED}


@MACHINES
def test_foreign_interfaces_end_the_process(machine: Machine) -> None:
    program = seccomp.assemble(machine, seccomp.policy(PID))
    others = {X86_64.audit, AARCH64.audit, 0x4000_0003, 0x4000_0028, 0} - {machine.audit}
    assert {verdict_on(program, audit, number) for audit in others for number in range(512)} == {seccomp.KILL}


def test_x32_ends_the_process_on_x86_64() -> None:
    program = seccomp.assemble(X86_64, seccomp.policy(PID))
    assert {verdict_on(program, X86_64.audit, X32_BIT | number) for number in range(1024)} == {seccomp.KILL}
    assert verdict_on(program, X86_64.audit, 0xFFFF_FFFF) == seccomp.KILL


@MACHINES
@pytest.mark.parametrize("name", ["kill", "tgkill"])
def test_signals_go_to_itself_alone(machine: Machine, name: str) -> None:
    assert run(machine, name, PID, 9) == seccomp.ALLOW
    assert {run(machine, name, pid, 9) for pid in (0, 1, PID + 1, 0xFFFF_FFFF)} == {REFUSED}


@MACHINES
@pytest.mark.parametrize("name", seccomp.CLOCKS)
def test_clocks_are_its_own_and_the_machines(machine: Machine, name: str) -> None:
    """The clock of a process is -8 * pid - 6 or so: what others had used of the processor was there to read."""
    assert {run(machine, name, clock) for clock in range(12)} == {seccomp.ALLOW}
    others = [
        (~pid << 3 | kind) & half
        for pid in (0, 1, PID, 4_194_304)
        for kind in range(8)
        for half in (2**32 - 1, 2**64 - 1)
    ]
    assert {run(machine, name, clock) for clock in others} == {REFUSED}


@MACHINES
def test_a_lock_names_no_other_process(machine: Machine) -> None:
    """A lock that gives its holder priority is told who holds it, and tells whether there is such a process."""
    commands = {
        command: run(machine, "futex", 0, command | bits) for command in range(16) for bits in (0, 128, 256, 384)
    }
    assert {command for command, verdict in commands.items() if verdict == seccomp.ALLOW} == set(seccomp.FUTEX_WAITS)
    assert set(commands.values()) == {seccomp.ALLOW, REFUSED}
    assert run(machine, "futex", 0, 0x200) == REFUSED


@MACHINES
def test_it_sees_where_it_may_run_itself_and_nobody_else(machine: Machine) -> None:
    assert {run(machine, "sched_getaffinity", pid) for pid in (0, PID)} == {seccomp.ALLOW}
    assert {run(machine, "sched_getaffinity", pid) for pid in (1, PID + 1, 0xFFFF_FFFF)} == {REFUSED}


@MACHINES
def test_limits_are_read_and_never_set(machine: Machine) -> None:
    assert run(machine, "prlimit64", 0, 7, 0, 1) == seccomp.ALLOW
    assert run(machine, "prlimit64", 0, 7, 1, 0) == REFUSED
    assert run(machine, "prlimit64", 0, 7, 1 << 32, 0) == REFUSED, "the high half of the pointer counts"
    assert run(machine, "prlimit64", 1, 7, 0, 1) == REFUSED


@MACHINES
def test_data_goes_to_no_address(machine: Machine) -> None:
    assert run(machine, "sendto", 3, 0, 0, 0, 0) == seccomp.ALLOW
    assert run(machine, "sendto", 3, 0, 0, 0, 1) == REFUSED
    assert run(machine, "sendto", 3, 0, 0, 0, 1 << 40) == REFUSED


@MACHINES
def test_threads_start_where_they_may_and_processes_never(machine: Machine) -> None:
    thread, fork = seccomp.CLONE_AS_A_THREAD, 17
    assert run(machine, "clone", thread) == REFUSED
    assert run(machine, "clone", thread, threads=True) == seccomp.ALLOW
    assert run(machine, "clone", thread | 0x0100_0000, threads=True) == seccomp.ALLOW
    for flags in (fork, 0, thread | 0x1000_0000, thread & ~0x100, thread | 0x2000):
        assert run(machine, "clone", flags, threads=True) == REFUSED
    for threads in (False, True):
        assert run(machine, "clone3", threads=threads) == seccomp.REFUSE | errno.ENOSYS


@MACHINES
def test_files_are_opened_only_where_some_are_readable(machine: Machine) -> None:
    assert run(machine, "openat") == REFUSED
    assert run(machine, "openat", reading=True) == seccomp.ALLOW
    assert run(machine, "socket", reading=True) == REFUSED


@MACHINES
def test_an_open_file_tells_of_no_other_process_and_signals_none(machine: Machine) -> None:
    allowed = {command for command in range(2048) if run(machine, "fcntl", 0, command, reading=True) == seccomp.ALLOW}
    assert allowed == set(seccomp.FILE_CONTROLS)
    get_lock, set_owner, set_signal, set_owner_ex = 5, 8, 10, 15
    assert not allowed & {get_lock, set_owner, set_signal, set_owner_ex}


def test_no_jump_leaves_the_program() -> None:
    for machine in (X86_64, AARCH64):
        program = seccomp.assemble(machine, seccomp.policy(PID, threads=True, reading=True))
        code = [struct.unpack_from("HBBI", program, place) for place in range(0, len(program), 8)]
        assert len(code) < 4096
        for place, (operation, if_true, if_false, _) in enumerate(code):
            if operation in (seccomp.JUMP_EQUAL, seccomp.JUMP_AT_LEAST):
                assert place + 1 + max(if_true, if_false) < len(code)
        assert code[-1][0] == seccomp.RETURN
