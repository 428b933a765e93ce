"""Do modules come in as blocks, and out again as PyTorch and ONNX, computing the same?

    python -m experiments.exchange.study            all modules of zoo.py
    python -m experiments.exchange.study --smoke    two of them; writes nothing

Writes ``results.json`` and ``plot.png`` beside this file.
"""

from __future__ import annotations

import argparse
import inspect
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from evolve.models.export import BATCHES, export_block
from experiments.exchange.zoo import CASES, Case
from experiments.record import write_record
from population.blocks.block import TensorBlock
from population.pytorch import NUM_INPUTS, seeded_inputs
from population.stacks.interpreters import run_block

HERE = Path(__file__).parent
BOUND = 1e-5
WAYS = {"in": "block against module", "torch": "PyTorch file against block", "onnx": "ONNX against block"}


def difference_in(module: nn.Module, block: TensorBlock) -> tuple[float, float]:
    """The largest difference between a module and its block on seeded inputs, and the largest output, at least 1."""
    inputs = seeded_inputs(block.graph)
    names = [name for name in inspect.signature(module.forward).parameters if name in inputs]
    with torch.no_grad():
        wanted = tree_leaves(module(*(inputs[name] for name in names)))
        found = run_block(block, inputs)
    assert [value.shape for value in found.values()] == [value.shape for value in wanted]
    largest = max(float((one - other).abs().max()) for one, other in zip(found.values(), wanted, strict=True))
    return largest, max(1.0, *(float(value.abs().max()) for value in wanted))


def study(case: Case) -> dict[str, Any]:
    """What was measured of one module."""
    module, example = case.make(torch.Generator().manual_seed(7))
    began = time.process_time()
    block = TensorBlock.from_torch(module, example)
    seconds = time.process_time() - began
    found = {}
    found["in"], scale = difference_in(module, block)
    sizes = {}
    for kind in ("torch", "onnx"):
        made = export_block(block, kind, "copy")
        found[kind] = made.largest_difference
        sizes[kind] = sum(len(content) for content in made.files.values())
    return {
        "module": case.name, "scale": scale, "differences": found, "bytes": sizes,
        "nodes": len(block.graph.nodes), "import_cpu_s": seconds,
        "parameters": sum(tensor.numel() for tensor in block.tensors.values()), "symbols": dict(block.graph.symbols),
    }  # fmt: skip


def draw(results: list[dict[str, Any]]) -> None:
    mpl.use("agg")
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for way, label in WAYS.items():
        values = [max(row["differences"][way] / row["scale"], 1e-9) for row in results]
        axes.scatter(values, range(len(results)), label=label, marker={"in": "o", "torch": "s", "onnx": "x"}[way])
    axes.axvline(BOUND, color="0.5", linestyle="--", label="bound")
    axes.set(
        xscale="log",
        xlabel="largest difference over the largest output or 1 (1e-9: none)",
        yticks=range(len(results)),
    )
    axes.set_yticklabels([row["module"] for row in results])
    axes.invert_yaxis()
    axes.legend(fontsize=8)
    figure.savefig(HERE / "plot.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true")
    is_smoke = parser.parse_args().smoke
    results = []
    for case in CASES[:2] if is_smoke else CASES:
        results.append(study(case))
        row = results[-1]
        told = " ".join(f"{way} {value:.1e}" for way, value in row["differences"].items())
        print(
            f"{row['module']:26} {row['nodes']:3} nodes {row['parameters']:6} numbers  {told} of {row['scale']:.3g}",
            flush=True,
        )
        assert max(row["differences"].values()) < BOUND * row["scale"]
    if not is_smoke:
        write_record(HERE / "results.json", {"inputs": NUM_INPUTS, "batches": list(BATCHES), "seed": 7}, results)
        draw(results)


if __name__ == "__main__":
    main()
