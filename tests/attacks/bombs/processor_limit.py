"""Ignores the warning of its limit on processor time and spins on; success is five seconds of it.

The deadline ends it first where the limit is longer than that; the limit is what ends it where nobody watches.
"""

import resource
import signal
import time

from tests.attacks.toolkit import Plants

LASTS, DEADLINE_S = True, 0.3


def attack(plants: Plants) -> str | None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
    if (soft, hard) != resource.getrlimit(resource.RLIMIT_CPU):
        return f"limit raised from {soft}"
    while time.process_time() < 5:
        pass
    return "five seconds"
