"""A block as others may run it: a folder that checks itself, and MLflow's loader for it, without pickle.

``mlflow.pyfunc.load_model("models:/digits@production").predict(x)`` ends in ``_load_pyfunc`` below; population is all that
it needs to compute, unless the block holds operations of another package: those run in a jail here too.

    block          the block's id        manifest.cbor    its manifest
    leaves/        one file a leaf, named by its content id

Nouns: *export* (such a folder).

Shapes: N samples.
"""

from __future__ import annotations

import math
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from population.blocks.block import TensorBlock
from population.encoding.cbor import decode, encode
from population.encoding.cid import Codec, cid_of, parse_cid
from population.errors import FormatError, InputError, StoreCorrupt
from population.graphs.graph import Channel
from population.inputs.cells import cells_of
from population.operations import get
from population.stacks.footprint import samples_at_once
from population.stacks.interpreters import run_block

ID_FILE, MANIFEST_FILE, LEAVES_FOLDER = "block", "manifest.cbor", "leaves"
MAX_MANIFEST_BYTES = 64 << 20
#: The most samples that are computed in one go, fewer where they are large: bounds memory, changes no result.
SAMPLES_AT_ONCE = 1024
#: What a machine needs to load an export, besides this project.
REQUIRED = ("blake3", "dag-cbor", "mlflow", "multiformats", "numpy", "torch")

Array = npt.NDArray[Any]


def export_block(block: TensorBlock, folder: Path) -> str:
    """Writes a block's export and returns the block's id; a folder that holds this block already is left as it is."""
    value, leaves = block.manifest()
    manifest = encode(value)
    name = cid_of(manifest, "dag-cbor")
    if (folder / ID_FILE).exists():
        with suppress(FormatError, StoreCorrupt):  # somebody touched it: written anew
            load_block(folder)
            if (folder / ID_FILE).read_text(encoding="ascii").strip() == name:
                return name
    (folder / LEAVES_FOLDER).mkdir(parents=True, exist_ok=True)
    for leaf, data in leaves.items():
        (folder / LEAVES_FOLDER / leaf).write_bytes(data)
    (folder / MANIFEST_FILE).write_bytes(manifest)
    (folder / ID_FILE).write_text(name + "\n", encoding="ascii")  # last: with it the export is whole
    return name


def load_block(folder: Path) -> TensorBlock:
    """Returns the block of an export, every byte of it checked against its content id.

    Raises:
        FormatError: the folder is not an export. StoreCorrupt: a file is missing or not what was written.
    """
    if not (folder / ID_FILE).is_file():
        raise FormatError(f"{folder}: not an export of a block: it has no file {ID_FILE!r}; export the block anew")
    name = (folder / ID_FILE).read_text(encoding="ascii", errors="replace").strip()
    manifest = _verified(folder / MANIFEST_FILE, name)

    def read_leaf(leaf: str) -> bytes:
        return _verified(folder / LEAVES_FOLDER / leaf, leaf)

    return TensorBlock.from_manifest(decode(manifest, max_bytes=MAX_MANIFEST_BYTES), read_leaf)


def _verified(path: Path, name: str) -> bytes:
    codec: Codec = parse_cid(name)[0]
    if not path.is_file():
        raise StoreCorrupt(f"{path}: missing; export the block anew")
    data = path.read_bytes()
    if cid_of(data, codec) != name:
        raise StoreCorrupt(f"{path}: its bytes are not those that {name} names; export the block anew")
    return data


def save_pyfunc(export: Path, folder: Path) -> str:
    """Writes the MLflow model of an export to a new folder and returns the block's id.

    The signature names outputs and the parameter ``tier``; inputs stand in the model's metadata, since a signature could
    allow one of their layouts only (``BlockModel.predict`` takes several and checks them itself).
    """
    from mlflow import pyfunc
    from mlflow.models import Model

    block, name = load_block(export), (export / ID_FILE).read_text(encoding="ascii").strip()
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


def _load_pyfunc(path: str) -> BlockModel:
    """Returns the model of an export; MLflow calls this by its name."""
    return BlockModel(load_block(Path(path)))


class BlockModel:
    """A block behind MLflow's ``predict``."""

    def __init__(self, block: TensorBlock) -> None:
        self._block = block

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
        with torch.no_grad(), _running(self._block) as run:
            pieces = [run(self._block, piece, tier=tier) for piece in _pieces(self._block, inputs)]
        outputs = {name: np.concatenate([piece[name].numpy() for piece in pieces]) for name in pieces[0]}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))


