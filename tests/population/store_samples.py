"""Small stand-ins for blocks, so that the store is tested by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from population.encoding.cbor import Link, encode
from population.encoding.cid import cid_of


@dataclass(frozen=True)
class PlainBlock:
    """A block whose tensors are bytes."""

    title: str
    tensors: tuple[bytes, ...]

    def manifest(self) -> tuple[Any, Mapping[str, bytes]]:
        leaves = {cid_of(data, "raw"): data for data in self.tensors}
        return {"title": self.title, "tensors": [Link(cid_of(data, "raw")) for data in self.tensors]}, leaves

    @classmethod
    def from_manifest(cls, value: Any, read_leaf: Callable[[str], bytes]) -> PlainBlock:
        return cls(value["title"], tuple(read_leaf(link.cid) for link in value["tensors"]))

    @property
    def id(self) -> str:
        return cid_of(encode(self.manifest()[0]), "dag-cbor")
