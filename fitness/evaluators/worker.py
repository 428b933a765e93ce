"""A worker: makes a unit's children, has them judged, and scores their outputs with labels that never leave it.

Shapes: n candidates, T tiers, M objectives, K skills, N rows of the split.
"""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import numpy as np
from blake3 import blake3

from fitness.evaluators.maker import JailedMaker
from fitness.judges.judge import InlineJudge, Judge, Limits, SubprocessJudge
from fitness.judges.tile_plan import DEFAULT_PLANS, PlanTable
from fitness.processes import verdicts as verdict
from fitness.processes.zygote import Zygote
from fitness.scoring.examiner import Examiner
from fitness.scoring.score_sheet import has_plugins
from fitness.work.task import Task
from fitness.work.work_unit import Materialise, UnitResult, WorkUnit, graph_of
from population.errors import ConfigError, InfrastructureError
from population.stacks.row_format import encode_rows
from population.stacks.stack import Stack
from population.stacks.threads import single_threaded

RunsPlugins = Callable[[WorkUnit], bool]


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is made from, wherever it runs.

    Attributes:
        materialise: import path ``"module:function"`` of a ``Materialise``.
        plugins: modules that register operations; imported by the worker and by its judge.
        is_jailed: False: candidates run in the worker itself, at level "none"; for measuring what the jail costs.
    """

    materialise: str
    plugins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    plans: PlanTable = DEFAULT_PLANS
    is_jailed: bool = True

    def to_value(self) -> dict[str, Any]:
        """Returns the settings as a plain value, for the wire."""
        return {
            "materialise": self.materialise,
            "plugins": list(self.plugins),
            "limits": asdict(self.limits),
            "plans": self.plans.to_value(),
            "is_jailed": self.is_jailed,
        }

    @staticmethod
    def from_value(value: Mapping[str, Any]) -> WorkerSettings:
        """Returns the settings of ``to_value``."""
        return WorkerSettings(
            materialise=value["materialise"],
            plugins=tuple(value["plugins"]),
            limits=Limits(**value["limits"]),
            plans=PlanTable.from_value(value["plans"]),
            is_jailed=value["is_jailed"],
        )


def has_plugin_operations(unit: WorkUnit) -> bool:
    """Returns whether an operation of the unit's graph comes from another package."""
    return has_plugins(graph_of(unit))


class Worker:
    """Evaluates units one after the other. Owns its judge and its maker, and closes them.

    Args:
        maker: makes the children of units for which ``runs_plugins`` is true; None: they are made in this process too.
    """

    def __init__(
        self,
        benchmark: Task,
        materialise: Materialise,
        judge: Judge,
        plans: PlanTable,
        *,
        maker: JailedMaker | None = None,
        runs_plugins: RunsPlugins = has_plugin_operations,
    ) -> None:
        self._benchmark = benchmark
        self._materialise = materialise
        self._training = benchmark.training_only()  # nothing else is in reach of what makes children
        self._judge = judge
        self._examiner = Examiner(benchmark, judge, plans)
        self._maker, self._runs_plugins = maker, runs_plugins

    @property
    def sandbox_level(self) -> str:
        """The isolation of the judge."""
        return self._judge.level

    def evaluate(self, unit: WorkUnit, read_object: Callable[[bytes], bytes]) -> tuple[UnitResult, list[bytes | None]]:
        """Returns the result of a unit and its children's row bytes, None where a child could not be made.

        Raises:
            InfrastructureError: an object is missing, or the judge cannot be had: not the candidates' fault.
        """
        with single_threaded():
            return self._evaluate(unit, read_object)

    def _evaluate(self, unit: WorkUnit, read_object: Callable[[bytes], bytes]) -> tuple[UnitResult, list[bytes | None]]:
        started = time.monotonic()
        stack, failures = self._make(unit, read_object)
        made = time.monotonic()
        num = len(unit.candidates)
        alive = [row for row in range(num) if row not in failures]
        judged, encoded = None, []
        if stack is not None:
            encode = functools.cache(functools.partial(_encode, stack))
            judged = self._examiner.examine(stack, unit.judging, meanwhile=encode)
            encoded = encode()
        timing = {"kind": "timing", "materialise_s": made - started, "judge_s": time.monotonic() - made}
        result = failed_result(unit, self._benchmark, verdict.MATERIALISE, "")
        verdicts, details = list(result.verdicts), [failures.get(row, "") for row in range(num)]
        digests: list[bytes | None] = [None] * num
        rows: list[bytes | None] = [None] * num
        if judged is not None:
            for position, (row, (digest, data)) in enumerate(zip(alive, encoded, strict=True)):
                verdicts[row], details[row] = judged.verdicts[position], judged.details[position]
                digests[row], rows[row] = digest, data
            result.scores[alive], result.skills[alive] = judged.scores, judged.skills
            result.flops[alive] = judged.flops
        incidents = [*(judged.incidents if judged else []), timing]
        return replace(result, digests=digests, verdicts=verdicts, details=details, incidents=incidents), rows

    def reap_dead(self) -> None:
        """Reaps what was killed below an idle worker; from any thread."""
        for held in (self._judge, self._maker, self._examiner):
            if isinstance(held, SubprocessJudge | JailedMaker | Examiner):
                held.reap_dead()

    def close(self) -> None:
        """Ends judge, maker and what the judge is helped by; closing twice changes nothing."""
        self._examiner.close()
        self._judge.close()
        if self._maker is not None:
            self._maker.close()

    def _make(self, unit: WorkUnit, read_object: Callable[[bytes], bytes]) -> tuple[Stack | None, dict[int, str]]:
        """Returns the children that could be made, in order, and why the others could not, by candidate."""
        if self._maker is not None and self._runs_plugins(unit):
            return self._make_in_jail(self._maker, unit, read_object)
        whole = self._try_to_make(unit, read_object)
        if isinstance(whole, Stack):
            return whole, {}
        stacks, failures = [], {}
        for row in range(len(unit.candidates)):
            single = self._try_to_make(replace(unit, candidates=unit.candidates[row : row + 1]), read_object)
            if isinstance(single, Stack):
                stacks.append(single)
            else:
                failures[row] = single
        return (Stack.concat(stacks) if stacks else None), failures

    def _make_in_jail(
        self, maker: JailedMaker, unit: WorkUnit, read_object: Callable[[bytes], bytes]
    ) -> tuple[Stack | None, dict[int, str]]:
        """Does the same with every candidate alone in a jail."""
        stacks, failures = [], {}
        for row in range(len(unit.candidates)):
            made = maker.make(unit, row, read_object)
            if isinstance(made, Stack):
                stacks.append(made)
            else:
                failures[row] = made.detail
        return (Stack.concat(stacks) if stacks else None), failures

    def _try_to_make(self, unit: WorkUnit, read_object: Callable[[bytes], bytes]) -> Stack | str:
        try:
            stack = self._materialise(unit, read_object, self._training)
        except InfrastructureError:
            raise
        except Exception as error:  # noqa: BLE001 - an operator may raise anything; it becomes the candidate's verdict
            return verdict.one_line(f"{type(error).__name__}: {error}")
        if stack.num_rows != len(unit.candidates):
            return f"materialise made {stack.num_rows} rows for {len(unit.candidates)} candidates"
        return stack