def _running(block: TensorBlock) -> AbstractContextManager[Any]:
    """Returns what runs the block, as a context; only operations of other packages need more of this project for it."""
    if not any(get(node.op).is_plugin for node in block.graph.schedule):
        return nullcontext(run_block)
    from evolve.planning.foreign_code import running

    return running(block)


def inputs_of(block: TensorBlock, data: Any) -> dict[str, torch.Tensor]:
    """Returns channel -> tensor ``[N, *shape]`` of what a block is given: arrays, or raw rows of a table for its decoder.

    Raw rows are columns by name (a mapping, a data frame), unless the names are those of the channels.

    Raises:
        InputError: a column or channel is missing, or holds what cannot be read; it is named.
    """
    graph, names = block.graph, {channel.name for channel in block.graph.inputs}
    has_columns = isinstance(data, Mapping) or hasattr(data, "columns")
    if block.decoder is None or not has_columns or set(map(str, data)) == names:
        return channels_of(graph.inputs, data, graph.channels_with_gaps)
    wanted = {column.name for column in block.decoder.columns}
    decoded = block.decoder.decode({str(key): cells_of(data[key], str(key)) for key in data if str(key) in wanted})
    if not all(len(array) for array in decoded.values()):
        raise InputError("there are no rows")
    return channels_of(graph.inputs, {name: decoded[name] for name in names}, graph.channels_with_gaps)


def channels_of(channels: Sequence[Channel], data: Any, gaps: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """Returns channel -> tensor ``[N, *shape]`` for an array, a data frame or a dict of arrays.

    Args:
        gaps: channels in which NaN stands for a missing number.

    Raises:
        InputError: a channel is missing or unknown, or has another shape or dtype; it is named.
    """
    names = [channel.name for channel in channels]
    if not isinstance(data, Mapping):
        if len(channels) != 1:
            raise InputError(
                f"this block has {len(names)} inputs: give a dict from channel to array, of {', '.join(names)}"
            )
        data = {names[0]: data}
    if set(data) != set(names):
        raise InputError(f"expected the input channels {', '.join(names)}, got {', '.join(map(str, data)) or 'none'}")
    tensors = {channel.name: _tensor(channel, data[channel.name], channel.name in gaps) for channel in channels}
    rows = {name: len(tensor) for name, tensor in tensors.items()}
    if len(set(rows.values())) > 1:
        raise InputError(f"input channels must have the same number of rows, got {rows}")
    return tensors


def _tensor(channel: Channel, data: Any, may_miss: bool = False) -> torch.Tensor:
    array = np.asarray(data.to_numpy() if hasattr(data, "to_numpy") else data)
    shape = tuple(channel.shape)
    features = math.prod(shape)
    if array.ndim == 2 and array.shape[1] == features:
        array = array.reshape(-1, *shape)
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape or not len(array):
        wanted = ", ".join(["N", *map(str, shape)])
        raise InputError(
            f"input channel {channel.name!r}: expected shape [{wanted}] or [N, {features}] with N > 0, "
            f"got {list(array.shape)}"
        )
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"input channel {channel.name!r}: expected numbers for {channel.dtype}, got dtype {array.dtype}"
        )
    wanted_type = np.dtype(channel.dtype)
    with np.errstate(over="ignore"):
        converted = array.astype(wanted_type)
    good = np.isfinite(converted)
    if may_miss and array.dtype.kind == "f":
        good |= np.isnan(array)
    bad = ~good
    if wanted_type.kind == "f" and bad.any():
        row = int(np.flatnonzero(bad.reshape(len(converted), -1).any(axis=1))[0])
        raise InputError(
            f"input channel {channel.name!r}: row {row} holds NaN, infinity or a number beyond {channel.dtype}; drop it"
        )
    if wanted_type.kind in "iu" and not np.array_equal(converted, array):
        raise InputError(
            f"input channel {channel.name!r}: expected {channel.dtype}, got {array.dtype} with other values"
        )
    return torch.from_numpy(np.ascontiguousarray(converted))


def _pieces(block: TensorBlock, inputs: Mapping[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    count, at_once = len(next(iter(inputs.values()))), samples_at_once(block.graph, SAMPLES_AT_ONCE)
    for start in range(0, count, at_once):
        yield {name: tensor[start : start + at_once] for name, tensor in inputs.items()}
