"""Spoils the numbers of every candidate in its tile, so that the others score what they do not deserve."""

import torch


def act(values: torch.Tensor) -> object:
    values.mul_(-1.0)
    return values
