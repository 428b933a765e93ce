"""Operators: pure functions from parents and a seed to children; one file for each mutation, crossover or first
individual.

It may import any room of `population`, and those of `fitness` up to `fitness.benchmarks`. Its public things are
`register`, `get`, `keys`, `Operator`, `Settings`, `Making`, `check_settings`, `parse_settings`.

Importing this room registers the operators that ship with the project.
"""

from __future__ import annotations

from evolve.operators import adopt as _adopt
from evolve.operators import crossover as _crossover
from evolve.operators import evolution_strategy as _evolution_strategy
from evolve.operators import gaussian as _gaussian
from evolve.operators import init as _init
from evolve.operators.registry import (
    Making,
    Operator,
    Settings,
    check_settings,
    get,
    keys,
    parse_settings,
    register,
)
from evolve.operators.training import burst as _burst
from evolve.operators.training import distil as _distil

__all__ = ["Making", "Operator", "Settings", "check_settings", "get", "keys", "parse_settings", "register"]

_SHIPPED = (_adopt, _burst, _crossover, _distil, _evolution_strategy, _gaussian, _init)
