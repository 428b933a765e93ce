"""Code of other packages that a campaign runs, and the modules that hold it: processes that run it import them first.

A jail opens no files, so nothing can be found by entry point in it: what a campaign needs is known before.

Nouns: *plugin* (a module of another package that registers something).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

from evolve import operators
from evolve.config import CampaignConfig
from evolve.operators.registry import ENTRY_POINTS as OPERATORS
from population.errors import ConfigError
from population.graph import OpGraph
from population.operations import get as get_operation
from population.operations.registry import ENTRY_POINTS as OPERATIONS


def modules_of(config: CampaignConfig, graph: OpGraph) -> tuple[str, ...]:
    """Returns the modules to import before the campaign's candidates are made and judged: those that the config names, and
    those that registered the operations of its graph and the operators of its portfolio.

    Raises:
        ConfigError: something was registered by the main program, which no other process can import.
    """
    found = dict.fromkeys(config.plugins)
    for what, group, function in _brought(config, graph):
        module = function.__module__
        if module == "__main__":
            raise ConfigError(
                f"{what} is defined by the program itself, where no worker finds it: put it into a module of its own and "
                "name that under plugins"
            )
        package = module.partition(".")[0]
        entries = [entry.module for entry in metadata.entry_points(group=group)]
        found |= dict.fromkeys(sorted({entry for entry in entries if entry.partition(".")[0] == package} or {module}))
    return tuple(found)


def _brought(config: CampaignConfig, graph: OpGraph) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Yields what other packages bring: what it is, the entry-point group, its function."""
    for name in sorted({node.op for node in graph.schedule}):
        operation = get_operation(name)
        if operation.is_plugin:
            yield f"operation {name!r}", OPERATIONS, operation.run
    for name in sorted(config.operators):
        operator = operators.get(name)
        if operator.is_plugin:
            yield f"operator {name!r}", OPERATORS, operator.apply
