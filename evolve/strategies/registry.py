"""The registry of strategies: configs name them by kind.

Adding one is a file with one ``register`` call, here or in a package that names it under the entry-point group
``evolve.strategies``. Nouns: *kind* (a strategy's name in configs), *search* (kind, maker and options of a strategy).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evolve.operators import Settings
from evolve.strategies.protocol import Strategy
from population.registry import Registry

ENTRY_POINTS = "evolve.strategies"


@dataclass(frozen=True)
class Search:
    """One kind of strategy: how it is made of its options, their model, and the dataclasses that its states consist of.

    A campaign whose strategy names no ``states`` has no checkpoints: it is resumed by a replay from its first birth.
    """

    kind: str
    make: Callable[[Any], Strategy[Any]]
    options: type[Settings]
    states: tuple[type, ...] = ()


_searches: Registry[Search] = Registry("strategy", ENTRY_POINTS)


def register(search: Search) -> Search:
    """Adds a strategy under its kind. Raises ValueError where another one has that name."""
    return _searches.add(search.kind, search)


def get(kind: str) -> Search:
    """Returns the strategy of a kind. Raises NotFound with the nearest name; plugins are loaded before giving up."""
    return _searches.get(kind)


def kinds() -> tuple[str, ...]:
    """Returns the names of all registered strategies, sorted."""
    return _searches.names()
