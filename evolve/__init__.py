"""How it changes: recipes, operators, strategies, campaigns, promotion.

The names below are the library's front door; each is imported when it is first asked for, so that ``import evolve`` and
the command line stay light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from evolve.home.home import Home

__all__ = ["ArraySearch", "Benchmark", "CampaignConfig", "TensorBlock", "load_config", "open", "run"]

_HOMES = {
    "ArraySearch": "evolve.array_search",
    "Benchmark": "fitness.benchmarks.benchmark",
    "CampaignConfig": "evolve.config.campaign",
    "TensorBlock": "population.blocks.block",
    "load_config": "evolve.config.campaign",
    "run": "evolve.library",
}


def open(path: str | os.PathLike[str] | None = None) -> Home:  # noqa: A001 - as in `gzip.open`, always called with its package
    """Returns the home at a path, or the nearest one upwards from here.

    Raises:
        NotFound: there is none. NewerHome: a newer version of the program wrote it.
    """
    from pathlib import Path

    from evolve.home.home import Home

    return Home.open(Home.find(Path.cwd(), Path(path) if path is not None else None))


def __getattr__(name: str) -> Any:
    """Returns a public name, importing its module at the first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'evolve' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
