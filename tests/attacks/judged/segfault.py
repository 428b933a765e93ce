"""Follows a wild pointer."""

import ctypes

import torch


def act(values: torch.Tensor) -> object:
    return ctypes.string_at(1)
