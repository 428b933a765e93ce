"""Raises its own limits, soft ones to the hard and hard ones beyond; success is any limit that went up."""

import contextlib
import resource

from tests.attacks.toolkit import Plants

NAMES = (
    "AS",
    "CPU",
    "FSIZE",
    "NOFILE",
    "NPROC",
    "CORE",
    "DATA",
    "STACK",
    "MEMLOCK",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
)


def attack(plants: Plants) -> str | None:
    raised = []
    for name in NAMES:
        number = getattr(resource, f"RLIMIT_{name}")
        for new in ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None):
            with contextlib.suppress(ValueError, OSError):
                soft, hard = resource.getrlimit(number)
                resource.setrlimit(number, new or (hard, hard))
                if resource.getrlimit(number) != (soft, hard):
                    raised.append(f"{name} from {soft}, {hard}")
    return "; ".join(raised) or None
