"""Answers with numbers of another kind."""

import torch


def act(values: torch.Tensor) -> object:
    return values.to(torch.float64)
