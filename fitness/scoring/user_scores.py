"""What a user's function says of candidates, asked beside the judge: which rows it gives numbers for, and why not the others.

Shapes: n rows, P rows of a tile, T tiers, N rows of the split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from fitness.benchmarks.benchmark import Benchmark
from fitness.judges.judge import Judge, SubprocessJudge
from fitness.judges.scorer import Scorer
from fitness.judges.tile_plan import KernelPlan
from fitness.judges.tiles import Outputs
from fitness.processes import verdicts
from fitness.processes.limits import Failure
from fitness.work.work_unit import Judging
from population.stacks.stack import Stack
from population.stacks.tiers import slice_stack

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OwnScores:
    """Attributes: values: objective -> ``[n, T]``; failures: by position, why a row has none."""

    values: Mapping[str, Floats] = field(default_factory=dict)
    failures: Mapping[int, Failure] = field(default_factory=dict)

    def at(self, positions: Sequence[int], tier: int) -> dict[str, Floats]:
        """Returns the numbers of some rows at a tier, ``[rows]`` each."""
        return {name: values[list(positions), tier] for name, values in self.values.items()}


def scorer_of(benchmark: Benchmark, judge: Judge) -> Scorer | None:
    """Returns the scorer of a benchmark's own function, with the judge's limits; None where it has none. Close it."""
    if benchmark.scoring is None:
        return None
    if not isinstance(judge, SubprocessJudge):
        return Scorer.of(benchmark.scoring)
    return Scorer.of(benchmark.scoring, limits=judge.limits, without=judge.without)


@contextmanager
def lent(scorer: Scorer | None, benchmark: Benchmark, judge: Judge) -> Iterator[Scorer | None]:
    """Yields the scorer that was given, or one of the benchmark's own function that is closed afterwards."""
    own = scorer_of(benchmark, judge) if scorer is None else None
    try:
        yield scorer or own
    finally:
        if own is not None:
            own.close()


def score_outputs(
    scorer: Scorer, benchmark: Benchmark, outputs: Outputs, targets: Sequence[npt.NDArray[np.generic]]
) -> OwnScores:
    """Returns what the function says of finite outputs, one array ``[n, S, N]`` a tier, candidate by candidate."""
    names, num = benchmark.scoring.names if benchmark.scoring else (), len(outputs[0])
    values = {name: np.full((num, len(outputs)), np.nan) for name in names}
    failures: dict[int, Failure] = {}
    wanted = {target.name: found for target, found in zip(benchmark.targets, targets, strict=True)}
    for row in range(num):
        for tier, array in enumerate(outputs):
            found = scorer.score_channels(_channels(benchmark, array[row]), wanted)
            if isinstance(found, Failure):
                failures[row] = _of_the_function(found)
                break
            for name in names:
                values[name][row, tier] = found[name]
    return OwnScores(values, failures)


def score_stack(scorer: Scorer, benchmark: Benchmark, stack: Stack, judging: Judging, plan: KernelPlan) -> OwnScores:
    """Returns what a function of stacks says of every row, tile by tile; rows of a tile that fails are asked one by one."""
    names = benchmark.scoring.names if benchmark.scoring else ()
    values = np.full((len(names), stack.num_rows, len(judging.tiers)), np.nan)
    failures: dict[int, Failure] = {}
    for tier, (name, widths) in enumerate(judging.tiers.items()):
        whole = slice_stack(stack, widths, name) if widths else stack
        for start in range(0, stack.num_rows, plan.candidates):
            rows = range(start, min(start + plan.candidates, stack.num_rows))
            found = _tile_or_rows(scorer, whole, rows, plan)
            for piece, each in found.items():
                if isinstance(each, Failure):
                    failures[piece[0]] = _of_the_function(each)
                else:
                    values[:, piece[0] : piece[-1] + 1, tier] = each
    for row in np.flatnonzero(~np.isfinite(values).all(axis=(0, 2))).tolist():
        lost = Failure(verdicts.NAN, "the scoring function returned NaN or infinity")
        failures.setdefault(row, _of_the_function(lost))
    return OwnScores(dict(zip(names, values, strict=True)), failures)


def _tile_or_rows(scorer: Scorer, stack: Stack, rows: range, plan: KernelPlan) -> dict[range, Floats | Failure]:
    """Returns what is said of a tile; of each of its rows alone, where the whole of it fails."""
    whole = _tile(scorer, stack, rows, plan)
    if not isinstance(whole, Failure) or len(rows) == 1:
        return {rows: whole}
    return {range(row, row + 1): _tile(scorer, stack, range(row, row + 1), plan) for row in rows}


def _tile(scorer: Scorer, stack: Stack, rows: range, plan: KernelPlan) -> Floats | Failure:
    """Returns ``[names, rows]``; missing candidates are copies of a first row, as in every tile."""
    full = stack.gather([*rows, *[rows[0]] * (plan.candidates - len(rows))])
    found = scorer.score_stack(full)
    return found if isinstance(found, Failure) else found[:, : len(rows)]


def _channels(benchmark: Benchmark, array: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    """The outputs of one candidate ``[S, N]``, by channel."""
    found, first = {}, 0
    for target in benchmark.targets:
        found[target.name] = array[first : first + target.size]
        first += target.size
    return found


def _of_the_function(failure: Failure) -> Failure:
    return replace(failure, detail=verdicts.one_line(f"the fitness function: {failure.detail}"))
