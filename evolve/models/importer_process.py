"""The zygote of importers: it warms ``torch.export``; its children run a user's module and hand it back as plain data.

Run as ``python -m``. What is imported late is imported before the walls stand: behind them no file has a name. The user's
files are modules in memory.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import io
import mmap
import struct
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Final

import safetensors.torch
import torch
from torch import nn

from fitness.processes import messages
from fitness.processes.warm_up import warm
from fitness.processes.zygote_server import Role, import_all, serve
from population.blocks.block import TensorBlock
from population.encoding.cbor import encode
from population.errors import EvolveError, InputError
from population.graphs.graph import OpGraph
from population.pytorch import check_of
from population.randomness import integers, normals
from population.stacks.dtypes import DTYPES

#: What people's files import most, besides torch.
_USUAL: Final = (
    "abc", "argparse", "collections.abc", "contextlib", "copy", "dataclasses", "datetime", "enum", "functools", "itertools",
    "json", "logging", "math", "operator", "os.path", "pathlib", "random", "re", "statistics", "string", "time", "typing",
    "typing_extensions", "warnings", "numpy.random", "torch.nn.functional", "torch.nn.init", "torch.nn.utils.parametrizations",
    "torch.optim", "torch.utils.data",
)  # fmt: skip

#: What torch and safetensors raise for bytes that are no weights, or do not fit.
_UNREADABLE: Final = (
    RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError, OSError, AssertionError,
    RecursionError, ImportError, struct.error, zipfile.BadZipFile, zlib.error, safetensors.SafetensorError,
)  # fmt: skip


def prepare(start: messages.Message) -> Role:
    """Returns the role of importers; packages that were asked for are imported here."""
    torch.set_num_threads(1)
    warm()
    import_all([*_USUAL, *start.fields["modules"]])
    _warm_export()
    return Role(_answer)


class _Small(nn.Module):
    """Something of everything that is looked up late when it is first exported."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.embed = nn.Embedding(4, 4)
        self.attention = nn.TransformerEncoderLayer(4, 2, 4, batch_first=True)
        self.gru = nn.GRU(4, 4, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, image: torch.Tensor, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """One of each."""
        states, _ = self.gru(self.attention(self.embed(tokens)))
        return {"classes": self.head(torch.cat([self.image(image), states.mean(1)], 1)).softmax(-1)}


def _warm_export() -> None:
    example = {"image": torch.zeros(3, 1, 5, 5), "tokens": torch.zeros(3, 3, dtype=torch.int64)}
    block = TensorBlock.from_torch(_Small(), example)
    _framed({"manifest": block.manifest()[0]})
    weights = safetensors.torch.save({"x": torch.zeros(1)})
    safetensors.torch.load(weights)
    saved = io.BytesIO()
    torch.save({"x": torch.zeros(1)}, saved)
    _load_saved(saved.getvalue())


def _answer(message: messages.Message, given: mmap.mmap, taken: mmap.mmap) -> messages.Message:
    fields = message.fields
    try:
        data = _import(fields, given)
    except EvolveError as error:
        data = _framed({"refused": str(error)})
    if len(data) > len(taken):
        data = _framed({"refused": f"the block has {len(data)} bytes, more than may come back: {len(taken)}"})
    taken[: len(data)] = data
    return messages.Message("imported", {"bytes": len(data)})


def _framed(index: Mapping[str, Any], *rest: bytes) -> bytes:
    encoded = encode(dict(index))
    return b"".join([len(encoded).to_bytes(8, "little"), encoded, *rest])


def _import(fields: Mapping[str, Any], given: mmap.mmap) -> bytes:
    offsets = iter(fields["offsets"])
    files = {name: given[(at := next(offsets)) : at + size] for name, size in fields["files"]}
    main = _run_files(files)
    module = _make(main, fields["name"])
    if fields["weights"]:
        name, size = fields["weights"]
        at = next(offsets)
        _give_weights(module, name, given[at : at + size])
    module.train(mode=False)
    example, names = _example(main, fields["inputs"], module)
    block = TensorBlock.from_torch(module, example, fields["outputs"] or None)
    answers = _answers_of(module, block)
    if sorted(names.values()) != [names[name] for name in sorted(names)]:
        answers = {}  # the parent draws inputs in alphabetical order of the new names
    block = _renamed(block, names)
    value, leaves = block.manifest()
    index = {
        "manifest": value,
        "leaves": [[cid, len(leaf)] for cid, leaf in leaves.items()],
        "module": type(module).__name__,
        "answers": [[name, list(array.shape)] for name, array in answers.items()],
    }
    return _framed(index, *leaves.values(), *(array.numpy().astype("<f4").tobytes() for array in answers.values()))


# ---- the user's files ------------------------------------------------------------------------------------------------


class _Memory(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds and loads the modules of some files by their names."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = {name.rpartition("/")[2].removesuffix(".py"): content for name, content in files.items()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if path is None and fullname in self._files:
            return importlib.util.spec_from_loader(fullname, self, origin=f"{fullname}.py")
        return None

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._files[fullname])


def _run_files(files: Mapping[str, bytes]) -> ModuleType:
    """The module of the first file. Raises: InputError for what it cannot import."""
    sys.meta_path.insert(0, _Memory(files))
    name = next(iter(files)).rpartition("/")[2].removesuffix(".py")
    sys.modules.pop(name, None)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"{error}: in the jail there are no files; name your own files too, and installed packages by --with"
        ) from error


