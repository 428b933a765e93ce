"""A user's fitness function as data: its source, what it is given, and the objectives that it measures.

It travels with a benchmark to whoever judges, and is run in a jail of its own (`fitness.judges.scorer`).

Nouns: *scoring* (a function with the names of what it returns).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from fitness.measures.metrics import Objective
from population.errors import BenchmarkError

Takes = Literal["outputs", "stack"]
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class Scoring:
    """A user's fitness function.

    Attributes:
        source: Python text that defines it. function: its name there.
        objectives: what it returns a number for.
        takes: "outputs": it is called as ``function(outputs, targets)`` for each candidate, with a float32 ``[K, R]`` and the
            targets' values, int64 ``[R]`` of classes or float32 ``[R, D]``; of several targets with two dictionaries by
            channel. "stack": it is called as ``function(stack)`` with candidates as a `population.stacks.stack.Stack` of P rows,
            sees no data, and returns ``[P]`` a name; a row's number must not depend on the other rows.
    """

    source: str
    function: str
    objectives: tuple[Objective, ...]
    takes: Takes = "outputs"

    @staticmethod
    def of(source: str, function: str, names: Mapping[str, str], takes: str = "outputs") -> Scoring:
        """Returns the scoring that returns numbers by these names, each "max" or "min".

        Raises:
            BenchmarkError: there is no name, one is no identifier, or a direction or ``takes`` is another word.
        """
        if not names:
            raise BenchmarkError("a fitness function returns at least one number: name it, e.g. names: {score: max}")
        for name, direction in names.items():
            if _NAME.fullmatch(name) is None or direction not in ("max", "min"):
                raise BenchmarkError(
                    f"fitness names: expected an identifier and max or min, got {str(name)[:80]!r}: {str(direction)[:40]!r}"
                )
        if takes not in ("outputs", "stack"):
            raise BenchmarkError(f"a fitness function takes outputs or stack, got {takes!r}")
        found = tuple(Objective(name, cast(Any, direction), "score") for name, direction in names.items())
        return Scoring(source, function, found, cast(Takes, takes))

    @property
    def names(self) -> tuple[str, ...]:
        """What it returns a number for."""
        return tuple(objective.name for objective in self.objectives)

    def to_value(self) -> dict[str, Any]:
        """Returns it as a plain value."""
        names = [[objective.name, objective.direction] for objective in self.objectives]
        return {"source": self.source, "function": self.function, "names": names, "takes": self.takes}

    @staticmethod
    def from_value(value: Mapping[str, Any]) -> Scoring:
        """Returns the scoring of ``to_value``."""
        return Scoring.of(value["source"], value["function"], dict(value["names"]), value["takes"])
