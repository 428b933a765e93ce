"""The zygote of scorers: it imports a user's function; its children apply it. Run as ``python -m``.

Torch is loaded only where the function takes stacks.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import math
import mmap
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from fitness.processes import messages
from fitness.processes.verdicts import WrongOutput
from fitness.processes.zygote_server import CannotStart, Role, import_named, serve

MODULE = "users_fitness_function"
TILES = "fitness.judges.tiles"


def prepare(start: messages.Message) -> Role:
    """Returns the role of scorers; the user's function is imported here."""
    fields = start.fields
    if fields["takes_stack"]:
        import torch

        from fitness.processes.warm_up import warm

        torch.set_num_threads(1)
        warm()
        importlib.import_module(TILES)  # behind the walls nothing can be imported
    function = _function_of(fields["function"], fields["source"])
    names = tuple(fields["names"])
    apply = _score_stack if fields["takes_stack"] else _score

    def answer(message: messages.Message, given: mmap.mmap, taken: mmap.mmap) -> messages.Message:
        numbers = apply(message.fields, function, names, given)
        np.frombuffer(taken, dtype="<f8", count=numbers.size)[:] = numbers.reshape(-1)
        return messages.Message("scores", {"count": int(numbers.size)})

    return Role(answer)


class _Text(importlib.abc.InspectLoader):
    """Loads a module from its text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get_source(self, fullname: str) -> str:
        return self._text


def _function_of(name: str, source: str) -> Callable[..., Any]:
    if source:
        spec = importlib.machinery.ModuleSpec(MODULE, _Text(source))
        module: ModuleType = importlib.util.module_from_spec(spec)
        sys.modules[MODULE] = module
        try:
            _Text(source).exec_module(module)
        except Exception as error:
            del sys.modules[MODULE]
            raise CannotStart(f"the fitness function's file: {type(error).__name__}: {error}") from error
        name = f"{MODULE}:{name}"
    return import_named(name)


def _score(
    fields: Mapping[str, Any], function: Callable[..., Any], names: Sequence[str], given: mmap.mmap
) -> npt.NDArray[np.float64]:
    headers = [*fields["outputs"], *fields["targets"]]
    arrays = [
        np.frombuffer(given, dtype=np.dtype(dtype), count=math.prod(shape), offset=offset).reshape(shape)
        for (dtype, shape), offset in zip(headers, fields["offsets"], strict=True)
    ]
    channels = fields["channels"]
    outputs, targets = arrays[: len(channels)], arrays[len(channels) :]
    if len(channels) == 1:
        found = function(outputs[0], targets[0])
    else:
        found = function(dict(zip(channels, outputs, strict=True)), dict(zip(channels, targets, strict=True)))
    return np.array([[float(value)] for value in _named(found, names)], dtype="<f8")


def _score_stack(
    fields: Mapping[str, Any], function: Callable[..., Any], names: Sequence[str], given: mmap.mmap
) -> npt.NDArray[np.float64]:
    from fitness.judges.tiles import Tile

    stack = Tile.from_memory({**fields["tile"], "offsets": fields["offsets"]}, given).rows
    found = function(stack)
    values = [found] if len(names) == 1 and not isinstance(found, dict) else _named(found, names)
    columns = [np.asarray(value, dtype="<f8") for value in values]  # tensors too
    for name, column in zip(names, columns, strict=True):
        if column.shape != (stack.num_rows,):
            raise WrongOutput(
                f"the scoring function must return [{stack.num_rows}] numbers for {name}, one a row, got {column.shape}"
            )
    return np.stack(columns)


def _named(found: Any, names: Sequence[str]) -> list[Any]:
    """What the function returned, by names in their order; a single number stands for its only name."""
    if not isinstance(found, dict) and len(names) == 1 and np.ndim(found) == 0 and not isinstance(found, str | bytes):
        return [found]
    if not isinstance(found, dict) or sorted(map(str, found)) != sorted(names):
        raise WrongOutput(f"the scoring function must return a dict with exactly {', '.join(names)}")
    return [found[name] for name in names]


if __name__ == "__main__":
    serve(prepare)
