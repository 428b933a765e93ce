"""Makes itself the keeper of its descendants' orphans (PR_SET_CHILD_SUBREAPER), to hide them; success is that it may."""

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"prctl returned {call('prctl', 36, 1, 0, 0, 0)}"
