"""Makes itself readable to other processes of its user again (PR_SET_DUMPABLE), and everyone its debugger."""

from tests.attacks.toolkit import Plants, call

PR_SET_DUMPABLE = 4


def attack(plants: Plants) -> str | None:
    return f"prctl returned {call('prctl', PR_SET_DUMPABLE, 1, 0, 0, 0)}"
