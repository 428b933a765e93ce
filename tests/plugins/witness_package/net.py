"""A user's PyTorch module that notes where it is made and run."""

from __future__ import annotations

import torch
import witness
from torch import nn


class Net(nn.Module):
    """A small network over rows of six numbers."""

    def __init__(self) -> None:
        super().__init__()
        witness.note("module")
        self.hidden = nn.Linear(6, 8)
        self.head = nn.Linear(8, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.cos(torch.arange(parameter.numel()) * 1.7).reshape(parameter.shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        witness.note("module")
        return self.head(torch.relu(self.hidden(x)))
