"""Where MLflow finds the loader of our models: every registered model carries this module's name for good.

Nothing but `population` and `evolve.runtime` takes part, unless the block holds operations of another package: those run in a
jail.
"""

from __future__ import annotations

from pathlib import Path

from evolve.runtime.bundle import read_export
from evolve.runtime.mlflow_model import BlockModel
from population.operations import get


def _load_pyfunc(path: str) -> BlockModel:
    """Returns the model of an export; MLflow calls this by its name."""
    block = read_export(Path(path))
    if not any(get(node.op).is_plugin for node in block.graph.schedule):
        return BlockModel(block)
    from evolve.planning.foreign_code import running

    return BlockModel(block, running)
