"""The arithmetic under the operations, on whole stacks at once: matrix products, sliding windows, convolution.

It may import `population.errors` and `population.operations`. Its public things are `affine`, `convolve`, `max_pool`,
`sum_pool`.

A kernel is imported when it is first asked for, so that operations can be defined where no torch is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from population.operations.kernels.convolution import convolve
    from population.operations.kernels.products import affine
    from population.operations.kernels.windows import max_pool, sum_pool

__all__ = ["affine", "convolve", "max_pool", "sum_pool"]

_MODULES = {"affine": "products", "convolve": "convolution", "max_pool": "windows", "sum_pool": "windows"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"{__name__} has no {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    return found
