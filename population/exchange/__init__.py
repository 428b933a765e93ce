"""PyTorch modules in and out: ``from_torch`` makes a block of a module, ``to_torch`` a module of a block.

Nouns: those of its modules; see `population.exchange.importing`.
"""

from __future__ import annotations

from population.exchange.importing import UnsupportedModule, from_torch
from population.exchange.module import BlockModule, to_torch
from population.exchange.samples import NUM_INPUTS, check_of, seeded_inputs
from population.exchange.source import exported, mark_of, source_of

__all__ = [
    "NUM_INPUTS",
    "BlockModule",
    "UnsupportedModule",
    "check_of",
    "exported",
    "from_torch",
    "mark_of",
    "seeded_inputs",
    "source_of",
    "to_torch",
]
