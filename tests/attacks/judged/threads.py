"""Starts threads that spin, as many as it gets, and waits for them."""

import contextlib
import threading
import time

import torch


def act(values: torch.Tensor) -> object:
    def spin() -> None:
        while True:
            pass

    with contextlib.suppress(RuntimeError, MemoryError):
        for _ in range(32):
            threading.Thread(target=spin, daemon=True).start()
    while True:
        time.sleep(1)
