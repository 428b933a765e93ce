"""A small convolutional network as people write it; `study.py` trains it badly on purpose."""

import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    """Two convolutions with batch norms, for images of 8x8 with values up to 16."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(32)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(512, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``[N, 10]`` of images ``[N, 1, 8, 8]``."""
        value = functional.relu(self.norm1(self.conv1(image / 16)))
        value = functional.max_pool2d(functional.relu(self.norm2(self.conv2(value))), 2)
        return self.head(self.drop(value.flatten(1)))
