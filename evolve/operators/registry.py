"""The registry of operators: what an operator promises, and how one is found and applied.

An operator is a pure function from stacks of parents to a stack of children. Adding one is a file with one ``register``
call, here or in a package that names it under the entry-point group ``evolve.operators``.

Nouns: *operator*, *settings model* (its hyperparameters, typed and checked).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fitness.benchmarks.benchmark import Benchmark
from population.errors import ConfigError
from population.graphs.graph import OpGraph
from population.registry import Registry
from population.stacks.stack import Stack

ENTRY_POINTS = "evolve.operators"


class Settings(BaseModel):
    """The base of every settings model: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Making:
    """What an operator is given beside its settings. Shapes: P children.

    Attributes:
        graph: the species of the children.
        parents: one stack per parent position, each with P rows: row i of ``parents[0]`` is child i's first parent.
        seeds: one 64-bit seed per child.
        benchmark: the training rows, for operators that read them.
        inputs: per child, the other bytes its recipe names (recorded score vectors), in the recipe's order.
    """

    graph: OpGraph
    parents: tuple[Stack, ...]
    seeds: Sequence[int]
    benchmark: Benchmark | None = None
    inputs: tuple[bytes, ...] = ()

    @property
    def num_children(self) -> int:
        """How many rows are asked for."""
        return len(self.seeds)


@dataclass(frozen=True)
class Operator:
    """One way to make children.

    Obligations of ``apply``: a pure function; row i of the result depends on row i of its arguments alone, to the bit,
    whatever the number of rows; parents are never modified; dead entries of narrower rows stay zero.

    Attributes:
        name, version: ``"gaussian"``, 1. A change of any bit of any child is a new version.
        num_parents: how many parent positions it takes.
        settings: the model of its hyperparameters.
        apply: ``(making, settings) -> Stack`` with one row per seed.
        reads_training: whether it learns from training rows (with labels).
        is_portable: whether its bits are the same on every machine.
        cost: FLOPs to make one child, counted: ``(flops per sample, parameters, settings) -> FLOPs``.
        measures_parent: whether its settings need the parent's entropies recorded first.
        draws: whether it draws random numbers; where it does not, its seed is 0 and equal recipes may meet again.
    """

    name: str
    version: int
    num_parents: int
    settings: type[Settings]
    apply: Callable[[Making, Any], Stack]
    cost: Callable[[int, int, Any], int]
    reads_training: bool = False
    is_portable: bool = True
    measures_parent: bool = False
    draws: bool = True

    @property
    def key(self) -> str:
        """The name with its version, as recipes carry it."""
        return f"{self.name}@{self.version}"

    @property
    def is_plugin(self) -> bool:
        """Whether it comes from another package."""
        return not getattr(self.apply, "__module__", "").startswith("evolve.operators.")


_operators: Registry[Operator] = Registry("operator", ENTRY_POINTS, is_versioned=True, hint="; did you mean {!r}?")


def register(operator: Operator) -> Operator:
    """Adds an operator under ``name@version``. Raises ValueError where another one has that key."""
    return _operators.add(operator.key, operator)


def get(key: str) -> Operator:
    """Returns the operator of a key, ``"gaussian@1"`` or ``"gaussian"`` (its newest version).

    Raises NotFound with the nearest name; plugins are loaded before giving up.
    """
    return _operators.get(key)


def keys() -> tuple[str, ...]:
    """Returns the keys of all registered operators, sorted."""
    return _operators.names()


def apply_checked(operator: Operator, making: Making, settings_text: str) -> Stack:
    """Applies an operator to a tile of recipes with equal settings. Raises ConfigError for unusable settings."""
    if len(making.parents) != operator.num_parents:
        raise ConfigError(f"{operator.key} takes {operator.num_parents} parents, got {len(making.parents)}")
    children = operator.apply(making, parse_settings(operator, settings_text))
    if children.num_rows != making.num_children:
        raise ValueError(f"{operator.key} made {children.num_rows} children of {making.num_children} recipes")
    return children


@lru_cache(maxsize=4096)
def parse_settings(operator: Operator, text: str) -> Settings:
    """Returns the typed settings of a recipe's canonical text."""
    return check_settings(operator, json.loads(text))


def check_settings(operator: Operator, values: Mapping[str, Any], where: str = "settings") -> Settings:
    """Returns typed settings with defaults filled in. Raises ConfigError that names the field and the remedy."""
    try:
        return operator.settings.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        known = ", ".join(operator.settings.model_fields) or "none"
        raise ConfigError(f"{where}: {operator.key}: {field}: {first['msg']}. Its settings: {known}") from error
