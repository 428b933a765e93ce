"""Changes the root's mount options; success is that it may. (To what they are.)"""

from tests.attacks.toolkit import Plants, call

MS_REMOUNT_BIND = 0x20 | 0x1000


def attack(plants: Plants) -> str | None:
    return f"mount returned {call('mount', b'none', b'/', None, MS_REMOUNT_BIND, None)}"
