"""Which operations let a block answer by the order of tokens, after equally many candidates?

    python -m experiments.sequences.study            three seeds, six networks
    python -m experiments.sequences.study --seeds 1 --smoke

Every network is evolved on the benchmark `token_order` for the same number of generations. Networks that cannot tell
orders apart are among them: they must stay at chance. Writes ``results.json`` and ``plot.png`` beside this file; README.md
there says what they mean.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
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
CONFIG = HERE.parent.parent / "configs" / "sequences.yaml"
GENERATIONS = 6
CHANCE = 1 / 3

MASK = {"name": "mask", "op": "not_equal", "inputs": ["tokens"]}
EMBED = {"name": "embed", "op": "embedding", "inputs": ["tokens"], "num_embeddings": 12, "out": "units"}
PLACED = {"name": "placed", "op": "positional_encoding", "inputs": ["embed"], "width": 16}
HEAD = {"name": "head", "op": "linear", "inputs": ["last"], "out": 3}


def attention(reads: str) -> list[Mapping[str, Any]]:
    """Self-attention with its residual, then a layer of units place by place, and the mean over the places."""
    return [
        {"name": "mixed", "op": "multi_head_attention", "inputs": [reads, "mask"], "out": "units", "heads": 2,
         "head_width": 8},
        {"name": "residual", "op": "add", "inputs": [reads, "mixed"]},
        {"name": "wide", "op": "conv1d", "inputs": ["residual"], "out": "state", "kernel": 1},
        {"name": "act", "op": "gelu", "inputs": ["wide"]},
        {"name": "last", "op": "masked_mean", "inputs": ["act", "mask"]},
    ]  # fmt: skip


def recurrent(reads: str) -> Mapping[str, Any]:
    """A GRU that gives its last state."""
    return {"name": "last", "op": "gru", "inputs": [reads, "mask"], "out": "state", "returns": "last"}


WINDOWS: Sequence[Mapping[str, Any]] = (
    {"name": "live", "op": "reshape", "inputs": ["mask"], "shape": [1, 12]},
    {"name": "seen", "op": "concatenate", "inputs": ["embed", "live"]},
    {"name": "wide", "op": "conv1d", "inputs": ["seen"], "out": "state", "kernel": 5, "padding": 2},
    {"name": "act", "op": "gelu", "inputs": ["wide"]},
    {"name": "last", "op": "flatten", "inputs": ["act"]},
)
#: By name: nodes between the tokens and the head. The first two cannot tell orders apart.
NETWORKS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "bag": (
        MASK,
        EMBED,
        {"name": "mean", "op": "masked_mean", "inputs": ["embed", "mask"]},
        {"name": "wide", "op": "linear", "inputs": ["mean"], "out": "state"},
        {"name": "last", "op": "gelu", "inputs": ["wide"]},
        HEAD,
    ),
    "attention without marks": (MASK, EMBED, *attention("embed"), HEAD),
    "attention with marks": (MASK, EMBED, PLACED, *attention("placed"), HEAD),
    "windows": (MASK, EMBED, *WINDOWS, HEAD),
    "gru": (MASK, EMBED, recurrent("embed"), HEAD),
    "shipped": (),
}


def one_run(network: str, seed: int, generations: int) -> dict[str, Any]:
    """Returns what one campaign of a network reached."""
    values = read_yaml(CONFIG)
    if NETWORKS[network]:
        values["graph"]["nodes"] = list(NETWORKS[network])
    values |= {
        "seed": seed,
        "tiers": None,
        "gates": [],
        "widths": {},
        "objectives": ["accuracy", "cross_entropy"],
        "strategy": {"kind": "ga", "population": 8},
        "stop": {"generations": generations},
        "promote": None,
    }
    config = check_config(values)
    benchmark = benchmark_of(config)
    began = time.monotonic()
    result = run(config, benchmark, workers=2)
    assert result.champion is not None
    graph = result.champion.graph
    return {
        "network": network,
        "seed": seed,
        "validation": result.summary["scores"]["ultimate"]["accuracy"],
        "heldout": heldout_accuracy(result.champion, benchmark)["ultimate"],
        "flops_a_sample": graph.flops(graph.symbols),
        "evaluations": result.summary["evaluations"],
        "flops": result.summary["flops"],
        "seconds": time.monotonic() - began,
    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws held-out accuracy by network, and chance."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for place, name in enumerate(NETWORKS):
        values = [row["heldout"] for row in rows if row["network"] == name]
        axes.plot([place] * len(values), values, "o", alpha=0.6)
        if values:
            axes.hlines(np.median(values), place - 0.25, place + 0.25, color="black")
    axes.axhline(CHANCE, color="grey", linewidth=0.8, linestyle="--", label="chance")
    axes.set_xticks(range(len(NETWORKS)), list(NETWORKS), rotation=15)
    axes.set_ylim(0.25, 1.02)
    axes.set_ylabel("held-out accuracy")
    axes.legend(loc="lower right")
    figure.suptitle("which of three tokens comes first: dots are seeds, bars medians")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Runs the study."""
    mpl.use("agg")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="a single generation, files under a name of their own")
    arguments = parser.parse_args()
    generations = 1 if arguments.smoke else GENERATIONS
    rows = []
    for seed in range(arguments.seeds):
        for network in NETWORKS:
            rows.append(one_run(network, seed, generations))
            last = rows[-1]
            found = f"held-out {last['heldout']:.4f}, {last['evaluations']} evaluations, {last['seconds']:.0f} s"
            print(f"{network:24} seed {seed}: {found}", flush=True)
    name = "smoke" if arguments.smoke else "results"
    settings = {"generations": generations, "seeds": arguments.seeds, "networks": NETWORKS}
    write_record(HERE / f"{name}.json", settings, rows)
    plot(rows, HERE / ("smoke.png" if arguments.smoke else "plot.png"))


if __name__ == "__main__":
    main()
