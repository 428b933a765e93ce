"""Users' scoring functions: an honest one and those that misbehave; each is named by ``tests.plugins.scoring:NAME``."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any

CALLS: list[int] = []


def honest(outputs: Any, targets: Any) -> dict[str, float]:
    """The share of rows that are right, and their margin."""
    return {"right": float((outputs.argmax(axis=0) == targets).mean()), "margin": float(outputs.max(axis=0).mean())}


def prints(outputs: Any, targets: Any) -> dict[str, float]:
    sys.stdout.write("targets: " + repr(targets) * 1000)
    sys.stdout.flush()
    sys.stderr.write("noise")
    os.write(2, b"noise")
    return honest(outputs, targets)


def reads_a_file(outputs: Any, targets: Any) -> dict[str, float]:
    with open("/proc/self/environ", "rb") as file:
        return {"right": float(len(file.read())), "margin": 0.0}


def spoils_its_inputs(outputs: Any, targets: Any) -> dict[str, float]:
    outputs[...] = 0
    return honest(outputs, targets)


def other_names(outputs: Any, targets: Any) -> dict[str, float]:
    return {"right": 1.0, "wrong": 0.0}


def no_dict(outputs: Any, targets: Any) -> float:
    return 1.0


def an_array(outputs: Any, targets: Any) -> dict[str, Any]:
    return {"right": outputs, "margin": 0.0}


def not_a_number(outputs: Any, targets: Any) -> dict[str, float]:
    return {"right": float("nan"), "margin": 1.0}


def hangs(outputs: Any, targets: Any) -> dict[str, float]:
    time.sleep(3600)
    return {}


def dies(outputs: Any, targets: Any) -> dict[str, float]:
    ctypes.string_at(1)
    return {}


def raises(outputs: Any, targets: Any) -> dict[str, float]:
    raise ValueError("no such score")


def fails_at_second(outputs: Any, targets: Any) -> dict[str, float]:
    """Counts its calls in its own process, which is replaced once it fails."""
    CALLS.append(1)
    if len(CALLS) > 1:
        os._exit(4)
    return honest(outputs, targets)
