"""A block as a model of MLflow, without pickle.

``mlflow.pyfunc.load_model("models:/digits@production").predict(x)`` ends in ``evolve.serving._load_pyfunc``.

Shapes: N samples.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evolve.runtime.answer import BlockRunner
from evolve.runtime.bundle import ID_FILE, read_export
from evolve.runtime.channels import inputs_of
from population.blocks.block import TensorBlock
from population.errors import InputError
from population.lazy_torch import torch
from population.operations import get
from population.stacks.footprint import samples_at_once
from population.stacks.interpreters import run_block

#: The most samples that are computed in one go, fewer where they are large: bounds memory, changes no result.
SAMPLES_AT_ONCE = 1024
#: What a machine needs to load an export, besides this project.
REQUIRED = ("blake3", "cbor2", "mlflow", "numpy", "torch")

Array = npt.NDArray[Any]


def save_pyfunc(export: Path, folder: Path) -> str:
    """Writes the MLflow model of an export to a new folder and returns the block's id.

    The signature names outputs and the parameter ``tier``; inputs stand in the model's metadata, since a signature could
    allow one of their layouts only (``BlockModel.predict`` takes several and checks them itself).
    """
    from mlflow import pyfunc
    from mlflow.models import Model

    block, name = read_export(export), (export / ID_FILE).read_text(encoding="ascii").strip()
    shutil.copytree(export, folder / "data")
    inputs = {channel.name: {"dtype": channel.dtype, "shape": list(channel.shape)} for channel in block.graph.inputs}
    described = {"block_id": name, "inputs": inputs, "tiers": list(block.tier_names)}
    model = Model(signature=_signature(block), metadata=described)
    environment = {"python_env": "python_env.yaml"}
    pyfunc.add_to_model(model, loader_module="evolve.serving", data="data", **environment)
    (folder / "requirements.txt").write_text("\n".join(_requirements()) + "\n", encoding="ascii")
    python = f"python: {platform.python_version()}\nbuild_dependencies: [pip]\ndependencies: [-r requirements.txt]\n"
    (folder / "python_env.yaml").write_text(python, encoding="ascii")
    model.save(str(folder / "MLmodel"))
    return name


def _signature(block: TensorBlock) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    graph = block.graph
    names = [name for name, _ in graph.outputs]
    shapes = [(-1, *_fixed_shape(block, node)) for _, node in graph.outputs]
    float32 = np.dtype(np.float32)
    if len(names) == 1:
        outputs = Schema([TensorSpec(float32, shapes[0])])
    else:
        outputs = Schema([TensorSpec(float32, shape, name) for name, shape in zip(names, shapes, strict=True)])
    tier = ParamSpec("tier", DataType.string, block.tier_names[-1])
    return ModelSignature(outputs=outputs, params=ParamSchema([tier]))


def _fixed_shape(block: TensorBlock, node: str) -> tuple[int, ...]:
    """Returns an output's shape without samples; an axis that differs between tiers is -1."""
    dims = block.graph.value_shapes[node]
    fixed = [all(symbol is None for symbol, _ in dim) for dim in dims]
    return tuple(sum(f for _, f in dim) if is_fixed else -1 for dim, is_fixed in zip(dims, fixed, strict=True))


def _requirements() -> list[str]:
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in REQUIRED]


class BlockModel:
    """A block behind MLflow's ``predict``.

    Args:
        running: gives what runs the block, as a context: where None, this process, and blocks of our own operations only.
    """

    def __init__(
        self, block: TensorBlock, running: Callable[[TensorBlock], AbstractContextManager[BlockRunner]] | None = None
    ) -> None:
        self._block, self._running = block, running or _in_this_process

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Array | dict[str, Array]:
        """Returns the block's outputs as they leave it (for a classifier the class scores, logits, of each row).

        Args:
            model_input: of a block with a decoder, a data frame with the table's raw columns; else an array ``[N, *shape]``
                or ``[N, features]`` (the shape flattened), or a pandas data frame with a column a feature, where the block
                has one input; a dict from channel to such an array in any case.
            params: ``{"tier": "lite"}`` chooses a tier; the highest by default.

        Returns:
            float32 ``[N, *shape of the output]``; a dict from channel to such arrays where the block has several outputs.

        Raises:
            InputError: a channel is missing or unknown, or has another shape or dtype; it is named. Or the block holds an
                operation of another package, which fails in its jail, or this machine's jail is not whole.
        """
        tier = str((params or {}).get("tier", self._block.tier_names[-1]))
        if tier not in self._block.tier_names:
            raise InputError(f"tier {tier!r}: this block has {', '.join(self._block.tier_names)}")
        inputs = inputs_of(self._block, model_input)
        with torch.no_grad(), self._running(self._block) as run:
            pieces = [run(self._block, piece, tier=tier) for piece in _pieces(self._block, inputs)]
        outputs = {name: np.concatenate([piece[name].numpy() for piece in pieces]) for name in pieces[0]}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))


def _in_this_process(block: TensorBlock) -> AbstractContextManager[BlockRunner]:
    """Returns what runs a block of our own operations. Raises InputError for others: they run in a jail only."""
    foreign = sorted({node.op for node in block.graph.schedule if get(node.op).is_plugin})
    if foreign:
        raise InputError(f"operation {foreign[0]!r} is code of another package: load the block with `evolve.serving`")
    return nullcontext(run_block)


def _pieces(block: TensorBlock, inputs: Mapping[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    count, at_once = len(next(iter(inputs.values()))), samples_at_once(block.graph, SAMPLES_AT_ONCE)
    for start in range(0, count, at_once):
        yield {name: tensor[start : start + at_once] for name, tensor in inputs.items()}
