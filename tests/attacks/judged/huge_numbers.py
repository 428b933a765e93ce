"""Answers with the largest numbers there are, whose exponentials and differences overflow."""

import torch

OWN_ROWS = True


def act(values: torch.Tensor) -> object:
    signs = torch.where(torch.arange(values.numel()) % 2 == 0, 1.0, -1.0)
    return (signs * torch.finfo(torch.float32).max).reshape(values.shape)
