"""Copies a tree of mounts by descriptor (open_tree), the newer road to mounts; success is the descriptor."""

from tests.attacks.toolkit import Plants, call

AT_FDCWD, OPEN_TREE_CLONE = -100, 1


def attack(plants: Plants) -> str | None:
    return f"descriptor {call('open_tree', AT_FDCWD, plants.folder.encode(), OPEN_TREE_CLONE)}"
