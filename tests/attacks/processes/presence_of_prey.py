"""Asks whether there is such a process, with a signal that is none; success is that there is."""

import os

from tests.attacks.toolkit import Plants, any_of, call


def attack(plants: Plants) -> str | None:
    return any_of(
        lambda: call("kill", plants.prey_pid, 0),
        lambda: call("tkill", plants.prey_pid, 0),
        lambda: call("tgkill", plants.prey_pid, plants.prey_pid, 0),
        lambda: call("pidfd_open", plants.prey_pid, 0),
        lambda: os.waitid(os.P_PID, plants.prey_pid, os.WEXITED | os.WNOHANG | os.WNOWAIT),
    )
