"""Searches what it can reach for the answers of candidates judged before it: 1234.5 again and again. Says so by an error."""

import ctypes
import gc
import re
import sys

import numpy as np
import torch

NUMBER = np.float32(1234.5).tobytes()
ANSWERS = re.compile(b"(?:" + re.escape(NUMBER) + b"){16}")
#: An operation is called for some samples at a time; it searches at the first call.
SEARCHED: list[bool] = []
PAGE, BACK = 4096, 64 << 20
libc = ctypes.CDLL(None)


def act(values: torch.Tensor) -> object:
    if SEARCHED:
        return values
    SEARCHED.append(True)
    if any(NUMBER in piece and ANSWERS.search(piece) for piece in _reachable()):
        raise RuntimeError("found a neighbour's answers")
    return values


def _reachable() -> object:
    frame = sys._getframe()
    while frame is not None and "taken" not in frame.f_locals:
        frame = frame.f_back
    if frame is not None:
        yield bytes(frame.f_locals["taken"])
        yield bytes(frame.f_locals["given"])
    gc.unfreeze()  # what a zygote set aside
    for one in gc.get_objects():
        for held in list(one.values()) if type(one) is dict and len(one) < 64 else (one,):
            if type(held) is np.ndarray and held.dtype == np.float32:
                yield held.tobytes()
            elif type(held) is torch.Tensor and held.dtype == torch.float32:
                yield held.detach().numpy().tobytes()
    libc.sbrk.restype = ctypes.c_void_p
    end = libc.sbrk(0) & -PAGE
    for page in range(end - PAGE, end - BACK, -PAGE):
        if libc.mincore(ctypes.c_void_p(page), PAGE, ctypes.create_string_buffer(1)):
            return
        yield ctypes.string_at(page, PAGE)
