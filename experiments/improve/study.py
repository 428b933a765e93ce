"""Does a PyTorch CNN that was trained badly on purpose come back better, or at most half as large?

    python -m experiments.improve.study                     both data sets, seeds 0 to 4
    python -m experiments.improve.study --data digits --seeds 2
    python -m experiments.improve.study --plain PYTHON      and what is exported, run there without this project
    python -m experiments.improve.study --promises          and the same campaign killed, on two workers with Ray, and rebuilt
    python -m experiments.improve.study --smoke             one seed each, small campaigns; writes nothing

Each seed trains a network for 12 steps of plain gradient descent and runs ``evolve run configs/improve.yaml`` on it in a home of
its own; the champion's highest and lowest tiers are exported as PyTorch and ONNX. Writes ``results.json`` and ``plot.png``
beside this file; what is there of other data sets and seeds stays.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from evolve.home.home import Home
from experiments.improve.data import CASES, Case
from experiments.record import read_record, write_record
from fitness.benchmarks.arrays import ArraySettings, ArrayTarget, benchmark_of_arrays
from fitness.benchmarks.benchmark import Benchmark
from population.blocks.block import load_block
from population.inputs.archives import read_npz
from population.stacks.interpreters import run_block

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "configs" / "improve.yaml"
RESULTS = HERE / "results.json"
SETTINGS = {"steps": 12, "rate": 0.02, "batch": 32}  # of the bad training
SMALL = ["strategy.population=4", "stop.generations=2", "tiers.distil.steps=50"]
EXPORTED = ("ultimate", "lite")
SAME = ("population", "lineage", "champion")


def trained(case: Case, data: Benchmark, seed: int, is_badly: bool) -> nn.Module:
    """A network after a few plain steps on training rows; or, to compare with, after what `tiers.distil` takes."""
    rows = data.rows("train")
    inputs = torch.from_numpy(data.inputs[case.channel][rows])
    labels = torch.from_numpy(data.targets[0].values[rows])
    steps, batch = (int(SETTINGS["steps"]), int(SETTINGS["batch"])) if is_badly else (600, 64)
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(seed)
        network = case.network()
        optimiser: torch.optim.Optimizer = torch.optim.SGD(network.parameters(), lr=SETTINGS["rate"])
        if not is_badly:
            optimiser = torch.optim.AdamW(network.parameters(), lr=0.003, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: 1.0 if is_badly else (1 + math.cos(math.pi * step / steps)) / 2
        )
        for _ in range(steps):
            chosen = torch.randint(0, len(inputs), (batch,))
            optimiser.zero_grad()
            functional.cross_entropy(network(inputs[chosen]), labels[chosen]).backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def retrained(case: Case, data: Benchmark, seed: int) -> float:
    """The accuracy on held-out rows of the same network, trained anew in plain PyTorch."""
    network = trained(case, data, seed, is_badly=False)
    logits = network(torch.from_numpy(data.inputs_of("heldout")[case.channel]))
    return _accuracy(logits.detach().numpy(), data.targets_of("heldout")[0])


def evolve(*arguments: object) -> Any:
    """What a command prints with --json, the last line of it."""
    command = [sys.executable, "-P", "-m", "evolve", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def study(name: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """What came of one badly trained network."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        case.write(folder / "data.npz")
        arrays = read_npz((folder / "data.npz").read_bytes())
        data = benchmark_of_arrays(arrays, ArraySettings({"label": ArrayTarget()}))
        save_file(trained(case, data, seed, is_badly=True).state_dict(), folder / "net.safetensors")
        home = ("--home", folder / "home")
        model = [f"model={case.file}", f"model.weights={folder / 'net.safetensors'}"]
        rows = [f"data.path={folder / 'data.npz'}", "data.target=label"]
        asked = ["run", CONFIG, *model, *rows, *(SMALL if given.smoke else []), "--seed", seed]
        began = time.perf_counter()
        told = evolve(*asked, "--address", "local", *home)
        seconds = time.perf_counter() - began
        (folder / "out").mkdir()
        differences = {tier: exported(tier, folder / "out", home) for tier in EXPORTED}
        found = {"data": name, "seed": seed, **told["improved"], "seconds": seconds, "differences": differences}
        found["retrained"] = retrained(case, data, seed)
        if given.plain is not None:
            found["plain"] = run_plainly(given.plain, folder, told["champion"], data)
        if given.promises:
            found["promises"] = promised(asked, folder, told, seconds)
        return found


