"""The reference runtime: runs a block on the inputs of a file, and says which block and tier answered, at what cost.

With tier "auto" every row begins at the narrowest tier and goes on to the next until an exit gate passes for it. A gate
with an intermediate output is asked first: a row that it lets go is answered by that output alone.

Nouns: *provenance* (which block, tier, nest and exit did the work, at what cost), *answers* (what each row was told, by
whom).

Shapes: N samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from population import operations
from population.blocks.block import TensorBlock
from population.clock import Clock
from population.graphs.exit_gates import ExitGate
from population.graphs.graph import OpGraph
from population.graphs.nodes import full_attributes
from population.inputs.decoder import Decoder
from population.lazy_torch import torch
from population.operations import dimensions as dims
from population.stacks.footprint import samples_at_once
from population.stacks.interpreters import plan_of, run_block
from population.stacks.threads import single_threaded
from population.stacks.tiers import TIERS

#: The most samples that are computed in one go, fewer where they are large: bounds memory, changes no result.
SAMPLES_AT_ONCE = 1024

Tensors = Mapping[str, "torch.Tensor"]


@dataclass
class Answers:
    """What N rows were told: outputs by channel (None where a row left before it), tier, exit and FLOPs of each row."""

    outputs: dict[str, list[Any]]
    tiers: list[str]
    exits: list[str | None]
    flops: list[int]

    @staticmethod
    def none_yet(channels: Sequence[str], num_rows: int) -> Answers:
        """Returns answers of which nothing is known yet."""
        outputs = {channel: [None] * num_rows for channel in channels}
        return Answers(outputs, [""] * num_rows, [None] * num_rows, [0] * num_rows)

    def settle(self, rows: Sequence[int], found: Tensors, tier: str, gate: ExitGate | None = None) -> None:
        """Writes down the outputs of these rows (``found``: one entry a row), the tier and the gate that ended it."""
        for channel, values in found.items():
            for row, value in zip(rows, values.tolist(), strict=True):
                self.outputs[channel][row] = value
        for row in rows:
            self.tiers[row], self.exits[row] = tier, _gate_text(gate) if gate else None


def answer_of(
    block: TensorBlock, cid: str, tier: str, inputs: Tensors, clock: Clock, run: BlockRunner = run_block
) -> dict[str, Any]:
    """Returns outputs and provenance of a block for inputs ``[N, *shape]``, at a tier or by its exit gates ("auto").

    Args:
        run: what answers for the block, see ``evolve.planning.foreign_code.running``.
    """
    began = clock.monotonic()
    num_rows = len(next(iter(inputs.values())))
    answers = Answers.none_yet([channel for channel, _ in block.graph.outputs], num_rows)
    with torch.no_grad(), single_threaded():
        at_once = samples_at_once(block.graph, SAMPLES_AT_ONCE)
        for rows in _pieces(range(num_rows), at_once):
            if tier == "auto":
                _climb(block, inputs, rows, answers, run)
            else:
                _count(answers, rows, block.flops(tier))
                answers.settle(rows, run(block, _take(inputs, rows), tier), tier)
    outputs = {channel: values for channel, values in answers.outputs.items() if any(v is not None for v in values)}
    told = {} if block.decoder is None else {"answers": _words(block.decoder, outputs)}
    return {"outputs": outputs, **told, "provenance": _provenance(answers, cid, tier, clock.monotonic() - began)}


def _words(decoder: Decoder, outputs: Mapping[str, list[Any]]) -> dict[str, dict[str, list[Any]]]:
    """Returns what the outputs say about the target columns; None for a row that left by another output."""
    found: dict[str, dict[str, list[Any]]] = {}
    for answer in decoder.answers:
        values = outputs.get(answer.channel, [])
        rows = [row for row, value in enumerate(values) if value is not None]
        if rows:
            words = answer.words(np.array([values[row] for row in rows]))
            blank: dict[str, list[Any]] = {name: [None] * len(values) for name in words}
            for name, told in words.items():
                for row, word in zip(rows, told, strict=True):
                    blank[name][row] = word
            found[answer.column] = blank
    return found


def _climb(block: TensorBlock, inputs: Tensors, rows: Sequence[int], answers: Answers, run: BlockRunner) -> None:
    """Answers these rows tier by tier, each row until one of the block's exit gates passes for it."""
    waiting = list(rows)
    for tier in block.tier_names:
        gates = [gate for gate in block.gates if gate.tier in (None, tier)]
        for gate in gates:
            if gate.output is not None and waiting:
                waiting = _leave_midway(block, inputs, waiting, answers, tier, gate, run)
        if not waiting:
            return
        _count(answers, waiting, block.flops(tier))
        found = run(block, _take(inputs, waiting), tier)
        is_last = tier == block.tier_names[-1]
        for gate in [] if is_last else [gate for gate in gates if gate.output is None]:
            passed = gate.passes(found)
            answers.settle(_chosen(waiting, passed), _picked(found, passed), tier, gate)
            waiting, found = _chosen(waiting, ~passed), _picked(found, ~passed)
        if is_last:
            answers.settle(waiting, found, tier)


