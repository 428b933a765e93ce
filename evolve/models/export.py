"""Exports: a block, or one tier of it, as files that others load; run against the block on seeded inputs first.

Nouns: *export* (files by name, and what was measured of them), *format* (``onnx``, ``safetensors``, ``torch``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors.torch
import torch

from evolve.models.plain_files import block_bytes, block_of, decoder_facts, run_source
from evolve.planning.foreign_code import foreign_operations, running
from evolve.runtime.answer import BlockRunner
from fitness.processes.isolation import FULL
from population.blocks.block import TensorBlock
from population.errors import ExportDiffers, InputError
from population.operations import dimensions as dims
from population.pytorch import NUM_INPUTS, check_of, exported, seeded_inputs, source_of, to_torch
from population.stacks.threads import single_threaded
from population.stacks.tiers import WIDEST

FORMATS: Final = ("onnx", "safetensors", "torch")
ENDINGS: Final = {"onnx": ".onnx", "safetensors": ".safetensors", "torch": ".py"}
#: How far a copy may lie from its block, in units of the block's largest output (at least 1).
TOLERANCE: Final = 1e-5
#: So many samples at once are tried, each from the same inputs; fewer where samples are large.
BATCHES: Final = (1, 7, NUM_INPUTS)
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Export:
    """What was exported.

    Attributes:
        files: content by name. largest_difference: from the block, on seeded inputs in batches of ``batches``; without any
            where a single sample takes more memory or time than checking may. outputs: shape of one sample by channel.
    """

    files: Mapping[str, bytes]
    largest_difference: float
    batches: tuple[int, ...]
    outputs: Mapping[str, tuple[int, ...]]


def export_block(
    block: TensorBlock, kind: str, name: str, tier: str | None = None, title: str = "", accept_level: str = FULL
) -> Export:
    """A block in another format, checked.

    Args:
        kind: one of FORMATS. name: of the files, without ending; they refer to each other by it.
        tier: that tier alone; None: the whole block, which is its widest tier where the format has no tiers.
        title: what the file says of itself. accept_level: the least isolation that operations of other packages may run at.

    Raises:
        InputError: no such format or tier, or no files can be made of this block, also since it holds an operation of
            another package. ExportDiffers: the copy does not compute what the block computes.
    """
    if kind not in FORMATS:
        raise InputError(f"--format {kind!r}: choose from {', '.join(FORMATS)}")
    if kind != "safetensors" and (foreign := foreign_operations(block.graph)):
        raise InputError(
            f"--format {kind}: operation {foreign[0].key!r} is code of another package, which torch.export would run "
            "outside any jail: use --format safetensors"
        )
    chosen = block if tier is None else TensorBlock(block.graph_of(tier), block.tensors_of(tier), decoder=block.decoder)
    check = check_of(chosen.graph)
    inputs = seeded_inputs(chosen.graph, check.at_once) if check.num_inputs else {}
    with torch.no_grad(), single_threaded(), running(chosen, accept_level) as run:
        wanted = run(chosen, inputs) if inputs else {}
        makers: Mapping[str, Callable[..., tuple[dict[str, bytes], float]]] = {
            "onnx": _onnx, "safetensors": _safetensors, "torch": _torch
        }  # fmt: skip
        files, difference = makers[kind](chosen, inputs, wanted, name, title, run)
    batches = _batches(inputs)[-1:] if kind == "safetensors" else _batches(inputs)
    scale = max((1.0, *(float(value.abs().max()) for value in wanted.values())))
    if not difference <= TOLERANCE * scale:
        raise ExportDiffers(
            f"the {kind} copy differs from the block by {difference:.3g} on {max(batches):,} seeded inputs, where at most "
            f"{TOLERANCE * scale:.0e} is allowed: nothing was written; please report the block"
        )
    shapes = {channel: chosen.graph.value_shapes[node] for channel, node in chosen.graph.outputs}
    sizes = {channel: dims.sizes(shape, chosen.graph.symbols) for channel, shape in shapes.items()}
    return Export(files, difference, batches, sizes)


def _safetensors(
    block: TensorBlock, inputs: Tensors, wanted: Tensors, name: str, title: str, run: BlockRunner
) -> tuple[dict[str, bytes], float]:
    data = block_bytes(block)
    copy = block_of(data)
    return {f"{name}.safetensors": data}, _largest(run(copy, inputs), wanted) if inputs else 0.0


def _onnx(
    block: TensorBlock, inputs: Tensors, wanted: Tensors, name: str, title: str, run: BlockRunner
) -> tuple[dict[str, bytes], float]:
    from evolve.models.onnx_files import onnx_of, run_onnx

    program = _program(block)
    facts = {"title": title, "block": block.id, **decoder_facts(block)}
    data = onnx_of(program, *_channels(block), facts)

    def run_copy(given: Tensors) -> dict[str, torch.Tensor]:
        found = run_onnx(data, {channel: value.numpy() for channel, value in given.items()})
        return {channel: torch.from_numpy(np.asarray(value)) for channel, value in found.items()}

    return {f"{name}.onnx": data}, _largest_of_batches(run_copy, inputs, wanted)


def _torch(
    block: TensorBlock, inputs: Tensors, wanted: Tensors, name: str, title: str, run: BlockRunner
) -> tuple[dict[str, bytes], float]:
    program = _program(block)

    def save(tensors: Tensors) -> bytes:
        plain = {key: value.contiguous().clone() for key, value in tensors.items()}
        return bytes(safetensors.torch.save(plain, decoder_facts(block)))

    text, weights = source_of(program, *_channels(block), name, title, save)
    files = {f"{name}.py": text.encode(), f"{name}.safetensors": weights}
    with tempfile.TemporaryDirectory(prefix="evolve-export-") as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        source = Path(folder) / f"{name}.py"
        difference = _largest_of_batches(lambda given: run_source(source, given, tuple(wanted)), inputs, wanted)
    return files, difference


def _program(block: TensorBlock) -> torch.export.ExportedProgram:
    return exported(to_torch(block, WIDEST), seeded_inputs(block.graph, 2))


def _channels(block: TensorBlock) -> tuple[list[str], list[str]]:
    """The names of inputs and outputs, in the order of the block's module."""
    return sorted(channel.name for channel in block.graph.inputs), [channel for channel, _ in block.graph.outputs]


def _batches(inputs: Tensors) -> tuple[int, ...]:
    count = len(next(iter(inputs.values()), ()))
    return tuple(sorted({min(size, count) for size in BATCHES} - {0}))


def _largest_of_batches(run: Callable[[Tensors], Tensors], inputs: Tensors, wanted: Tensors) -> float:
    """The largest difference over all batches; the first samples of the inputs in each."""
    differences = []
    for size in _batches(inputs):
        found = run({channel: value[:size] for channel, value in inputs.items()})
        differences.append(_largest(found, {channel: value[:size] for channel, value in wanted.items()}))
    return max(differences, default=0.0)


def _largest(found: Tensors, wanted: Tensors) -> float:
    """The largest difference. Raises: ExportDiffers where a channel is missing or has another shape."""
    for channel, value in wanted.items():
        if channel not in found or found[channel].shape != value.shape:
            shape: Any = list(found[channel].shape) if channel in found else "nothing"
            raise ExportDiffers(f"output {channel!r} of the copy is {shape}, the block gives {list(value.shape)}")
    return max(float((found[channel] - value).abs().max()) for channel, value in wanted.items())
