"""Makes a POSIX message queue, which outlives it; success is the queue."""

from tests.attacks.toolkit import Plants, call, libc


def attack(plants: Plants) -> str | None:
    descriptor = call("mq_open", b"attack", 0o102, 0o600, None)
    libc.syscall(241, b"attack")  # mq_unlink
    return f"descriptor {descriptor}"
