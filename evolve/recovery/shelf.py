"""Turns a campaign's champion into a block of the store, and keeps rows at keyframes.

Nouns: *shelf* (where rows and blocks are kept for good).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from evolve.campaign.events import Publish
from evolve.planning.plan import Plan
from population.blocks.block import TensorBlock
from population.stacks.row_format import decode_rows
from population.store.objects import BlockStore, kept_row
from population.store.row_packs import LEAST_ROWS, Packs


class Shelf(Protocol):
    """Where rows and blocks are kept for good."""

    def keep_rows(self, rows: Sequence[bytes]) -> None:
        """Stores row bytes under their digests."""

    def publish(self, row: bytes, tiers: Publish) -> tuple[str, int]:
        """Stores the block of a row; returns its id and the bytes of its tensors."""


def block_of_row(plan: Plan, row: bytes, work: Publish) -> TensorBlock:
    """Returns the block of a row, at its own widths, with the tiers, exit gates and decoder of the campaign."""
    stack = decode_rows(plan.graph, [row])
    made = plan.benchmark.preparation
    decoder = made.decoder if made is not None else None
    return TensorBlock.from_stack(stack, 0, tiers=work.tiers or None, gates=plan.gates, decoder=decoder)


@dataclass(frozen=True)
class StoreShelf:
    """The shelf of a home: its block store."""

    plan: Plan
    store: BlockStore
    packs: Packs = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "packs", self.store.packs())

    def keep_rows(self, rows: Sequence[bytes]) -> None:
        """Stores row bytes: a few as objects, whose CID carries the weights digest, many as a pack."""
        if len(rows) < LEAST_ROWS:
            self.store.put_many(rows)
        else:
            self.packs.put(rows)

    def publish(self, row: bytes, work: Publish) -> tuple[str, int]:
        """Stores the row and its block; returns the block's id and the bytes of its tensors."""
        self.keep_rows([row])
        block = block_of_row(self.plan, row, work)
        return self.store.put(block), sum(tensor.numel() * tensor.element_size() for tensor in block.tensors.values())

    def stored_row(self, digest: bytes) -> bytes | None:
        """Returns the bytes of a kept row by its weights digest, or None."""
        return kept_row(self.store, self.packs, digest)


@dataclass
class MemoryShelf:
    """A shelf that holds the champion's block in memory: for campaigns without a home."""

    plan: Plan
    block: TensorBlock | None = None

    def keep_rows(self, rows: Sequence[bytes]) -> None:
        """Keeps nothing: without a home there is nothing to go back to."""

    def publish(self, row: bytes, work: Publish) -> tuple[str, int]:
        """Holds the row's block; returns its id and the bytes of its tensors."""
        self.block = block_of_row(self.plan, row, work)
        return self.block.id, sum(tensor.numel() * tensor.element_size() for tensor in self.block.tensors.values())
