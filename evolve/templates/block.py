"""A block of a graph with first weights.

Nouns: none beyond those of `population.blocks.block`.
"""

from __future__ import annotations

from evolve import operators
from evolve.operators.registry import Making
from population.blocks.block import TensorBlock
from population.graphs.graph import OpGraph


def block_of(graph: OpGraph, seed: int) -> TensorBlock:
    """A block at the graph's widest widths, its weights drawn as a campaign draws those of its first individuals.

    Randomness: Philox words of ``seed``; the same bits on every machine.
    """
    init = operators.get("init@1")
    stack = init.apply(Making(graph, (), [seed]), init.settings())
    return TensorBlock.from_stack(stack, 0)
