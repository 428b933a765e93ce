"""The zygote of makers: it holds the training rows; each child makes one candidate's row. Run as ``python -m``."""

from __future__ import annotations

import mmap

import torch
from blake3 import blake3

from fitness.benchmarks.from_parts import task_from_parts
from fitness.processes import messages
from fitness.processes.verdicts import WrongOutput
from fitness.processes.warm_up import warm
from fitness.processes.zygote_server import Role, import_all, import_named, serve
from fitness.work.codec import unit_from_parts
from fitness.work.task import Task
from fitness.work.work_unit import Materialise
from population.stacks.row_format import encode_rows
from population.stacks.threads import single_threaded


def prepare(start: messages.Message) -> Role:
    """Returns the role of makers; plugins and the function that makes are imported here."""
    torch.set_num_threads(1)
    import_all(start.fields["plugins"])
    materialise: Materialise = import_named(start.fields["materialise"])
    training = task_from_parts(start.fields["benchmark"], [bytes(blob) for blob in start.blobs])
    warm()

    def answer(message: messages.Message, given: mmap.mmap, taken: mmap.mmap) -> messages.Message:
        return _make(message, materialise, training, given, taken)

    return Role(answer)


def _make(
    message: messages.Message, materialise: Materialise, training: Task, given: mmap.mmap, taken: mmap.mmap
) -> messages.Message:
    fields = message.fields
    parts = [given[start : start + size] for start, size in zip(fields["offsets"], fields["sizes"], strict=True)]
    unit = unit_from_parts(fields["unit"], parts[:1])
    objects = dict(zip(fields["objects"], parts[1:], strict=True))
    with single_threaded():
        stack = materialise(unit, objects.__getitem__, training)
    if stack.num_rows != 1:
        raise WrongOutput(f"materialise made {stack.num_rows} rows for 1 candidate")
    (data,) = encode_rows(stack)
    if len(data) > len(taken):
        raise WrongOutput(f"a row of {len(data)} bytes is too large")
    taken[: len(data)] = data
    return messages.Message("row", {"bytes": len(data), "digest": blake3(data).digest()})


if __name__ == "__main__":
    serve(prepare)
