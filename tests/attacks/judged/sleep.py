"""Sleeps for ever with every signal blocked."""

import signal
import time

import torch


def act(values: torch.Tensor) -> object:
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    while True:
        time.sleep(3600)
