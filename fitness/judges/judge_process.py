"""The zygote of judges: it warms torch and holds inputs; its children run tiles, or play. Run as ``python -m``.

It never sees a label.
"""

from __future__ import annotations

import math
import mmap
import os
import socket
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from fitness.judges.policies import Policies
from fitness.judges.tiles import Samples, Tile, forward_pieces
from fitness.processes import messages
from fitness.processes.shared_memory import map_shared
from fitness.processes.warm_up import warm
from fitness.processes.zygote_server import Role, descriptors, import_all, serve


def prepare(start: messages.Message) -> Role:
    """Returns the role of judges; plugins are imported here."""
    torch.set_num_threads(1)
    import_all(start.fields["plugins"])
    warm()
    samples: dict[int, Samples] = {}

    def hold(message: messages.Message, control: socket.socket) -> messages.Message:
        (descriptor,) = descriptors(control, 1)
        memory = map_shared(descriptor, message.fields["size"], is_writable=False)
        os.close(descriptor)
        arrays = {
            name: _array(memory, dtype, shape, offset) for name, dtype, shape, offset in message.fields["channels"]
        }
        samples[message.fields["number"]] = Samples(arrays)
        return messages.Message("held", {})

    playing: list[Policies] = []

    def answer(message: messages.Message, given: mmap.mmap, taken: mmap.mmap) -> messages.Message:
        if message.kind == "act":
            return _act(message, playing[0], given, taken)
        playing.clear()
        if message.kind == "play":
            playing.append(Policies(Tile.from_memory(message.fields, given), message.fields["channel"]))
            return messages.Message("playing", {})
        return _run(message, samples, given, taken)

    return Role(answer, {"inputs": hold})


def _run(
    message: messages.Message, samples: Mapping[int, Samples], given: mmap.mmap, taken: mmap.mmap
) -> messages.Message:
    tile, inputs = Tile.from_memory(message.fields, given), samples[message.fields["inputs"]]
    into, position = [], 0
    for shape in tile.output_shapes(inputs.num_rows):
        into.append(np.frombuffer(taken, dtype="<f4", count=math.prod(shape), offset=position).reshape(shape))
        position += into[-1].nbytes
    for first, outputs in forward_pieces(tile, inputs):  # piece by piece, so that none is held twice
        for array, piece in zip(into, outputs, strict=True):
            array[first : first + len(piece)] = piece
    return messages.Message("outputs", {"bytes": position})


def _act(message: messages.Message, policies: Policies, given: mmap.mmap, taken: mmap.mmap) -> messages.Message:
    answers = policies.act(_array(given, "<f4", message.fields["shape"], *message.fields["offsets"]).copy())
    np.frombuffer(taken, dtype="<f4", count=answers.size)[:] = answers.reshape(-1)
    return messages.Message("acted", {"bytes": answers.nbytes})


def _array(memory: mmap.mmap, dtype: str, shape: list[int], offset: int) -> np.ndarray[Any, Any]:
    count = int(np.prod(shape))
    return np.frombuffer(memory, dtype=np.dtype(dtype), count=count, offset=offset).reshape(shape)


if __name__ == "__main__":
    serve(prepare)
