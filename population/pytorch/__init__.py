"""PyTorch modules in and out: a module becomes a graph and tensors, a block becomes a module or plain source code.

It may import `population.errors`, `population.randomness`, `population.operations`, `population.graphs`,
`population.stacks` and `population.pytorch.translation`. Its public things are `translate`, `to_torch`, `source_of`,
`seeded_inputs`, `Translation`, `BlockModule`.
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
