"""Answers with a view of one number that claims to be four terabytes."""

import torch


def act(values: torch.Tensor) -> object:
    return torch.ones(1).expand(1 << 20, 1 << 20)
