"""Does a PyTorch CNN that was trained badly on purpose come back better, or at most half as large?

    python -m experiments.improve.study             digits, seeds 0 to 4
    python -m experiments.improve.study --seeds 2
    python -m experiments.improve.study --smoke     one seed, a small campaign; writes nothing

Each seed trains `net.py` for 12 steps of plain gradient descent and runs ``evolve run configs/improve.yaml`` on it in a home of
its own; the champion's lite tier is exported as PyTorch and ONNX. Writes ``results.json`` and ``plot.png`` beside this file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from safetensors.torch import save_file
from torch.nn import functional

from experiments.improve.net import Net
from experiments.record import write_record
from fitness import datasets

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "configs" / "improve.yaml"
STEPS, RATE, BATCH = 12, 0.02, 32
SMALL = ["strategy.population=4", "stop.generations=2", "tiers.distil.steps=50"]


def badly_trained(seed: int) -> dict[str, torch.Tensor]:
    """The weights after a few steps on training rows."""
    data = datasets.load("digits", split_seed=0)
    rows = data.rows("train")
    images = torch.from_numpy(data.inputs["image"][rows]).to(torch.float32)
    labels = torch.from_numpy(data.targets[0].values[rows])
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(seed)
        net = Net()
        optimiser = torch.optim.SGD(net.parameters(), lr=RATE)
        for _ in range(STEPS):
            chosen = torch.randint(0, len(images), (BATCH,))
            optimiser.zero_grad()
            functional.cross_entropy(net(images[chosen]), labels[chosen]).backward()
            optimiser.step()
    return net.state_dict()


def evolve(*arguments: object) -> dict[str, Any]:
    """What a command prints with --json."""
    command = [sys.executable, "-m", "evolve", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def study(seed: int, is_smoke: bool) -> dict[str, Any]:
    """What came of one badly trained network."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_file(badly_trained(seed), folder / "net.safetensors")
        home = ("--home", folder / "home")
        model = [f"model={HERE / 'net.py'}", f"model.weights={folder / 'net.safetensors'}", "benchmark.dataset=digits"]
        asked = ["run", CONFIG, *model, *(SMALL if is_smoke else []), "--seed", seed, "--address", "local", *home]
        told = evolve(*asked)
        exports = {
            kind: evolve("blocks", "export", "improved", "--tier", "lite", "--format", kind, "-o", folder / file, *home)
            for kind, file in (("torch", "better.py"), ("onnx", "better.onnx"))
        }
        differences = {kind: found["largest_difference"] for kind, found in exports.items()}
        return {"seed": seed, **told["improved"], "differences": differences}


def draw(results: list[dict[str, Any]]) -> None:
    mpl.use("agg")
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for what, marker in (("model", "x"), ("ultimate", "o"), ("pro", "s"), ("lite", "v")):
        entries = [entry for row in results for entry in row["compared"] if entry["what"] == what]
        axes.scatter(
            [e["share"] for e in entries], [e["heldout"]["accuracy"] for e in entries], label=what, marker=marker
        )
    axes.axvline(0.5, color="0.6", linestyle="--")
    axes.set(xlabel="FLOPs, of the model's", ylabel="accuracy on held-out rows", xlim=(0, 1.05))
    axes.legend(fontsize=8)
    figure.savefig(HERE / "plot.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    results = []
    for seed in range(1 if given.smoke else given.seeds):
        results.append(study(seed, given.smoke))
        told = ", ".join(
            f"{e['what']} {e['heldout'].get('accuracy', float('nan')):.4f} at {e['share']:.0%}"
            for e in results[-1]["compared"]
        )
        print(f"seed {seed}: {results[-1]['decision']}; {told}", flush=True)
        if not given.smoke:  # after each, so that what was measured is there whatever comes next
            write_record(HERE / "results.json", {"steps": STEPS, "rate": RATE, "batch": BATCH}, results)
            draw(results)


if __name__ == "__main__":
    main()
