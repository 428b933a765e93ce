"""Stops every clock that Python has, then sleeps as long as it likes."""

import time

import torch


def act(values: torch.Tensor) -> object:
    sleep = time.sleep
    time.monotonic = time.time = time.perf_counter = time.process_time = lambda: 0.0
    while True:
        sleep(1)
