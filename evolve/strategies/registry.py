"""The registry of strategies: configs name them by kind.

Adding one is a file with one ``register`` call, here or in a package that names it under the entry-point group
``evolve.strategies``. Nouns: *kind* (a strategy's name in configs), *search* (kind, maker and options of a strategy).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

from evolve.operators import Settings
from evolve.strategies.protocol import Strategy
from population.errors import NotFound

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


_searches: dict[str, Search] = {}


def register(search: Search) -> Search:
    """Adds a strategy under its kind. Raises ValueError where another one has that name."""
    if _searches.get(search.kind, search) is not search:
        raise ValueError(f"strategy {search.kind!r} is registered twice: give the new one another name")
    _searches[search.kind] = search
    return search


def get(kind: str) -> Search:
    """Returns the strategy of a kind. Raises NotFound with the nearest name; plugins are loaded before giving up."""
    if kind not in _searches:
        _load_plugins()
    if kind not in _searches:
        near = difflib.get_close_matches(kind, _searches, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise NotFound(f"no strategy is called {kind!r}.{hint} Known: {', '.join(sorted(_searches))}")
    return _searches[kind]


def kinds() -> tuple[str, ...]:
    """Returns the names of all registered strategies, sorted."""
    return tuple(sorted(_searches))


@cache
def _load_plugins() -> None:
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        entry.load()
