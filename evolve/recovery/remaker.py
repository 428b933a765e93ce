"""Makes candidates again as a worker made them; code of other packages takes part in a jail only.

Nouns: *remaker* (what makes units again).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from evolve.planning.isolation_rules import check_user_code
from population.errors import EvaluatorFailed

if TYPE_CHECKING:
    from evolve.planning.plan import Plan
    from fitness.evaluators.maker import JailedMaker
    from fitness.work.task import Task
    from fitness.work.work_unit import WorkUnit
    from population.stacks.stack import Stack


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
        from evolve.recipes.materialise import MATERIALISE
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
