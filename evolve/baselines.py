"""What plain methods reach on a campaign's own rows, to stand honestly beside what evolved.

Nouns: *baseline* (a plain method's score by split, accuracy or R2, and its FLOPs where they are counted).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch

from evolve.data import located
from population.errors import NotFound

if TYPE_CHECKING:
    from evolve.config import CampaignConfig
    from evolve.home import Home
    from evolve.plan import Plan
    from fitness.benchmark import Benchmark

SPLITS = ("validation", "heldout")
BASELINES_FILE = "baselines.json"
#: The plain network: the campaign's own graph at its widest, trained once, with usual settings that nobody tuned.
PLAIN_SETTINGS = {"steps": 600, "batch": 128, "optimiser": "adamw", "learning_rate": 3e-3, "schedule": "cosine"}
PLAIN_SEED = 0
NAMES = {
    "logistic_regression": "logistic regression",
    "svc": "support vector machine (SVC)",
    "ridge": "ridge regression",
    "svr": "support vector machine (SVR)",
    "boosting": "histogram gradient boosting",
}


@dataclass(frozen=True)
class Baseline:
    """One plain method. scores: the principal metric by split; flops: counted per sample, None where nobody counts them."""

    name: str
    scores: dict[str, float]
    flops: int | None = None


def baselines_of(config: CampaignConfig, home: Home, campaign: str) -> list[Baseline]:
    """Returns the baselines of a campaign's benchmark; computed once and kept beside the campaign's config."""
    path = home.campaign_dir(campaign) / BASELINES_FILE
    try:
        return [Baseline(**entry) for entry in json.loads(home.files.read_bytes(path))]
    except (NotFound, ValueError, TypeError):  # not there, or of another version
        found = compute(located(config, home))
    data = json.dumps([asdict(baseline) for baseline in found], indent=2).encode() + b"\n"
    home.files.write_atomic(path, data, mode=0o644, replace=True)
    return found


def compute(config: CampaignConfig) -> list[Baseline]:
    """Returns what plain methods reach on what the campaign was judged on: a plainly trained network, a support vector
    machine and a linear model on rows; random actions in episodes."""
    from evolve.plan import make_plan
    from fitness.baselines import baseline_scores, random_return
    from fitness.benchmark import Benchmark
    from fitness.episodes import Episodes
    from fitness.forward import single_threaded

    plan = make_plan(config)
    if isinstance(plan.benchmark, Episodes):
        return [Baseline("random actions", {split: random_return(plan.benchmark, split) for split in SPLITS}, 0)]
    benchmark = plan.benchmark
    assert isinstance(benchmark, Benchmark), "a task is rows or episodes"
    if benchmark.scoring is not None and benchmark.scoring.takes == "stack":
        return []  # there are no rows
    by_split = {split: baseline_scores(benchmark, split) for split in SPLITS}
    plain = [
        Baseline(NAMES.get(name, name), {split: by_split[split][name] for split in SPLITS})
        for name in by_split[SPLITS[0]]
    ]
    with single_threaded():  # kernels as small as these wait for each other longer than they compute
        return [_plain_network(plan, benchmark), *plain]


def _plain_network(plan: Plan, benchmark: Benchmark) -> Baseline:
    from evolve import operators
    from evolve.operators.registry import Making
    from fitness.measure import measure
    from population.interpret import run_stack

    init, burst = operators.get("init@1"), operators.get("burst@1")
    first = init.apply(Making(plan.graph, (), [PLAIN_SEED]), init.settings())
    making = Making(plan.graph, (first,), [PLAIN_SEED], benchmark)
    trained = burst.apply(making, burst.settings.model_validate(PLAIN_SETTINGS))
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
    return Baseline("the same network, plainly trained", scores, plan.graph.flops(plan.graph.symbols))