def _make(main: ModuleType, name: str | None) -> nn.Module:
    """The module that a class or function of the file makes. Raises: InputError."""
    own = {
        key: value
        for key, value in vars(main).items()
        if inspect.isclass(value) and issubclass(value, nn.Module) and value.__module__ == main.__name__
    }
    if name is None and len(own) != 1:
        raise InputError(
            f"name the class or function that makes the module, as FILE:NAME; it has {', '.join(own) or 'none'}"
        )
    chosen = name or next(iter(own))
    if not callable(getattr(main, chosen, None)):
        raise InputError(f"there is no class or function {chosen!r} in it; modules: {', '.join(own) or 'none'}")
    made = getattr(main, chosen)() if not isinstance(getattr(main, chosen), nn.Module) else getattr(main, chosen)
    if not isinstance(made, nn.Module):
        raise InputError(f"{chosen} gives a {type(made).__name__}, not an nn.Module")
    return made


def _give_weights(module: nn.Module, name: str, data: bytes) -> None:
    """Raises: InputError where they cannot be read, or do not fit."""
    try:
        state = safetensors.torch.load(data) if name.endswith(".safetensors") else _load_saved(data)
        if not isinstance(state, Mapping):
            raise InputError(f"{name}: expected a state_dict, got a {type(state).__name__}")
        module.load_state_dict(state)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(f"{name}: {' '.join(str(error).split())[:600] or type(error).__name__}") from error


def _load_saved(data: bytes) -> Any:
    """What ``torch.save`` wrote, tensors and containers only; anything else is refused by torch. Raises: InputError."""
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)  # noqa: TID251 - behind the walls
    except torch.serialization.pickle.UnpicklingError as error:  # type: ignore[attr-defined]
        raise InputError(
            f"holds more than tensors, and is not read: save module.state_dict(): {error}"[:400]
        ) from error


def _example(main: ModuleType, inputs: Sequence[Any], module: nn.Module) -> tuple[Any, dict[str, str]]:
    """What the module is called with, and other names for its arguments: channels by place where none is called so.

    Raises: InputError.
    """
    if not inputs:
        if not callable(getattr(main, "example", None)):
            raise InputError("name its inputs, as --input image=1,8,8, or give the file a function example()")
        return main.example(), {}
    found = {}
    for stream, (name, shape, dtype) in enumerate(inputs):
        count = 4 * int(torch.Size(shape).numel())
        is_float = dtype.startswith(("float", "bfloat"))
        drawn = normals(0, stream, count).copy() if is_float else integers(0, stream, count, 2)
        found[name] = torch.from_numpy(drawn).reshape(4, *shape).to(DTYPES[dtype])
    arguments = list(inspect.signature(module.forward).parameters)
    if set(found) & set(arguments) or len(found) > len(arguments):
        return found, {}
    renamed = dict(zip(arguments, found, strict=False))
    return dict(zip(renamed, found.values(), strict=True)), renamed


def _renamed(block: TensorBlock, names: Mapping[str, str]) -> TensorBlock:
    """The block with other names for its input channels. Raises: InputError where a node is called so."""
    if not names:
        return block
    value = block.graph.to_value()
    value["inputs"] = {names[name]: channel for name, channel in value["inputs"].items()}
    own = {node["name"]: f"{node['name']}_" for node in value["nodes"] if node["name"] in value["inputs"]}
    for node in value["nodes"]:
        parameters = {
            role: node.get("parameters", {}).get(role, f"{node['name']}.{role}") for role in _roles(block, node)
        }
        node["name"] = own.get(node["name"], node["name"])
        node["inputs"] = [names.get(name, own.get(name, name)) for name in node["inputs"]]
        node["parameters"] = parameters
    value["outputs"] = [[channel, own.get(node, node)] for channel, node in value["outputs"]]
    return TensorBlock(OpGraph.from_value(value), block.tensors)


def _roles(block: TensorBlock, node: Mapping[str, Any]) -> list[str]:
    return next(list(one.parameters) for one in block.graph.nodes if one.name == node["name"])


def _answers_of(module: nn.Module, block: TensorBlock) -> dict[str, torch.Tensor]:
    """What the module itself gives on seeded inputs, by channel; nothing where its arguments have other names, or where the
    check would take too much."""
    own = {channel.name for channel in block.graph.inputs}
    names = [name for name in inspect.signature(module.forward).parameters if name in own]
    check = check_of(block.graph)
    if len(names) != len(own) or not check.num_inputs:
        return {}
    module, pieces = module.to(torch.float32), []
    for inputs in check.pieces(block.graph):
        with torch.no_grad():
            found = module(*(inputs[name] for name in names))
        flat = torch.utils._pytree.tree_leaves(found)  # noqa: SLF001 - as torch.export takes outputs apart
        pieces.append([value.detach().to(torch.float32) for value in flat])
    channels = [channel for channel, _ in block.graph.outputs]
    whole = (torch.cat(values) for values in zip(*pieces, strict=True))
    return {name: value.contiguous() for name, value in zip(channels, whole, strict=True)}


if __name__ == "__main__":
    serve(prepare)
