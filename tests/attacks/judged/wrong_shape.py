"""Answers with two classes more than there are."""

import torch


def act(values: torch.Tensor) -> object:
    return torch.cat([values, values[:, :2]], dim=1)
