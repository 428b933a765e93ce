"""What plain methods reach on a campaign's own rows, to stand honestly beside what evolved.

Nouns: *baseline* (a plain method's score by split, accuracy or R2, and its FLOPs where they are counted).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolve.side_files import COUNT_OR_NONE, NUMBERS, TEXT, check_fields, read_json
from fitness.processes.verdicts import one_line
from fitness.scoring.score_sheet import has_plugins
from population.errors import DamageError, EvaluatorFailed, EvolveError, NotFound, StorageError
from population.stacks.row_format import decode_rows
from population.stacks.stack import Stack
from population.stacks.tiers import WIDEST

if TYPE_CHECKING:
    from evolve.home.home import Home
    from evolve.planning.plan import Plan
    from fitness.benchmarks.benchmark import Benchmark
    from fitness.work.task import Task
    from population.files.local_files import FileSystem

SPLITS = ("validation", "heldout")
BASELINES_FILE = "baselines.json"
#: The plain network: the campaign's own graph at its widest, trained once, with usual settings that nobody tuned.
PLAIN_SETTINGS = {"steps": 600, "batch": 128, "optimiser": "adamw", "learning_rate": 3e-3, "schedule": "cosine"}
PLAIN_SEED = 0
#: What a method may raise: jails and simulators, scikit-learn, torch.
FAILURES = (EvolveError, ValueError, ArithmeticError, RuntimeError, MemoryError)
NAMES = {
    "logistic_regression": "logistic regression",
    "svc": "support vector machine (SVC)",
    "ridge": "ridge regression",
    "svr": "support vector machine (SVR)",
    "boosting": "histogram gradient boosting",
}


@dataclass(frozen=True)
class Baseline:
    """One plain method.

    Attributes:
        scores: the principal metric by split; empty where it is missing. flops: counted per sample, None where nobody
            counts them. missing: why there is no score, in words.
    """

    name: str
    scores: dict[str, float]
    flops: int | None = None
    missing: str = ""


def baselines_of(plan: Plan, home: Home, campaign: str) -> list[Baseline]:
    """Returns the baselines of a campaign's benchmark; computed once, and kept beside the campaign's config if none is missing.

    Nothing here fails a finished campaign: a method that fails is listed as missing, a file that cannot be read is computed
    again, and one that cannot be written is left out.
    """
    path = home.campaign_dir(campaign) / BASELINES_FILE
    kept = _read(home.files, path)
    if kept is not None:
        return kept
    found = compute(plan)
    if not any(baseline.missing for baseline in found):
        data = json.dumps([_to_value(baseline) for baseline in found], indent=2).encode() + b"\n"
        with suppress(StorageError):
            home.files.write_atomic(path, data, mode=0o644, replace=True)
    return found


def _to_value(baseline: Baseline) -> dict[str, Any]:
    return {"name": baseline.name, "scores": baseline.scores, "flops": baseline.flops}


def _read(files: FileSystem, path: Path) -> list[Baseline] | None:
    """Returns the baselines that were kept; None where there are none, or of another version, or damaged."""
    try:
        entries = read_json(files, path, remedy="remove it")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            return None
        for entry in entries:
            check_fields(entry, path, "remove it", {"name": TEXT, "scores": NUMBERS, "flops": COUNT_OR_NONE}, {})
    except (NotFound, DamageError, StorageError):
        return None
    return [Baseline(entry["name"], entry["scores"], entry["flops"]) for entry in entries]


def compute(plan: Plan) -> list[Baseline]:
    """Returns what plain methods reach on what the campaign was judged on: a plainly trained network, a support vector
    machine and a linear model on rows; random actions in episodes."""
    from fitness.benchmarks.benchmark import Benchmark
    from fitness.benchmarks.episodes import Episodes
    from population.stacks.threads import single_threaded

    if isinstance(plan.benchmark, Episodes):
        return _tried("random actions", lambda: [_random_actions(plan.benchmark)])
    benchmark = plan.benchmark
    assert isinstance(benchmark, Benchmark), "a task is rows or episodes"
    if benchmark.scoring is not None and benchmark.scoring.takes == "stack":
        return []  # there are no rows
    plain = _tried("plain methods of scikit-learn", lambda: _plain_methods(benchmark))
    with single_threaded():  # kernels as small as these wait for each other longer than they compute
        return [*_tried("the same network, plainly trained", lambda: [_plain_network(plan, benchmark)]), *plain]


def _tried(name: str, computed: Callable[[], list[Baseline]]) -> list[Baseline]:
    """Returns what was computed, or one baseline that says why it is missing."""
    try:
        return computed()
    except FAILURES as error:
        return [Baseline(name, {}, missing=one_line(str(error)))]


def _random_actions(task: Task) -> Baseline:
    from fitness.benchmarks.baselines import random_return
    from fitness.benchmarks.episodes import Episodes

    assert isinstance(task, Episodes), "only simulators take actions"
    return Baseline("random actions", {split: random_return(task, split) for split in SPLITS}, 0)


def _plain_methods(benchmark: Benchmark) -> list[Baseline]:
    from fitness.benchmarks.baselines import baseline_scores

    by_split = {split: baseline_scores(benchmark, split) for split in SPLITS}
    return [
        Baseline(NAMES.get(name, name), {split: by_split[split][name] for split in SPLITS})
        for name in by_split[SPLITS[0]]
    ]


def _plain_network(plan: Plan, benchmark: Benchmark) -> Baseline:
    """Returns the campaign's own graph, trained once; where it holds operations of others they run in jails alone."""
    trained = decode_rows(plan.graph, [_trained_row(plan)])
    scores = (
        _judged_in_jail(plan, benchmark, trained) if has_plugins(plan.graph) else _scores_here(plan, benchmark, trained)
    )
    return Baseline("the same network, plainly trained", scores, plan.graph.flops(plan.graph.symbols))


