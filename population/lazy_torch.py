"""``torch`` and ``torch.nn.functional`` as they are, imported when something of them is first asked for.

So that what an operation, a graph or a block is can be imported, read and checked where nothing can be computed. From the
first use on each name is found at once, as in the module itself. What needs torch already when it is defined (a class of its
classes, a table of its functions) imports torch, and lies apart: ``population.operations.kernels``.

Nouns: none.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["functional", "torch"]


class _Lazy(ModuleType):
    def __getattr__(self, name: str) -> Any:
        module = importlib.import_module(self.__name__)
        self.__dict__.update(vars(module))  # with torch's own way to make names that are asked for
        self.__class__ = ModuleType  # type: ignore[assignment]  # from here on a name costs what it costs there
        return getattr(self, name)


if TYPE_CHECKING:
    import torch
    from torch.nn import functional
else:
    torch, functional = _Lazy("torch"), _Lazy("torch.nn.functional")