def _leave_midway(
    block: TensorBlock,
    inputs: Tensors,
    waiting: list[int],
    answers: Answers,
    tier: str,
    gate: ExitGate,
    run: BlockRunner,
) -> list[int]:
    """Lets rows go by an intermediate output, computing no more than it needs; returns the rows that stay."""
    assert gate.output is not None
    wanted = tuple(dict.fromkeys((gate.output, *gate.channels)))
    found = run(block, _take(inputs, waiting), tier, wanted)
    passed = gate.passes(found)
    leaving = _chosen(waiting, passed)
    _count(answers, leaving, _flops_of(block.graph_of(tier), wanted))
    answers.settle(leaving, {gate.output: found[gate.output][passed]}, tier, gate)
    return _chosen(waiting, ~passed)


def _flops_of(graph: OpGraph, channels: tuple[str, ...]) -> int:
    """Returns the counted FLOPs a sample of the part of a graph that these output channels need."""
    shapes = {name: dims.sizes(shape, graph.symbols) for name, shape in graph.value_shapes.items()}
    return sum(
        operations.get(node.op).flops([shapes[name] for name in node.inputs], shapes[node.name], full_attributes(node))
        for node, _ in plan_of(graph, channels)
    )


def _count(answers: Answers, rows: Sequence[int], flops: int) -> None:
    for row in rows:
        answers.flops[row] += flops


def _pieces(rows: Sequence[int], at_once: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), at_once):
        yield list(rows[start : start + at_once])


def _take(inputs: Tensors, rows: Sequence[int]) -> dict[str, torch.Tensor]:
    return {channel: values[list(rows)] for channel, values in inputs.items()}


def _chosen(rows: Sequence[int], passed: torch.Tensor) -> list[int]:
    return [row for row, is_in in zip(rows, passed.tolist(), strict=True) if is_in]


def _picked(found: Tensors, passed: torch.Tensor) -> dict[str, torch.Tensor]:
    return {channel: values[passed] for channel, values in found.items()}


def _gate_text(gate: ExitGate) -> str:
    """Returns a gate's condition as it is written; it is the only name that a gate has."""
    when = gate.to_value()["when"]
    return when if isinstance(when, str) else json.dumps(when)


def _provenance(answers: Answers, cid: str, asked: str, seconds: float) -> dict[str, Any]:
    """Returns who did the work: of rows that went different ways the highest tier, the mean cost, and each row's own."""
    tier = max(answers.tiers, key=TIERS.index)
    exits = set(answers.exits)
    found: dict[str, Any] = {
        "block": cid,
        "tier": tier,
        "nest": TIERS.index(tier),
        "exit": exits.pop() if len(exits) == 1 else None,
        "delegated_to": None,
        "flops": round(sum(answers.flops) / len(answers.flops)),
        "seconds": seconds,
    }
    if asked == "auto":
        found["rows"] = {"tier": answers.tiers, "exit": answers.exits, "flops": answers.flops}
    return found


class BlockRunner(Protocol):
    """Answers for a block."""

    def __call__(
        self, block: TensorBlock, inputs: Tensors, tier: str = ..., outputs: Sequence[str] | None = ...
    ) -> dict[str, torch.Tensor]:
        """Returns the wanted output channels of a block at a tier. Raises: InputError."""
