"""Threads of torch while a stack is computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from population.lazy_torch import torch


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Computes with one thread inside the block, as every judge does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
