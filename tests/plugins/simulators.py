"""Users' simulators: a counter that ends at three, and some that misbehave; each is made by a factory of this module."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

FLAGS = np.bool_


class Counter:
    """Counts actions from the seed on; a lane ends when it has moved by three. Observations are [count, seed]."""

    def __init__(self, trick: str = "") -> None:
        self.trick = trick

    def reset(self, seeds: Any, variants: Any) -> Any:
        self.seeds = self.counts = (seeds + 1000 * variants).astype(np.float32)
        return self.look()

    def look(self) -> Any:
        return np.stack([self.counts, self.seeds], axis=1)

    def step(self, actions: Any) -> Any:
        self.counts = self.counts + actions[:, 0]
        ended = self.counts - self.seeds >= 3
        answer = [self.look(), self.counts - self.seeds, ended, np.zeros(len(ended), dtype=FLAGS)]
        if self.trick == "hang":
            time.sleep(3600)
        elif self.trick == "die":
            os._exit(5)
        elif self.trick == "file":
            open("/proc/self/environ", "rb").close()
        elif self.trick == "print":
            os.write(1, b"noise")
        elif self.trick == "nan":
            answer[1] = answer[1] * np.nan
        elif self.trick == "shape":
            answer[0] = answer[0][:, :1]
        elif self.trick == "objects":
            answer[1] = np.array([object()] * len(ended))
        elif self.trick == "flags":
            answer[2] = answer[2].astype(np.int64)
        elif self.trick == "few":
            answer.pop()
        return tuple(answer)


def counter() -> Counter:
    return Counter()


def cannot_be_made() -> Counter:
    raise RuntimeError("no simulator here")


def __getattr__(name: str) -> Any:
    """Factories that misbehave in step: ``trick_hang`` and so on."""
    if not name.startswith("trick_"):
        raise AttributeError(name)
    return lambda: Counter(name.removeprefix("trick_"))