def promised(asked: list[Any], folder: Path, told: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Whether a campaign has the same hashes on two workers with Ray, and on one killed on its way; and is rebuilt to its digest.

    Where it was killed: how many candidates had been committed by then.
    """
    ray = evolve(*asked, "--workers", 2, "--address", "", "--home", folder / "ray")
    home = ("--home", folder / "killed")
    again = [*asked, "--workers", 1, "--address", "local", *home]
    driver = subprocess.Popen(
        [sys.executable, "-P", "-m", "evolve", *map(str, again)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(0.7 * seconds)  # one worker takes longer
    driver.kill()
    driver.wait()
    (status,) = evolve("status", *home)
    killed = evolve("resume", "improved", "--workers", 1, *home)
    rebuilt = evolve("rebuild", told["champion"], "--home", folder / "home")
    return {
        "ray": all(ray[name] == told[name] for name in SAME),
        "killed": all(killed[name] == told[name] for name in SAME),
        "killed_at": {name: status[name] for name in ("state", "evaluations")},
        "rebuilt": rebuilt["same"],
    }


def exported(tier: str, folder: Path, home: tuple[object, ...]) -> dict[str, float]:
    """Exports a tier in both formats; how far each lies from the block on seeded inputs."""
    found = {}
    for kind, ending in (("torch", "py"), ("onnx", "onnx")):
        asked = ("blocks", "export", "improved", "--tier", tier, "--format", kind, "-o", folder / f"{tier}.{ending}")
        found[kind] = evolve(*asked, *home)["largest_difference"]
    return found


def run_plainly(python: str, folder: Path, champion: str, data: Benchmark) -> dict[str, Any]:
    """What the exported files answer to held-out rows in an environment without this project.

    Of each: its accuracy, that of the block, the largest difference of outputs, and the largest output.
    """
    (inputs,), (labels,) = data.inputs_of("heldout").items(), data.targets_of("heldout")
    np.savez(folder / "out" / "rows.npz", inputs[1])
    command = [python, "-I", str(HERE / "plain.py"), str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    block, found = load_block(Home.open(folder / "home").block_store(), champion), {}
    for tier in EXPORTED:
        with torch.no_grad():
            (wanted,) = run_block(block, {inputs[0]: torch.from_numpy(inputs[1])}, tier).values()
        found[tier] = {"block": _accuracy(wanted.numpy(), labels), "largest": float(wanted.abs().max())}
        for kind in ("torch", "onnx"):
            answer = np.load(folder / "out" / f"{tier}.{kind}.npy")
            difference = float(np.abs(answer - wanted.numpy()).max())
            found[tier][kind] = {"accuracy": _accuracy(answer, labels), "difference": difference}
    return {"versions": json.loads(done.stdout), **found}


def _accuracy(logits: Any, labels: Any) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def draw(results: list[dict[str, Any]]) -> None:
    mpl.use("agg")
    figure, all_axes = plt.subplots(1, len(CASES), figsize=(9, 4), layout="constrained", squeeze=False)
    for axes, data in zip(all_axes[0], CASES, strict=True):
        for what, marker in (("model", "x"), ("ultimate", "o"), ("pro", "s"), ("lite", "v")):
            rows = [row["compared"] for row in results if row["data"] == data]
            entries = [entry for row in rows for entry in row if entry["what"] == what]
            shares, found = [e["share"] for e in entries], [e["heldout"]["accuracy"] for e in entries]
            axes.scatter(shares, found, label=what, marker=marker)
        axes.axvline(0.5, color="0.6", linestyle="--")
        axes.set(title=data, xlabel="FLOPs, of the model's", ylabel="accuracy on held-out rows", xlim=(0, 1.05))
    all_axes[0][0].legend(fontsize=8)
    figure.savefig(HERE / "plot.png", dpi=120)


def keep(fresh: dict[str, Any]) -> None:
    """Writes a result down beside those of other data sets and seeds."""
    results = read_record(RESULTS)["results"] if RESULTS.exists() else []
    held = {(row["data"], row["seed"]): row for row in [*results, fresh]}
    ordered = sorted(held.values(), key=lambda row: (list(CASES).index(row["data"]), row["seed"]))
    write_record(RESULTS, SETTINGS, ordered)
    draw(ordered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--plain", metavar="PYTHON", help="of an environment with torch, onnxruntime and safetensors")
    parser.add_argument("--promises", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    for seed in range(1 if given.smoke else given.seeds):
        for data in given.data:
            result = study(data, seed, given)
            told = ", ".join(
                f"{e['what']} {e['heldout'].get('accuracy', float('nan')):.4f} at {e['share']:.0%}"
                for e in result["compared"]
            )
            print(f"{data}, seed {seed}: {result['decision']}; {told}; {result['seconds']:.0f} s", flush=True)
            for extra in ("plain", "promises"):
                if extra in result:
                    print(f"  {extra}: {json.dumps(result[extra])}", flush=True)
            if not given.smoke:  # after each, so that what was measured is there whatever comes next
                keep(result)


if __name__ == "__main__":
    main()
