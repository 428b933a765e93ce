"""Does `evolve tune` find settings for digits that are better than the shipped ones, at equal budget and on other seeds?

    python -m experiments.tune.study            30 trials, killed once on the way, then ten seeds of each
    python -m experiments.tune.study --seeds 1 --smoke

Writes ``results.json`` and ``plot.png`` beside this file; README.md there says what they mean.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from evolve.config.campaign import check_config, read_config
from evolve.library import run
from evolve.planning.plan import benchmark_of
from experiments.heldout import heldout_accuracy
from experiments.record import write_record

HERE = Path(__file__).parent
CONFIG = HERE.parent.parent / "configs" / "digits-tune.yaml"
SMOKE = ("stop.flops=1e9", "tune.trials=3", "tune.startup=1", "tune.pruner.startup=1")


def tuned(home: Path, overrides: list[str], kill_at: int) -> dict[str, Any]:
    """Returns what `evolve tune --json` printed, after its driver was killed while it ran trial ``kill_at``."""
    command = [sys.executable, "-P", "-m", "evolve", "tune", str(CONFIG), *overrides, "--address", "local", "--json"]
    command += ["--home", str(home)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as driver:
        while not list(home.glob(f"campaigns/*-t{kill_at}/journal-0.log")) and driver.poll() is None:
            time.sleep(0.05)
        driver.kill()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def one_run(values: dict[str, Any], seed: int) -> dict[str, Any]:
    """Returns what one campaign with these settings reached with this seed."""
    config = check_config({**values, "seed": seed, "promote": None})
    benchmark = benchmark_of(config)
    began = time.monotonic()
    result = run(config, benchmark, workers=2)
    assert result.champion is not None
    scores = result.summary["scores"]["ultimate"]
    return {
        "seed": seed,
        "validation": {name: scores[name] for name in ("cross_entropy", "accuracy")},
        "heldout_accuracy": heldout_accuracy(result.champion, benchmark)["ultimate"],
        "flops": result.summary["flops"],
        "evaluations": result.summary["evaluations"],
        "seconds": time.monotonic() - began,
    }


def plot(study: dict[str, Any], runs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draws the trials in their order, and both settings seed by seed."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    done = [(t["trial"], t["value"]) for t in study["trials"] if t["state"] == "done"]
    pruned = [(t["trial"], list(t["values"].values())[-1]) for t in study["trials"] if t["state"] == "pruned"]
    left.plot(*zip(*done, strict=True), "o", color="C0", label="done")
    if pruned:
        left.plot(*zip(*pruned, strict=True), "x", color="0.6", label="stopped early: its last value")
    best = np.minimum.accumulate([value for _, value in done])
    left.step([trial for trial, _ in done], best, where="post", color="black", linewidth=1, label="best so far")
    left.axhline(study["start"]["value"], color="C3", linestyle="--", label="the config as it ships")
    left.set(xlabel="trial", ylabel="validation cross-entropy", yscale="log", title="the study")
    left.legend(frameon=False)
    pairs = zip(runs["shipped"], runs["tuned"], strict=True)
    for before, after in pairs:
        values = [before["validation"]["cross_entropy"], after["validation"]["cross_entropy"]]
        right.plot(["shipped", "tuned"], values, "o-", color="C0", alpha=0.6)
    right.set(ylabel="validation cross-entropy", title="other seeds, equal budget")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Runs the study."""
    mpl.use("agg")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--home", type=Path, help="where the study is kept; a folder of its own, removed at the end, otherwise"
    )
    parser.add_argument("--smoke", action="store_true", help="tiny settings, files under a name of their own")
    arguments = parser.parse_args()
    overrides = list(SMOKE) if arguments.smoke else []
    with tempfile.TemporaryDirectory() as folder:
        study = tuned(arguments.home or Path(folder) / "home", overrides, kill_at=1 if arguments.smoke else 12)
    shipped = read_config(CONFIG, overrides)
    runs: dict[str, list[dict[str, Any]]] = {"shipped": [], "tuned": []}
    for seed in range(1, arguments.seeds + 1):
        for name, values in (("shipped", shipped), ("tuned", study["config"])):
            runs[name].append(one_run(values, seed))
            print(name, runs[name][-1], flush=True)
    settings = {"config": "configs/digits-tune.yaml", "overrides": overrides, "seeds": arguments.seeds}
    write_record(HERE / ("smoke.json" if arguments.smoke else "results.json"), settings, {"study": study, "runs": runs})
    plot(study, runs, HERE / ("smoke.png" if arguments.smoke else "plot.png"))
    print(f"study: start {study['start']['value']:.4f}, best {study['best']['value']:.4f}: {study['best']['settings']}")
    for name, found in runs.items():
        losses = [entry["validation"]["cross_entropy"] for entry in found]
        heldout = [entry["heldout_accuracy"] for entry in found]
        print(
            f"{name}: cross-entropy median {np.median(losses):.4f}, held-out accuracy median {np.median(heldout):.4f}"
        )


if __name__ == "__main__":
    main()