def _trained_row(plan: Plan) -> bytes:
    """Returns the trained network's bytes: two recipes, made as those of any individual are."""
    from evolve import operators
    from evolve.recipes.recipe import Recipe, canonical_settings
    from evolve.recovery.rebuild import Record, rebuild_rows

    init, burst = operators.get("init@1"), operators.get("burst@1")
    first = canonical_settings(init.settings().model_dump(mode="json"))
    second = canonical_settings(burst.settings.model_validate(PLAIN_SETTINGS).model_dump(mode="json"))
    read = (plan.benchmark.digest("train"),)
    recipes = [
        Recipe(init.key, (), (), PLAIN_SEED, first),
        Recipe(burst.key, (0,), ("parent",), PLAIN_SEED, second, read),
    ]
    records = {event: Record(event, "", recipe, None, 0.0) for event, recipe in enumerate(recipes)}
    return rebuild_rows(plan, records, [1]).rows[1]


def _scores_here(plan: Plan, benchmark: Benchmark, trained: Stack) -> dict[str, float]:
    import torch

    from fitness.scoring.measure import measure
    from population.stacks.interpreters import run_stack

    scores, channels = {}, benchmark.channels_of([name for name, _ in plan.graph.outputs])
    for split in SPLITS:
        rows = {
            name: torch.from_numpy(array).movedim(0, -1)[None] for name, array in benchmark.inputs_of(split).items()
        }
        with torch.no_grad():
            outputs = run_stack(trained, rows)
        answers = torch.cat([outputs[channel] for channel in channels], dim=1).numpy()
        found = measure(answers, benchmark.targets_of(split), benchmark)
        scores[split] = float(found.scores[benchmark.principal][0])
    return scores


def _judged_in_jail(plan: Plan, benchmark: Benchmark, trained: Stack) -> dict[str, float]:
    """Returns the scores of outputs that a judge's jail gives. Raises: EvaluatorFailed where it gives none."""
    from evolve.planning.isolation_rules import check_user_code
    from fitness.judges.judge import Limits, SubprocessJudge
    from fitness.processes import verdicts
    from fitness.scoring.examiner import Examiner
    from fitness.work.work_unit import Judging

    section, scores = plan.config.limits, {}
    place = [objective.name for objective in benchmark.objectives].index(benchmark.principal)
    limits = Limits.of(section.seconds, section.memory_mib)
    with closing(SubprocessJudge(plugins=plan.plugins, limits=limits)) as judge:
        check_user_code(plan.config.run.accept_level, plan.foreign_code, judge.level)
        with closing(Examiner(benchmark, judge)) as examiner:
            for split in SPLITS:
                judged = examiner.examine(trained, Judging(split, {WIDEST: {}}))
                if judged.verdicts[0] != verdicts.OK:
                    raise EvaluatorFailed(f"it fails in its jail ({judged.verdicts[0]}): {judged.details[0]}")
                scores[split] = float(judged.scores[0, 0, place])
    return scores
