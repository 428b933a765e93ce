"""Forks children that live on in sessions of their own."""

import contextlib
import os
import time

import torch


def act(values: torch.Tensor) -> object:
    with contextlib.suppress(OSError):
        if os.fork() == 0:
            os.setsid()
            os.closerange(0, 1024)
            time.sleep(600)
            os._exit(0)
    return values
