"""Do the promised accuracies hold on splits that nobody tuned on? Runs ``configs/digits.yaml`` on split seeds 1 to 10.

    python -m experiments.digits.study            all ten splits (about ten minutes on two cores)
    python -m experiments.digits.study --splits 2 --smoke

Writes ``results.json`` and ``plot.png`` beside this file; README.md there says what they mean.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from evolve.config.campaign import load_config
from evolve.library import run
from evolve.planning.plan import benchmark_of
from experiments.heldout import heldout_accuracy
from experiments.record import write_record
from fitness.benchmarks.baselines import baseline_scores

HERE = Path(__file__).parent
CONFIG = HERE.parent.parent / "configs" / "digits.yaml"
FLOORS = {"ultimate": 0.97, "pro": 0.965, "lite": 0.95}


def one_split(split_seed: int, smoke: bool) -> dict[str, Any]:
    """Returns held-out accuracy by tier, baselines on the same rows, FLOPs by tier and seconds, for one split."""
    overrides = [f"benchmark.split_seed={split_seed}"]
    if smoke:
        overrides += ["stop.generations=2", "tiers.distil.steps=50", "strategy.population=8"]
    config = load_config(CONFIG, overrides)
    benchmark = benchmark_of(config)
    began = time.monotonic()
    result = run(config, benchmark, workers=2)
    seconds = time.monotonic() - began
    assert result.champion is not None
    block = result.champion
    return {
        "split_seed": split_seed,
        "heldout": heldout_accuracy(block, benchmark),
        "baselines": baseline_scores(benchmark, "heldout"),
        "flops": {tier: block.graph.flops(widths) for tier, widths in block.tiers.items()},
        "num_heldout": len(benchmark.rows("heldout")),
        "seconds": seconds,
    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws accuracy by tier and of the baselines, a dot a split, a bar at the mean."""
    names = ["lite", "pro", "ultimate", *rows[0]["baselines"]]
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for place, name in enumerate(names):
        values = [row["heldout"].get(name, row["baselines"].get(name)) for row in rows]
        axes.plot([place] * len(values), values, "o", alpha=0.5, color="C0" if place < 3 else "C1")
        axes.hlines(np.mean(values), place - 0.25, place + 0.25, color="black")
        if name in FLOORS:
            axes.hlines(FLOORS[name], place - 0.35, place + 0.35, color="C3", linestyle="--")
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("held-out accuracy")
    axes.set_title("digits, split seeds 1 to 10: dots are splits, bars means, dashes what is promised")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Runs the study."""
    mpl.use("agg")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--smoke", action="store_true", help="tiny settings, files under a name of their own")
    arguments = parser.parse_args()
    rows = []
    for split_seed in range(1, arguments.splits + 1):
        rows.append(one_split(split_seed, arguments.smoke))
        print(
            split_seed,
            {k: round(v, 4) for k, v in rows[-1]["heldout"].items()},
            f"{rows[-1]['seconds']:.0f} s",
            flush=True,
        )
    name = "smoke" if arguments.smoke else "results"
    write_record(HERE / f"{name}.json", {"config": "configs/digits.yaml", "splits": arguments.splits}, rows)
    plot(rows, HERE / ("smoke.png" if arguments.smoke else "plot.png"))
    for tier in ("ultimate", "pro", "lite"):
        values = [row["heldout"][tier] for row in rows]
        print(f"{tier}: mean {np.mean(values):.4f}, median {np.median(values):.4f}, worst {min(values):.4f}")


if __name__ == "__main__":
    main()
