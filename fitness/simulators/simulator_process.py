"""The zygote of environments: it imports a simulator's factory; a child makes the simulator and steps it.

Run as ``python -m``. It knows no candidate.
"""

from __future__ import annotations

import importlib
import mmap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fitness.processes import messages
from fitness.processes.verdicts import WrongOutput
from fitness.processes.zygote_server import CannotStart, Role, import_named, serve

#: What numpy imports when it is first used: behind the walls nothing can be imported.
LATE = ("numpy.char", "numpy.fft", "numpy.linalg", "numpy.ma", "numpy.polynomial", "numpy.random", "numpy.rec")
AFTER_STEP = ("observations", "rewards", "terminated", "truncated")


def prepare(start: messages.Message) -> Role:
    """Returns the role of environments; the factory is imported here and called in the child."""
    factory = _factory(start.fields["factory"], start.fields["arguments"])
    observation, action = start.fields["observation"], start.fields["action"]
    for name in LATE:
        importlib.import_module(name)
    made: list[Any] = []

    def answer(message: messages.Message, given: mmap.mmap, taken: mmap.mmap) -> messages.Message:
        if not made:
            made.append(factory())
        if message.kind == "describe":
            return messages.Message("described", made[0].describe())
        lanes: int = message.fields["lanes"]
        offsets = message.fields["offsets"]
        shapes = {"observations": ([lanes, *observation], "<f4")}
        if message.kind == "reset":
            seeds, variants = (_given(given, "<i8", [lanes], offset) for offset in offsets)
            return _write([made[0].reset(seeds, variants)], shapes, taken)
        found = made[0].step(_given(given, "<f4", [lanes, *action], *offsets))
        if not isinstance(found, tuple | list) or len(found) != len(AFTER_STEP):
            raise WrongOutput(f"step must return {', '.join(AFTER_STEP)}")
        shapes |= {"rewards": ([lanes], "<f4"), "terminated": ([lanes], "|u1"), "truncated": ([lanes], "|u1")}
        return _write(found, shapes, taken)

    return Role(answer)


def _factory(path: str, arguments: Mapping[str, Any] | None) -> Callable[[], Any]:
    """Returns the function that makes a simulator. Raises: CannotStart."""
    found = import_named(path)
    if arguments is None:
        return found
    try:
        made: Callable[[], Any] = found(**arguments)
    except Exception as error:
        raise CannotStart(f"{path}: {type(error).__name__}: {error}") from error
    return made


def _given(memory: mmap.mmap, dtype: str, shape: Sequence[int], offset: int) -> npt.NDArray[Any]:
    """Returns a copy of an array that lies in memory."""
    return np.frombuffer(memory, dtype=dtype, count=int(np.prod(shape)), offset=offset).reshape(shape).copy()


def _write(found: Sequence[Any], shapes: Mapping[str, tuple[list[int], str]], taken: mmap.mmap) -> messages.Message:
    """Writes the arrays one after the other. Raises: WrongOutput where one has another shape."""
    position = 0
    for value, (name, (shape, dtype)) in zip(found, shapes.items(), strict=True):
        array: npt.NDArray[Any] = np.asarray(value)
        if list(array.shape) != shape:
            raise WrongOutput(f"{name} must have shape {shape}, got {list(array.shape)}")
        if (array.dtype.kind == "b") != (dtype == "|u1") or array.dtype.kind not in "bfiu":
            raise WrongOutput(f"{name} must hold {'booleans' if dtype == '|u1' else 'numbers'}, got {array.dtype}")
        into = np.frombuffer(taken, dtype=dtype, count=array.size, offset=position).reshape(shape)
        into[...] = array
        position += into.nbytes
    return messages.Message("arrays", {"bytes": position})


if __name__ == "__main__":
    serve(prepare)
