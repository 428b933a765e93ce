"""Code of another package that notes where it runs: outside a jail each piece of it leaves a file, inside it cannot.

It also looks for held-out labels in its process, once, and raises where it finds them: in a jail that is the candidate's
verdict, elsewhere the file is there besides. What it knows the labels by are digests, so that it holds none itself.

An operation ``witness`` (the hyperbolic tangent) and an operator ``witness_flip``; ``note`` serves functions and modules.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

from evolve.operators import Making, Operator, Settings
from evolve.operators import register as register_operator
from population.operations import Call, Inferred, Operation, register
from population.operations.dimensions import Shape
from population.operations.registry import Attributes, Sizes
from population.stacks.stack import Stack

HERE = Path(__file__).resolve().parent
TRACES = HERE / "traces"
#: size in bytes -> digest, of held-out labels and of the whole column that they lie in.
KNOWN: dict[int, str] = {int(size): digest for size, digest in json.loads((HERE / "known.json").read_text()).items()}
KINDS = (bytes, np.ndarray, torch.Tensor)
_noted: set[str] = set()


def note(what: str, *, may_see_labels: bool = False) -> None:
    """Leaves a trace where nothing hinders it; once a process. Raises: RuntimeError where held-out labels are in reach."""
    if what in _noted:
        return
    _noted.add(what)
    try:
        with open(TRACES / f"{what}-{os.getpid()}", "w") as file:
            file.write(" ".join(sys.argv) + "\n" + "".join(traceback.format_stack()))
    except OSError:
        pass
    if not may_see_labels and labels_in_reach():
        raise RuntimeError(f"{what} finds held-out labels")


def labels_in_reach() -> bool:
    """Whether an object of this process holds the held-out labels, or all labels."""
    gc.unfreeze()  # what a zygote set aside
    tracked = gc.get_objects()
    reached = (
        *tracked,
        *gc.get_referents(*tracked),
    )  # arrays and bytes are not tracked: they are what objects refer to
    return any(_holds_labels(one) for one in reached if type(one) in KINDS)


def _holds_labels(one: object) -> bool:
    if type(one) is torch.Tensor and one.dtype == torch.int64 and one.layout == torch.strided:
        one = one.numpy()
    if type(one) is np.ndarray and one.dtype == np.int64 and one.nbytes in KNOWN:
        one = one.tobytes()
    return type(one) is bytes and len(one) in KNOWN and blake2b(one).hexdigest() == KNOWN[len(one)]


def infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    return Inferred(inputs[0])


def flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    return 1


def run(call: Call) -> torch.Tensor:
    note("operation")
    return torch.tanh(call.inputs[0])


class FlipSettings(Settings):
    """There is nothing to set."""


def apply(making: Making, settings: FlipSettings) -> Stack:
    note("operator")
    (parent,) = making.parents
    return parent.replace(tensors={name: -tensor for name, tensor in parent.tensors.items()})


witness = register(Operation("witness", infer, flops, run, run, keeps_zero=True))
flip = register_operator(
    Operator("witness_flip", 1, 1, FlipSettings, apply, lambda flops, parameters, settings: 1, draws=False)
)
