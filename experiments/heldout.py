"""Held-out scores of a block for studies: a look that no promotion rests on.

Nouns: none of its own.
"""

from __future__ import annotations

import numpy as np
import torch

from fitness.benchmarks.benchmark import Benchmark
from fitness.measures.metrics import ClassAnswers
from population.blocks.block import TensorBlock
from population.stacks.interpreters import run_block


def heldout_accuracy(block: TensorBlock, benchmark: Benchmark) -> dict[str, float]:
    """Returns accuracy on held-out rows by tier (the whole block as "ultimate" where it has no tiers)."""
    inputs = {
        name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in benchmark.inputs_of("heldout").items()
    }
    targets = benchmark.targets_of("heldout")[0]
    found = {}
    for tier in block.tiers or ("ultimate",):
        channel = benchmark.channels_of([name for name, _ in block.graph.outputs])[0]
        logits = run_block(block, inputs, tier=tier)[channel]  # [N, K]
        found[tier] = float(ClassAnswers(logits.T[None].numpy(), targets).measure("accuracy")[0])
    return found
