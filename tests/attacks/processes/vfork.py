"""Forks with vfork, in machine code that leaves the shared stack alone; success is the child."""

import os

from tests.attacks.toolkit import Plants, run_code

# mov eax, vfork; syscall; test eax, eax; jnz parent; xor edi, edi; mov eax, exit; syscall; parent: cdqe; ret
CODE = bytes.fromhex("b83a0000000f0585c0750931ffb83c0000000f054898c3")


def attack(plants: Plants) -> str | None:
    pid = run_code(CODE)
    if pid < 0:
        raise OSError(-pid, "vfork")
    os.waitpid(pid, 0)
    return f"a child with pid {pid} ran"
