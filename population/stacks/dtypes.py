"""The number types that tensors of a block may have, by the names that manifests give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from population.graphs.nodes import DTYPES as NAMES
from population.lazy_torch import torch


class NumberTypes(Mapping[str, "torch.dtype"]):
    """Number types by name; torch is imported when one is looked up."""

    def __init__(self, *names: str) -> None:
        self._names = dict.fromkeys(names)

    def __getitem__(self, name: str) -> torch.dtype:
        self._names[name]
        found: torch.dtype = getattr(torch, name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


DTYPES: Final = NumberTypes(*NAMES)
