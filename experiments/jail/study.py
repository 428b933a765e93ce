"""What does the jail cost: throughput against the same kernels in this process, and the time until a child is ready?

    python -m experiments.jail.study            P = 256 and 1,024, 30 rounds each
    python -m experiments.jail.study --smoke

Rounds alternate between the two judges on one stack of a 64-32-10 network on digits; ratios are taken round by round.
Writes ``results.json`` beside this file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from fitness.datasets import digits
from fitness.evaluator import Judging
from fitness.judge import InlineJudge, Judge, SubprocessJudge
from fitness.judging import judge_stack
from population.graph import OpGraph
from population.stack import Stack

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
    ready_ms = {"median": statistics.median(ready), "p99": ready[-1 - len(ready) // 100]}
    record = {"level": level, "cost": cost, "ready_ms": ready_ms}
    print(json.dumps(record, indent=1))
    if not smoke:
        (HERE / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
