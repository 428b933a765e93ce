"""What does the jail cost: throughput against the same kernels in this process, and the time until a child is ready?

    python -m experiments.jail.study            P = 256 and 1,024, 30 rounds each
    python -m experiments.jail.study --smoke

Rounds alternate between the two judges on one stack of a 64-32-10 network on digits; ratios are taken round by round.
Writes ``results.json`` and ``plot.png`` beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch

from experiments.record import write_record
from fitness.benchmarks.registry import digits
from fitness.judges.judge import InlineJudge, Judge, SubprocessJudge
from fitness.scoring.judge_rows import judge_stack
from fitness.work.work_unit import Judging
from population.graphs.graph import OpGraph
from population.stacks.stack import Stack

HERE = Path(__file__).parent
JUDGING = Judging("validation", {"ultimate": {}})


def network(num_rows: int, shape: tuple[int, ...], channel: str) -> Stack:
    """Returns random rows of the 64-32-10 network."""
    nodes = [
        {"name": "flat", "op": "flatten", "inputs": [channel]},
        {"name": "hidden", "op": "linear", "inputs": ["flat"], "out": 32},
        {"name": "active", "op": "relu", "inputs": ["hidden"]},
        {"name": "out", "op": "linear", "inputs": ["active"], "out": 10},
    ]
    inputs = {channel: {"shape": list(shape), "dtype": "float32"}}
    graph = OpGraph.from_value({"inputs": inputs, "nodes": nodes, "outputs": {"logits": "out"}})
    generator = torch.Generator().manual_seed(1)
    stack = Stack.zeros(graph, num_rows)
    return stack.replace(tensors={n: 0.2 * torch.randn(t.shape, generator=generator) for n, t in stack.tensors.items()})


def seconds(judge: Judge, stack: Stack, benchmark: Any) -> float:
    began = time.perf_counter()
    judge_stack(stack, benchmark, judge, JUDGING)
    return time.perf_counter() - began


def compare(num_rows: int, rounds: int, judges: tuple[Judge, Judge]) -> dict[str, Any]:
    """Returns throughputs and the median of the rounds' ratios, jailed against inline."""
    benchmark = digits(objectives=("accuracy",), split_seed=0)
    ((channel, array),) = benchmark.inputs.items()
    stack = network(num_rows, array.shape[1:], channel)
    for judge in judges:
        seconds(judge, stack, benchmark)
    pairs = [tuple(seconds(judge, stack, benchmark) for judge in judges) for _ in range(rounds)]
    inline, jailed = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    return {
        "population": num_rows,
        "inline_per_s": num_rows / inline,
        "jailed_per_s": num_rows / jailed,
        "ratio": ratio,
        "ratios": sorted(one / other for one, other in pairs),
    }


def ready_times(judge: SubprocessJudge, rounds: int) -> list[float]:
    """Returns the milliseconds from asking the zygote for a child until its walls stand, sorted."""
    found = []
    for _ in range(rounds):
        judge._cell.end_child()
        began = time.perf_counter()
        judge._cell.ready(1, 1)
        found.append(1000 * (time.perf_counter() - began))
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few rounds, and nothing is written")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    rounds = 2 if smoke else 30
    inline, jailed = InlineJudge(), SubprocessJudge()
    try:
        level = jailed.level
        cost = [compare(num, rounds, (inline, jailed)) for num in (256, 1024)]
        ready = ready_times(jailed, 5 if smoke else 100)
    finally:
        jailed.close()
    ready_ms = {"median": statistics.median(ready), "least": ready[0], "p99": ready[-1 - len(ready) // 100]}
    results = {"level": level, "cost": cost, "ready_ms": ready_ms, "ready_all_ms": ready}
    print(json.dumps({"level": level, "ratios": [each["ratio"] for each in cost], "ready_ms": ready_ms}, indent=1))
    if not smoke:
        load = os.getloadavg()[0]
        write_record(HERE / "results.json", {"rounds": rounds, "load_at_the_end": load}, results)
        plot(results, HERE / "plot.png")


def plot(results: dict[str, Any], path: Path) -> None:
    """Draws the rounds' ratios and the times to a ready child, each as a distribution."""
    mpl.use("agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for each in results["cost"]:
        ranks = [(rank + 0.5) / len(each["ratios"]) for rank in range(len(each["ratios"]))]
        left.plot(each["ratios"], ranks, drawstyle="steps", label=f"P = {each['population']:,}")
    left.axvline(0.9, color="grey", linewidth=0.8)
    left.set_xlabel("throughput in the jail / outside, by round")
    left.set_ylabel("share of rounds")
    left.legend()
    ready = results["ready_all_ms"]
    right.plot(ready, [(rank + 0.5) / len(ready) for rank in range(len(ready))], drawstyle="steps")
    right.axvline(20, color="grey", linewidth=0.8)
    right.set_xlabel("milliseconds until a child's walls stand")
    right.set_xlim(left=0)
    right.set_ylabel("share of forks")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
