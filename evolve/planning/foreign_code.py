"""Code of other packages that runs on data outside a campaign's workers: in a jail, wherever a command needs it.

What is ours runs in this process as ever.

Noun: *run* (a function that answers for a block, as ``run_block`` does).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import metadata

from evolve.planning.isolation_rules import is_enough
from evolve.runtime.answer import BlockRunner
from fitness.processes.isolation import FULL
from population.blocks.block import TensorBlock
from population.errors import InputError
from population.graphs.graph import OpGraph
from population.operations import get as get_operation
from population.operations.registry import ENTRY_POINTS, Operation
from population.stacks.interpreters import run_block


def foreign_operations(graph: OpGraph) -> list[Operation]:
    """Returns the operations of a graph that come from other packages, by name."""
    found = (get_operation(name) for name in sorted({node.op for node in graph.schedule}))
    return [operation for operation in found if operation.is_plugin]


def modules_to_import(group: str, module: str) -> list[str]:
    """Returns what a process imports so that what a module registers is known: its package's entry points, or the module."""
    package = module.partition(".")[0]
    entries = [entry.module for entry in metadata.entry_points(group=group)]
    return sorted({entry for entry in entries if entry.partition(".")[0] == package} or {module})


@contextmanager
def running(block: TensorBlock, accepted: str = FULL) -> Iterator[BlockRunner]:
    """Yields what runs a block: this process where all its operations are ours, else a jail that is closed afterwards.

    Args:
        accepted: the least isolation that code of other packages may run at.

    Raises:
        InputError: the jail is not what was accepted. EvaluatorFailed: no jail can be had.
    """
    foreign = foreign_operations(block.graph)
    if not foreign:
        yield run_block
        return
    from fitness.judges.runner import JailedRunner

    modules = dict.fromkeys(m for operation in foreign for m in modules_to_import(ENTRY_POINTS, operation.module))
    with closing(JailedRunner(list(modules))) as runner:
        level = runner.report.level
        if not is_enough(level, accepted):
            raise InputError(
                f"operation {foreign[0].key!r} is code of another package, and this machine's jail has level {level!r} where "
                f"{accepted!r} is asked for: `evolve doctor` shows what is open; close it, or accept it with --accept-level "
                f"{level}"
            )
        yield runner.run
