"""Search strategies: pure ask/tell over recipes. Importing this package registers the ones that ship with the project."""

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
