"""Opens settings of the kernel for writing (and writes nothing); success is any of them."""

import contextlib
import os

from tests.attacks.toolkit import Plants

SETTINGS = (
    "sys/kernel/core_pattern",
    "sysrq-trigger",
    "sys/vm/drop_caches",
    "sys/kernel/hostname",
    "self/oom_score_adj",
)


def attack(plants: Plants) -> str | None:
    opened = []
    for name in SETTINGS:
        with contextlib.suppress(OSError):
            os.close(os.open(f"/proc/{name}", os.O_WRONLY))
            opened.append(name)
    return ", ".join(opened) or None
