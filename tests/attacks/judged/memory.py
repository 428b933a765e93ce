"""Fills memory for ever, and goes on when there is none."""

import contextlib
import time

import torch


def act(values: torch.Tensor) -> object:
    held = []
    while True:
        with contextlib.suppress(MemoryError, RuntimeError):
            held.append(torch.ones(1 << 20))
            continue
        time.sleep(0.01)
