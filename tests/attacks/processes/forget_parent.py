"""Takes back that it dies with its parent (PR_SET_PDEATHSIG); success is that it no longer does."""

import ctypes

from tests.attacks.toolkit import Plants, call

PR_SET_PDEATHSIG, PR_GET_PDEATHSIG = 1, 2


def attack(plants: Plants) -> str | None:
    call("prctl", PR_SET_PDEATHSIG, 0, 0, 0, 0)
    found = ctypes.c_int(-1)
    call("prctl", PR_GET_PDEATHSIG, ctypes.byref(found), 0, 0, 0)
    return "it outlives its parent" if found.value == 0 else None
