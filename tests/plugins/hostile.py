"""A plugin's operation that does what its parameter ``trigger`` says, row by row: the abuse cases of the sandbox.

0: nothing. 1: NaN in that row. 2: abort. 3: spins for ever. 4: allocates without end. 5: a wild pointer. 6: another shape.
7: fills its memory, then sleeps. 8: raises. 9: sleeps. 10: exits. 11: kills itself. 12: writes a file.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence

import torch

from population.operations import Call, Inferred, Operation, ParameterSpec, register
from population.operations.dimensions import Shape, fixed
from population.operations.registry import Attributes, Sizes

HELD: list[torch.Tensor] = []
NAN_ROW, WRONG_SHAPE = 1, 6


def _infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    return Inferred(inputs[0], {"trigger": ParameterSpec((fixed(1),))})


def _flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    return 0


def _run(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    triggers = call.parameters["trigger"][:, 0]
    for trigger in sorted({int(code) for code in triggers.tolist()}):
        _misbehave(trigger)
    if WRONG_SHAPE in triggers:
        return torch.cat([values, values], dim=1)
    bad = (triggers == NAN_ROW).reshape(-1, *[1] * (values.dim() - 1))
    return torch.where(bad, torch.tensor(float("nan")), values)


def _misbehave(trigger: int) -> None:
    if trigger == 2:
        os.abort()
    elif trigger == 3:
        while True:
            pass
    elif trigger == 4:
        while True:
            HELD.append(torch.ones(1 << 22))
    elif trigger == 5:
        ctypes.string_at(1)
    elif trigger == 7:
        HELD.append(torch.ones(80 << 20))
        time.sleep(3600)
    elif trigger == 8:
        raise RuntimeError("this operation raises")
    elif trigger == 9:
        time.sleep(3600)
    elif trigger == 10:
        sys.exit(3)
    elif trigger == 11:
        os.kill(os.getpid(), signal.SIGTERM)
    elif trigger == 12:
        with tempfile.TemporaryFile() as file:
            file.write(b"a candidate was here")


hostile = register(Operation("hostile", _infer, _flops, _run, _run))
