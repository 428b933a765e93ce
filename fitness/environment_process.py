"""The zygote of environments: it imports a user's factory; a child makes the simulator and steps it. Run as ``python -m``."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fitness import wire
from fitness.verdict import WrongOutput
from fitness.zygote_service import Role, import_named, serve


def prepare(start: wire.Message) -> Role:
    """Returns the role of environments; the user's factory is imported here and called in the child."""
    factory = import_named(start.fields["factory"])
    lanes, observation, action = (start.fields[name] for name in ("num_lanes", "observation", "action"))
    shapes = {"observations": ([lanes, *observation], "<f4")}
    after_step = {**shapes, "rewards": ([lanes], "<f4"), "terminated": ([lanes], "|u1"), "truncated": ([lanes], "|u1")}
    made: list[Any] = []

    def answer(message: wire.Message, given: mmap.mmap, taken: mmap.mmap) -> wire.Message:
        (offset,) = message.fields["offsets"]
        if message.kind == "reset":
            if not made:
                made.append(factory())
            seeds = np.frombuffer(given, dtype="<i8", count=lanes, offset=offset).copy()
            return _write([made[0].reset(seeds)], shapes, taken)
        count = int(np.prod([lanes, *action]))
        actions = np.frombuffer(given, dtype="<f4", count=count, offset=offset).reshape(lanes, *action).copy()
        found = made[0].step(actions)
        if not isinstance(found, tuple | list) or len(found) != len(after_step):
            raise WrongOutput(f"step must return {', '.join(after_step)}")
        return _write(found, after_step, taken)

    return Role(answer)


def _write(found: Sequence[Any], shapes: Mapping[str, tuple[list[int], str]], taken: mmap.mmap) -> wire.Message:
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
    return wire.Message("arrays", {"bytes": position})


if __name__ == "__main__":
    serve(prepare)
