"""Which objectives a benchmark measures: metrics of its targets, costs, and what a user's function returns.

Nouns: none beyond those of `fitness.measures.metrics`.
"""

from __future__ import annotations

from collections.abc import Sequence

from fitness.measures.metrics import ALWAYS, COSTS, LOSS, METRICS, Objective, objective_of
from fitness.measures.targets import Target
from fitness.measures.user_function import Scoring
from population.errors import BenchmarkError


def default_objectives(targets: Sequence[Target]) -> list[str]:
    """Returns the names of what is measured where nobody asks for anything else."""
    own = [prefixed(targets, target, metric) for target in targets for metric in ALWAYS[target.kind]]
    return [*([LOSS] if len(targets) > 1 else []), *own, *COSTS]


def prefixed(targets: Sequence[Target], target: Target, metric: str) -> str:
    """Returns what a metric of one target is called beside the others."""
    return metric if len(targets) == 1 else f"{target.name}.{metric}"


def named_objectives(
    names: Sequence[str], targets: Sequence[Target], scoring: Scoring | None = None
) -> tuple[Objective, ...]:
    """Returns the objectives of these names, which metrics, costs and a user's function measure.

    Raises:
        BenchmarkError: a name is unknown, stands twice, or there is none.
    """
    own = {objective.name: objective for objective in scoring.objectives} if scoring is not None else {}
    has_data = scoring is None or scoring.takes == "outputs"
    known = [*own, *([LOSS] if has_data else []), *COSTS]
    for target in targets if has_data else ():
        known += [prefixed(targets, target, name) for name, metric in METRICS.items() if metric.fits(target.kind)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BenchmarkError(f"{str(unknown[0])[:80]!r} is not measured here; choose out of {', '.join(known)}")
    if not names or len(set(names)) != len(names):
        raise BenchmarkError(
            f"objectives must be distinct names out of {', '.join(known)}, got {', '.join(map(str, names)) or 'none'}"
        )
    found = (own.get(name) or objective_of(name) for name in names)
    return tuple(objective for objective in found if objective is not None)
