"""A plugin's operation that commits what its parameter ``trigger`` says: the number of a file in tests/attacks/judged.

0 passes its input on. A mark at the end of what the judge's parent shares with the process says which crime has begun, and
whether it came back. Every file has a function ``act`` that is given the values of the whole tile and returns the answer;
with ``OWN_ROWS`` only the rows that asked for it get that answer.
"""

from __future__ import annotations

import importlib.util
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch

from population.operations import Call, Inferred, Operation, ParameterSpec, register
from population.operations.dimensions import Shape, fixed
from population.operations.registry import Attributes, Sizes


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tests.attacks.judged.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


#: All are loaded when the plugin is, since inside nothing can be read; by name, in the order of their numbers from 1.
CRIMES: dict[str, ModuleType] = {
    path.stem: _load(path) for path in sorted((Path(__file__).parents[1] / "attacks" / "judged").glob("*.py"))
}
_CRIMES = tuple(CRIMES.values())


def number_of(crime: str) -> float:
    """The trigger of a crime."""
    return float(1 + list(CRIMES).index(crime))


#: Where a crime's mark lies: its number, and 1 once it came back.
MARK = struct.Struct("<II")


def mark_of(shared: bytes) -> tuple[str, bool] | None:
    """Returns which crime has begun, by what the process shares with its parent, and whether it came back."""
    number, has_ended = MARK.unpack(shared[-MARK.size :])
    return (list(CRIMES)[number - 1], bool(has_ended)) if number else None


def _mark(number: int, *, has_ended: bool) -> None:
    """Leaves a mark in the memory that the callers up the stack answer in, where there is such memory."""
    frame = sys._getframe()
    while frame is not None and "taken" not in frame.f_locals:
        frame = frame.f_back
    if frame is not None:
        frame.f_locals["taken"][-MARK.size :] = MARK.pack(number, has_ended)


def _infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    return Inferred(inputs[0], {"trigger": ParameterSpec((fixed(1),))})


def _flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    return 0


def _run(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    triggers = call.parameters["trigger"][:, 0]
    for trigger in sorted({int(code) for code in triggers.tolist()} - {0}):
        crime = _CRIMES[trigger - 1]
        _mark(trigger, has_ended=False)
        try:
            answer = crime.act(values)
        finally:
            _mark(trigger, has_ended=True)
        own = (triggers == trigger).reshape(-1, *[1] * (values.dim() - 1))
        values = torch.where(own, answer, values) if hasattr(crime, "OWN_ROWS") else answer
    return values


outlaw = register(Operation("outlaw", _infer, _flops, _run, _run))
