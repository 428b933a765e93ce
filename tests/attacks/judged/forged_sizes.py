"""Writes an answer that announces more bytes than there are in the world."""

import contextlib
import os
import struct
import time

import torch

from population.encoding.cbor import encode


def act(values: torch.Tensor) -> object:
    header = encode({"kind": "outputs", "fields": {}, "blobs": [1 << 62, 1 << 62]})
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(descriptor, struct.pack("<I", len(header)) + header)
    while True:
        time.sleep(3600)
