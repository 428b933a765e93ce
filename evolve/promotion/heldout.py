"""One look at held-out rows: some blocks, all their tiers, judged in one pass by a process that sees no labels.

Nouns: *look* (as in ``fitness.measures.heldout_tests``), *finding* (what a look showed of one block).

Shapes: N held-out rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evolve.planning.isolation_rules import check_user_code
from evolve.planning.plan import Plan
from fitness.judges.judge import Judge, Limits, SubprocessJudge
from fitness.processes import verdicts
from fitness.scoring.examiner import Examiner
from fitness.work.task import Task
from fitness.work.work_unit import Judging
from population.blocks.block import TensorBlock

SPLIT = "heldout"
Merits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class HeldoutScores:
    """What a look showed of one block.

    Attributes:
        verdict, detail: as ``fitness.processes.verdicts``; where the verdict is not "ok", the mappings are empty.
        scores: tier -> objective -> value. skills: tier -> skill -> value; skills without rows are left out.
        flops: tier -> counted FLOPs a sample. merits: tier -> float32 ``[N]``, what each row adds to the principal metric.
    """

    verdict: str
    detail: str
    scores: Mapping[str, Mapping[str, float]]
    skills: Mapping[str, Mapping[str, float]]
    flops: Mapping[str, int]
    merits: Mapping[str, Merits]

    @property
    def is_ok(self) -> bool:
        """Whether the block has scores."""
        return self.verdict == verdicts.OK


@contextmanager
def judge_for(plan: Plan, judge: Judge | None, accepted: str) -> Iterator[Judge]:
    """Yields who runs the blocks of a look: the judge that was given, or one of the campaign's own, closed afterwards.

    Raises ConfigError where code of others would run in a jail that is not what was accepted.
    """
    if judge is not None:
        yield judge
        return
    limits = Limits.of(plan.config.limits.seconds, plan.config.limits.memory_mib)
    with closing(SubprocessJudge(plugins=plan.plugins, limits=limits)) as own:
        if plan.foreign_code:
            check_user_code(accepted, plan.foreign_code, own.level)
        yield own


def look(blocks: Sequence[TensorBlock], benchmark: Task, judge: Judge) -> list[HeldoutScores]:
    """Returns the findings on these blocks, in their order. Raises EvaluatorFailed where there is no judge to be had."""
    with closing(Examiner(benchmark, judge)) as examiner:
        return [_find(block, benchmark, examiner) for block in blocks]


def _find(block: TensorBlock, benchmark: Task, examiner: Examiner) -> HeldoutScores:
    tiers = {tier: block.widths_of(tier) for tier in block.tier_names}
    judged = examiner.examine(block.to_stack(), Judging(SPLIT, tiers))
    if judged.verdicts[0] != verdicts.OK:
        return HeldoutScores(judged.verdicts[0], judged.details[0], {}, {}, {}, {})
    names = [objective.name for objective in benchmark.objectives]
    return HeldoutScores(
        verdict=verdicts.OK,
        detail="",
        scores={tier: _named(names, judged.scores[0, place]) for place, tier in enumerate(tiers)},
        skills={tier: _named(benchmark.skills, judged.skills[0, place]) for place, tier in enumerate(tiers)},
        flops={tier: int(judged.flops[0, place]) for place, tier in enumerate(tiers)},
        merits={tier: judged.merits[0, place] for place, tier in enumerate(tiers)},
    )


def _named(names: Sequence[str], values: npt.NDArray[np.float64]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True) if np.isfinite(value)}
