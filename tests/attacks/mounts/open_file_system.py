"""Opens a new file system by descriptor (fsopen); success is the descriptor."""

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"descriptor {call('fsopen', b'tmpfs', 0)}"
