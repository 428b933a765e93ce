"""Code of other packages that a campaign runs, and the modules that hold it: processes that run it import them first.

A jail opens no files, so nothing can be found by entry point in it: what a campaign needs is known before.

Nouns: *plugin* (a module of another package that registers something).
"""

from __future__ import annotations

from collections.abc import Iterator

from evolve import operators
from evolve.config.campaign import CampaignConfig
from evolve.operators.registry import ENTRY_POINTS as OPERATORS
from evolve.planning.foreign_code import foreign_operations, modules_to_import
from population.errors import ConfigError
from population.graphs.graph import OpGraph
from population.operations.registry import ENTRY_POINTS as OPERATIONS


def modules_of(config: CampaignConfig, graph: OpGraph) -> tuple[str, ...]:
    """Returns the modules to import before the campaign's candidates are made and judged: those that the config names, and
    those that registered the operations of its graph and the operators of its portfolio.

    Raises:
        ConfigError: something was registered by the main program, which no other process can import.
    """
    found = dict.fromkeys(config.plugins)
    for what, group, module in _brought(config, graph):
        if module == "__main__":
            raise ConfigError(
                f"{what} is defined by the program itself, where no worker finds it: put it into a module of its own and "
                "name that under plugins"
            )
        found |= dict.fromkeys(modules_to_import(group, module))
    return tuple(found)


def _brought(config: CampaignConfig, graph: OpGraph) -> Iterator[tuple[str, str, str]]:
    """Yields what other packages bring: what it is, the entry-point group, the module that holds it."""
    for operation in foreign_operations(graph):
        yield f"operation {operation.key!r}", OPERATIONS, operation.module
    for name in sorted(config.operators):
        operator = operators.get(name)
        if operator.is_plugin:
            yield f"operator {name!r}", OPERATORS, operator.apply.__module__
