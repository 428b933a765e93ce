"""What do crossover, adaptation of rates and gradient bursts each add on digits, at equal counted cost?

    python -m experiments.operators.study            five seeds, five variants
    python -m experiments.operators.study --seeds 1 --smoke

Every variant is the whole portfolio with one part left out, paired by seed and stopped at the same counted FLOPs.
Writes ``results.json`` and ``plot.png`` beside this file; README.md there says what they mean.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from evolve.config.campaign import check_config, read_yaml
from evolve.library import run
from evolve.planning.plan import benchmark_of
from experiments.heldout import heldout_accuracy
from experiments.record import write_record

HERE = Path(__file__).parent
CONFIG = HERE.parent.parent / "configs" / "digits.yaml"
BUDGET_FLOPS = 6e10
BURST: Mapping[str, Any] = {"weight": 3, "settings": {"steps": 20, "batch": 64, "learning_rate": 0.004}}
FIXED: Mapping[str, Any] = {"weight": 2, "settings": {"rate": 0.02}}
ADAPTED: Mapping[str, Any] = {
    "self_adapted": {"weight": 1, "settings": {"rate": 0.02}},
    "entropy": {"weight": 1, "settings": {"low": 0.004, "high": 0.04}},
}
CROSSOVER: Mapping[str, Any] = {"uniform": {"weight": 1}, "layerwise": {"weight": 1}, "mean": {"weight": 1}}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "all": {"burst": BURST, **ADAPTED, **CROSSOVER},
    "no crossover": {"burst": BURST, **ADAPTED},
    "fixed rates": {"burst": BURST, "gaussian": FIXED, **CROSSOVER},
    "no bursts": {**ADAPTED, **CROSSOVER},
    "bursts alone": {"burst": BURST},
}


def one_run(variant: str, seed: int, budget: float) -> dict[str, Any]:
    """Returns what one campaign of a variant reached within the budget."""
    values = read_yaml(CONFIG)
    values |= {
        "operators": VARIANTS[variant],
        "seed": seed,
        "tiers": None,
        "gates": [],
        "objectives": ["accuracy", "cross_entropy"],
        "strategy": {"kind": "ga", "population": 24},
        "widths": {},
        "stop": {"flops": budget},
        "promote": None,
    }
    config = check_config(values)
    benchmark = benchmark_of(config)
    began = time.monotonic()
    result = run(config, benchmark, workers=2)
    assert result.champion is not None
    scores = result.summary["scores"]["ultimate"]
    return {
        "variant": variant,
        "seed": seed,
        "validation": scores["accuracy"],
        "cross_entropy": scores["cross_entropy"],
        "heldout": heldout_accuracy(result.champion, benchmark)["ultimate"],
        "evaluations": result.summary["evaluations"],
        "flops": result.summary["flops"],
        "operators": result.summary["operators"],
        "seconds": time.monotonic() - began,
    }


def differences(rows: list[dict[str, Any]], measure: str) -> dict[str, list[float]]:
    """Returns, by variant, its value minus that of the whole portfolio, paired by seed."""
    whole = {row["seed"]: row[measure] for row in rows if row["variant"] == "all"}
    return {
        name: [row[measure] - whole[row["seed"]] for row in rows if row["variant"] == name]
        for name in VARIANTS
        if name != "all"
    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws held-out accuracy by variant and the paired differences to the whole portfolio."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for place, name in enumerate(VARIANTS):
        values = [row["heldout"] for row in rows if row["variant"] == name]
        left.plot([place] * len(values), values, "o", alpha=0.6)
        left.hlines(np.median(values), place - 0.25, place + 0.25, color="black")
    left.set_xticks(range(len(VARIANTS)), list(VARIANTS), rotation=20)
    left.set_ylabel("held-out accuracy")
    for place, (_, values) in enumerate(differences(rows, "heldout").items()):
        right.plot([place] * len(values), values, "o", alpha=0.6)
        right.hlines(np.median(values), place - 0.25, place + 0.25, color="black")
    right.axhline(0, color="grey", linewidth=0.8)
    right.set_yscale("symlog", linthresh=0.02)  # the interesting differences are small, one variant is far off
    right.set_ylim(-1, 0.03)
    right.set_yticks(
        [-0.5, -0.1, -0.02, -0.01, 0, 0.01, 0.02], labels=["-0.5", "-0.1", "-0.02", "-0.01", "0", "0.01", "0.02"]
    )
    right.set_xticks(range(len(VARIANTS) - 1), [name for name in VARIANTS if name != "all"], rotation=20)
    right.set_ylabel("difference to the whole portfolio, paired by seed")
    figure.suptitle("digits at equal counted cost: dots are seeds, bars medians")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Runs the study."""
    mpl.use("agg")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--smoke", action="store_true", help="a fiftieth of the budget, files under a name of their own"
    )
    arguments = parser.parse_args()
    budget = BUDGET_FLOPS / (50 if arguments.smoke else 1)
    rows = []
    for seed in range(arguments.seeds):
        for variant in VARIANTS:
            rows.append(one_run(variant, seed, budget))
            last = rows[-1]
            found = f"held-out {last['heldout']:.4f}, {last['evaluations']} evaluations, {last['seconds']:.0f} s"
            print(f"{variant:14} seed {seed}: {found}", flush=True)
    name = "smoke" if arguments.smoke else "results"
    write_record(HERE / f"{name}.json", {"budget_flops": budget, "seeds": arguments.seeds, "variants": VARIANTS}, rows)
    plot(rows, HERE / ("smoke.png" if arguments.smoke else "plot.png"))
    for name, values in differences(rows, "heldout").items():
        print(f"{name}: median difference {np.median(values):+.4f}, from {min(values):+.4f} to {max(values):+.4f}")


if __name__ == "__main__":
    main()
