"""Takes the randomness out of where memory lies (personality); success is that it may."""

from tests.attacks.toolkit import Plants, call

ADDR_NO_RANDOMIZE = 0x0040000


def attack(plants: Plants) -> str | None:
    before = call("personality", 0xFFFFFFFF)
    call("personality", before | ADDR_NO_RANDOMIZE)
    return "it may" if call("personality", 0xFFFFFFFF) & ADDR_NO_RANDOMIZE else None
