"""Aborts."""

import os

import torch


def act(values: torch.Tensor) -> object:
    os.abort()
