"""Stops itself (SIGSTOP), so that whoever waits for its end waits."""

import os
import signal

import torch


def act(values: torch.Tensor) -> object:
    os.kill(os.getpid(), signal.SIGSTOP)
    return values
