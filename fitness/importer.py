"""Importers: a user's PyTorch module becomes a block in a jail of its own, which hands back plain data that is checked here.

The user's code, its weights and the exporter that runs it never touch this process; what comes back is a manifest with its
leaves, read as a stranger's is, and what the module itself gave on seeded inputs.

Nouns: *source* (the files that a module is written in), *imported* (the block, and how near it is to its module).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Final

import numpy as np
import torch

from fitness import wire
from fitness.cell import Cell
from fitness.jail.probe import Report, report_of
from fitness.limits import Failure, Limits
from fitness.sheet import has_plugins
from population.block import TensorBlock
from population.cbor import MAX_BYTES, decode
from population.errors import FormatError, InputError
from population.exchange import seeded_inputs
from population.interpret import run_block

PROCESS: Final = "fitness.importer_process"
LIMITS: Final = Limits(cpu_s=300, wall_s=600.0, memory_bytes=4 << 30)
#: How large a block may come back; memory that is not touched takes no space.
MAX_ANSWER_BYTES: Final = 1 << 30
_MAX_INDEX_BYTES: Final = 2 * MAX_BYTES
WEIGHTS: Final = (".safetensors", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Source:
    """What a module is made of.

    Attributes:
        files: name and content; the first holds the module, others may be imported by it.
        name: the class or function that makes it, called without arguments; none: the only module that the file has.
        weights: name and content of a safetensors file, or of one of ``torch.save`` that holds tensors only.
        inputs: (name, shape of one sample, dtype); none: what the file's ``example()`` gives.
        outputs: names for the output channels. with_modules: installed packages to import before any wall stands.
    """

    files: Sequence[tuple[str, bytes]]
    name: str | None = None
    weights: tuple[str, bytes] | None = None
    inputs: Sequence[tuple[str, tuple[int, ...], str]] = ()
    outputs: Sequence[str] = ()
    with_modules: Sequence[str] = ()


@dataclass(frozen=True)
class Imported:
    """A block that came in.

    Attributes:
        module: what its class is called. largest_difference: between block and module on ``num_inputs`` seeded inputs,
            where the largest output is ``scale``.
    """

    block: TensorBlock
    module: str
    largest_difference: float
    scale: float
    num_inputs: int
    parameters: int = field(default=0)


class Importer:
    """Imports modules in a jail. One thread at a time; whoever makes it closes it.

    Args:
        without: layers of the jail not to put up, as on a machine that lacks them.
    """

    def __init__(
        self, *, with_modules: Sequence[str] = (), limits: Limits = LIMITS, without: Sequence[str] = ()
    ) -> None:
        self._cell = Cell(PROCESS, {"modules": list(with_modules)}, limits, without=without)

    @property
    def report(self) -> Report:
        """What the module's code can reach on this machine, found by attacking from within.

        Raises: EvaluatorFailed where no jail can be had, or a module of ``with_modules`` cannot be imported.
        """
        return report_of(self._cell.zygote().call(wire.Message("probe", {})).fields)

    def run(self, source: Source) -> Imported:
        """Returns the block of a module.

        Raises:
            InputError: the code failed, or used too much; the module cannot become a block, and why, all of it.
            EvaluatorFailed: no jail can be had.
        """
        parts = [content for _, content in source.files]
        parts += [source.weights[1]] if source.weights else []
        fields = {
            "files": [[name, len(content)] for name, content in source.files],
            "weights": [source.weights[0], len(source.weights[1])] if source.weights else None,
            "name": source.name,
            "inputs": [[name, list(shape), dtype] for name, shape, dtype in source.inputs],
            "outputs": list(source.outputs),
        }
        answer = self._cell.ask_once("import", fields, parts, MAX_ANSWER_BYTES // 2, "imported")
        where = source.files[0][0]
        if isinstance(answer, Failure):
            raise InputError(f"{where}: its code failed in the jail ({answer.cause}): {answer.detail}")
        size = answer.fields.get("bytes")
        assert self._cell.child is not None
        taken = self._cell.child.taken
        if not isinstance(size, int) or not 8 <= size <= taken.size:
            raise _strange(where, self._cell)
        data = bytes(taken.memory[:size])  # copied before any of it is looked at
        self._cell.end_child()
        try:
            return _read(data, where)
        except FormatError as error:
            raise InputError(f"{where}: what came back from the jail is not in order: {error}") from error

    def close(self) -> None:
        """Ends the jail; closing twice changes nothing."""
        self._cell.abandon()


def is_weights(name: str) -> bool:
    """Whether a file's name is that of weights."""
    return PurePath(name).suffix in WEIGHTS


