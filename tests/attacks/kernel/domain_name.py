"""Sets the machine's domain; success is that it may."""

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"setdomainname returned {call('setdomainname', b'(none)', 6)}"
