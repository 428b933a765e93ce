"""Code of other packages that runs on data outside a campaign's workers: in a jail, wherever a command needs it.

What is ours runs in this process as ever.

Nouns: *run* (a function that answers for a block, as ``run_block`` does), *remaker* (what makes units again).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Protocol

import torch

from evolve.planning.isolation_rules import check_user_code, is_enough
from fitness.processes.isolation import FULL
from population.blocks.block import TensorBlock
from population.errors import EvaluatorFailed, InputError
from population.graphs.graph import OpGraph
from population.operations import get as get_operation
from population.operations.registry import ENTRY_POINTS, Operation
from population.stacks.interpreters import run_block

if TYPE_CHECKING:
    from evolve.planning.plan import Plan
    from fitness.evaluators.maker import JailedMaker
    from fitness.work.task import Task
    from fitness.work.work_unit import WorkUnit
    from population.stacks.stack import Stack

Tensors = Mapping[str, torch.Tensor]


class Run(Protocol):
    """Answers for a block."""

    def __call__(
        self, block: TensorBlock, inputs: Tensors, tier: str = ..., outputs: Sequence[str] | None = ...
    ) -> dict[str, torch.Tensor]:
        """Returns the wanted output channels of a block at a tier. Raises: InputError."""


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
def running(block: TensorBlock, accepted: str = FULL) -> Iterator[Run]:
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


class Remaker:
    """Makes the children of units again, as a worker does: units with a plugin's code in a jail, candidate by candidate.

    One thread at a time; whoever makes it closes it. Nothing but training rows is in reach of what makes.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._maker: JailedMaker | None = None

    def make(self, unit: WorkUnit, read_object: Callable[[bytes], bytes]) -> Stack:
        """Returns the unit's children, one row a candidate.

        Raises:
            EvaluatorFailed: a plugin's code failed in the jail, or there is no jail. ConfigError: it is not what the
                campaign's config accepts.
        """
        from evolve.recipes.materialise import materialise, runs_plugins
        from fitness.evaluators.worker import has_plugin_operations

        if has_plugin_operations(unit) or runs_plugins(unit):
            return self._make_in_jail(unit, read_object)
        return materialise(unit, read_object, self._training)

    def close(self) -> None:
        """Ends the jail, if there is one; closing twice changes nothing."""
        if self._maker is not None:
            self._maker.close()

    @functools.cached_property
    def _training(self) -> Task:
        return self._plan.benchmark.training_only()

    def _make_in_jail(self, unit: WorkUnit, read_object: Callable[[bytes], bytes]) -> Stack:
        from fitness.processes.limits import Failure
        from population.stacks.stack import Stack

        if self._maker is None:
            self._maker = self._start()
        rows = []
        for row, candidate in enumerate(unit.candidates):
            made = self._maker.make(unit, row, read_object)
            if isinstance(made, Failure):
                operator = unit.operators[int(candidate["operator"])]
                raise EvaluatorFailed(f"{operator} makes nothing in its jail ({made.cause}): {made.detail}")
            rows.append(made)
        return Stack.concat(rows)

    def _start(self) -> JailedMaker:
        from evolve.driver.evaluators import MATERIALISE
        from fitness.evaluators.maker import JailedMaker
        from fitness.processes.limits import Limits

        section = self._plan.config.limits
        limits = Limits.of(section.seconds, section.memory_mib)
        maker = JailedMaker(MATERIALISE, self._plan.benchmark, plugins=self._plan.plugins, limits=limits)
        with ExitStack() as stack:
            stack.callback(maker.close)
            check_user_code(self._plan.config.run.accept_level, self._plan.foreign_code, maker.report.level)
            stack.pop_all()
        return maker
