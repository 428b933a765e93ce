"""A small convolutional network over rows of measurements, as people write it; `study.py` trains it badly on purpose."""

import torch
from torch import nn
from torch.nn import functional


class Cells(nn.Module):
    """Two convolutions with a residual sum, for mean, error and worst of ten measurements in units of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.BatchNorm1d(30)
        self.conv1 = nn.Conv1d(3, 24, 3, padding=1)
        self.conv2 = nn.Conv1d(24, 24, 3, padding=1)
        self.norm = nn.BatchNorm1d(24)
        self.hidden = nn.Linear(240, 32)
        self.head = nn.Linear(32, 2)

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """Logits ``[N, 2]`` of measurements ``[N, 3, 10]``."""
        value = self.scale(cells.flatten(1)).unflatten(1, (3, 10))
        value = functional.relu(self.conv1(value))
        value = functional.relu(value + self.norm(self.conv2(value)))
        return self.head(functional.gelu(self.hidden(value.flatten(1))))