def _strange(where: str, cell: Cell) -> InputError:
    return InputError(f"{where}: {cell.refuse().detail}")


def _read(data: bytes, where: str) -> Imported:
    """What came back, checked. Raises: FormatError; InputError with what the jailed process says of the module."""
    size = int.from_bytes(data[:8], "little")
    index = decode(data[8 : 8 + size], max_bytes=_MAX_INDEX_BYTES)
    if not isinstance(index, dict):
        raise FormatError("expected a map")
    refused = index.get("refused")
    if isinstance(refused, str):
        raise InputError(f"{where}: {''.join(c if c.isprintable() or c == chr(10) else ' ' for c in refused)[:20_000]}")
    leaves, position = {}, 8 + size
    for cid, length in _pairs(index.get("leaves"), str):
        leaves[cid] = data[position : position + length]
        position += length
    block = TensorBlock.from_manifest(index.get("manifest"), lambda cid: _leaf(leaves, cid))
    if has_plugins(block.graph):
        raise FormatError("it names an operation of another package, which no module becomes")
    answers = _answers(index.get("answers"), data[position:])
    difference, scale = _difference(block, answers, index.get("samples"))
    total = sum(tensor.numel() for tensor in block.tensors.values())
    return Imported(block, str(index.get("module"))[:80], difference, scale, int(index.get("samples") or 0), total)


def _pairs(value: Any, kind: type) -> list[tuple[Any, int]]:
    if not isinstance(value, list):
        raise FormatError("expected a list")
    for item in value:
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], kind) or type(item[1]) is not int:
            raise FormatError("expected pairs of a name and a size")
        if item[1] < 0:
            raise FormatError("a size is negative")
    return [(item[0], item[1]) for item in value]


def _leaf(leaves: Mapping[str, bytes], cid: str) -> bytes:
    if cid not in leaves:
        raise FormatError(f"a leaf is missing: {cid[:80]}")
    return leaves[cid]


def _answers(value: Any, data: bytes) -> dict[str, torch.Tensor]:
    found, position = {}, 0
    for item in value if isinstance(value, list) else []:
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[1], list):
            raise FormatError("expected channels with shapes")
        shape = tuple(size if type(size) is int and size >= 0 else -1 for size in item[1])
        count = math.prod(shape)
        if min(shape, default=0) < 0 or position + 4 * count > len(data):
            raise FormatError("an output has an impossible shape")
        array = np.frombuffer(data, dtype="<f4", count=count, offset=position).reshape(shape)
        found[str(item[0])] = torch.from_numpy(array.copy())
        position += 4 * count
    return found


def _difference(block: TensorBlock, answers: Mapping[str, torch.Tensor], samples: Any) -> tuple[float, float]:
    """How far the block lies from what its module is said to have given, and the largest number that it gave."""
    if not answers:
        return 0.0, 0.0
    if type(samples) is not int or not 1 <= samples <= 10_000:
        raise FormatError("an impossible number of samples")
    with torch.no_grad():
        found = run_block(block, seeded_inputs(block.graph, samples))
    if {name: value.shape for name, value in found.items()} != {name: value.shape for name, value in answers.items()}:
        raise FormatError("the outputs have other shapes than the block's")
    largest = max(float((found[name] - value).abs().max()) for name, value in answers.items())
    return largest, max(float(value.abs().max()) for value in answers.values())
