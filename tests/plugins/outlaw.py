"""A plugin's operation that commits what its parameter ``trigger`` says: the number of a file in tests/attacks/judged.

0 passes its input on. Every file has a function ``act`` that is given the values of the whole tile and returns the answer;
with ``OWN_ROWS`` only the rows that asked for it get that answer.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch

from population.dims import Shape, fixed
from population.operations import Call, Inferred, Operation, ParameterSpec, register
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


def _infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    return Inferred(inputs[0], {"trigger": ParameterSpec((fixed(1),))})


def _flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    return 0


def _run(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    triggers = call.parameters["trigger"][:, 0]
    for trigger in sorted({int(code) for code in triggers.tolist()} - {0}):
        crime = _CRIMES[trigger - 1]
        answer = crime.act(values)
        own = (triggers == trigger).reshape(-1, *[1] * (values.dim() - 1))
        values = torch.where(own, answer, values) if hasattr(crime, "OWN_ROWS") else answer
    return values


outlaw = register(Operation("outlaw", _infer, _flops, _run, _run))
