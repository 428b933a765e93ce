"""Spins for ever; every signal that can be is ignored."""

import contextlib
import signal

import torch


def act(values: torch.Tensor) -> object:
    for number in range(1, signal.NSIG):
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    while True:
        pass
