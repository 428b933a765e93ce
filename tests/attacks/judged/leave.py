"""Raises what is no Exception, past every handler of those."""

import torch


def act(values: torch.Tensor) -> object:
    raise SystemExit(0)
