"""Answers with far more than was asked for."""

import torch


def act(values: torch.Tensor) -> object:
    return torch.ones(values.shape[0], values.shape[1], 1 << 22)
