"""PyTorch modules in and out: ``translate`` says a module in operations, ``to_torch`` makes a module of a block.

Nouns: those of its modules; see `population.pytorch.from_torch`.
"""

from __future__ import annotations

from population.pytorch.check_inputs import NUM_INPUTS, check_of, seeded_inputs
from population.pytorch.from_torch import Translation, UnsupportedModule, translate
from population.pytorch.source_code import exported, mark_of, source_of
from population.pytorch.to_torch import BlockModule, to_torch

__all__ = [
    "NUM_INPUTS",
    "BlockModule",
    "Translation",
    "UnsupportedModule",
    "check_of",
    "exported",
    "mark_of",
    "seeded_inputs",
    "source_of",
    "to_torch",
    "translate",
]