def _encode(stack: Stack) -> list[tuple[bytes, bytes]]:
    """Returns digest and bytes of every row: what ``Stack.digests`` gives, encoded once."""
    return [(blake3(data).digest(), data) for data in encode_rows(stack)]


def failed_result(unit: WorkUnit, benchmark: Task, cause: str, detail: str) -> UnitResult:
    """Returns the result of a unit none of whose candidates has a score, all for the same cause."""
    num, num_tiers = len(unit.candidates), len(unit.judging.tiers)
    return UnitResult(
        unit_id=unit.unit_id,
        digests=[None] * num,
        verdicts=[cause] * num,
        details=[detail] * num,
        scores=np.full((num, num_tiers, len(benchmark.objectives)), np.nan),
        skills=np.full((num, num_tiers, len(benchmark.skills)), np.nan),
        flops=np.zeros((num, num_tiers), dtype=np.int64),
    )


def import_materialise(path: str) -> Materialise:
    """Returns the function that ``"module:function"`` names.

    Raises:
        ConfigError: there is none.
    """
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"materialise must be 'module:function', got {path!r}: {error}") from error
    return cast(Materialise, found)


def make_worker(settings: WorkerSettings, benchmark: Task, judge: Judge | None = None) -> Worker:
    """Returns a worker with a jailed judge of its own, or with this one; what plugins make is made in a jail like it.

    A module of a materialise function may have a function ``runs_plugins(unit)``, which says whether its operators do.

    Raises:
        ConfigError: materialise or a plugin cannot be imported.
    """
    import_plugins(settings.plugins)
    materialise = import_materialise(settings.materialise)
    operators_do = getattr(importlib.import_module(settings.materialise.partition(":")[0]), "runs_plugins", None)

    def runs_plugins(unit: WorkUnit) -> bool:
        return has_plugin_operations(unit) or bool(operators_do is not None and operators_do(unit))

    used = judge or judge_of(settings)
    maker = None
    if isinstance(used, SubprocessJudge):
        maker = JailedMaker(
            settings.materialise, benchmark, plugins=settings.plugins, limits=used.limits, without=used.without
        )
    return Worker(benchmark, materialise, used, settings.plans, maker=maker, runs_plugins=runs_plugins)


def judge_of(settings: WorkerSettings, begun: Zygote | None = None) -> Judge:
    """Returns the judge of a worker. Args: begun: a zygote that ``fitness.processes.jailed_process.begin`` started for it."""
    if not settings.is_jailed:
        return InlineJudge()
    return SubprocessJudge(plugins=settings.plugins, limits=settings.limits, begun=begun)


def import_plugins(names: Iterable[str]) -> None:
    """Imports the modules that register operations.

    Raises:
        ConfigError: one of them cannot be imported.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(f"plugin module {name!r} cannot be imported: {error}") from error
