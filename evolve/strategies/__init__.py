"""Search strategies: pure ask and tell over recipes, one file for each kind, with selection and operator credit beside
them.

It may import any room of `population`, `evolve.operators` and `evolve.recipes`. Its public things are `register`,
`get`, `kinds`, `Strategy`, `Problem`, `Judged`, `Outcome`, `Batch`, `Recipe`, `Search`.

Importing this room registers the strategies that ship with the project.
"""

from __future__ import annotations

from evolve.recipes.batch import Batch
from evolve.recipes.recipe import Recipe
from evolve.strategies import genetic as _genetic
from evolve.strategies import openai_es as _evolution
from evolve.strategies import steady_state as _steady
from evolve.strategies.protocol import Judged, Outcome, Problem, Strategy
from evolve.strategies.registry import Search, get, kinds, register

__all__ = ["Batch", "Judged", "Outcome", "Problem", "Recipe", "Search", "Strategy", "get", "kinds", "register"]

_SHIPPED = (_evolution, _genetic, _steady)
