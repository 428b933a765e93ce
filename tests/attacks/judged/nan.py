"""Answers with numbers that are none, with every payload there is."""

import torch

OWN_ROWS = True


def act(values: torch.Tensor) -> object:
    payloads = torch.arange(values.numel(), dtype=torch.int32) % 0x3FFFFF + 0x7F800001
    return payloads.view(torch.float32).reshape(values.shape)
