"""Scores of candidates from their outputs and the targets: what a benchmark asks for, in a fixed order.

A candidate's numbers follow from its own outputs alone.

Shapes: P candidates, S numbers that all targets' output channels hold together, N rows, K skills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fitness.benchmarks.benchmark import Benchmark
from fitness.measures.metrics import LOSS, ClassAnswers, Floats, NumberAnswers
from fitness.measures.targets import answers_of, loss_of


@dataclass(frozen=True)
class MeasuredRows:
    """Scores of P candidates on N rows.

    Attributes:
        scores: objective -> ``[P]``, without what is counted rather than measured.
        skills: ``[P, K]``; NaN where the rows hold nothing of one. merits: ``[P, N]``, for paired tests.
    """

    scores: Mapping[str, Floats]
    skills: Floats
    merits: Floats


def measure(
    outputs: npt.NDArray[np.float32], targets: Sequence[npt.NDArray[Any]], benchmark: Benchmark
) -> MeasuredRows:
    """Returns the scores of finite outputs ``[P, S, N]`` against each target's values of the same rows."""
    found, first = [], 0
    for target, scale, values in zip(benchmark.targets, benchmark.scales, targets, strict=True):
        found.append(answers_of(target, scale, outputs[:, first : first + target.size], values))
        first += target.size
    own = benchmark.scoring.names if benchmark.scoring is not None else ()  # measured elsewhere
    wanted = [o.name for o in benchmark.objectives if o.kind == "score" and o.name not in own]
    scores = {name: _score(name, found, benchmark) for name in wanted}
    skills = np.concatenate([answers.skills for answers in found], axis=1)
    return MeasuredRows(scores, skills, _merits(found, benchmark))


def _score(name: str, found: Sequence[ClassAnswers | NumberAnswers], benchmark: Benchmark) -> Floats:
    if name == LOSS:
        parts = zip(benchmark.targets, benchmark.scales, found, strict=True)
        losses = [target.weight * loss_of(target, scale, answers) for target, scale, answers in parts]
        return np.cumsum(np.stack(losses, axis=1), axis=1)[:, -1]
    channel, _, metric = name.rpartition(".")
    names = [target.name for target in benchmark.targets]
    return found[names.index(channel) if channel else 0].measure(metric)


def _merits(found: Sequence[ClassAnswers | NumberAnswers], benchmark: Benchmark) -> Floats:
    weights = [target.weight for target in benchmark.targets]
    if len(found) == 1:
        return found[0].merits
    total = np.zeros_like(found[0].merits)
    for weight, answers in zip(weights, found, strict=True):
        total += answers.merits * (weight / sum(weights))
    return total
