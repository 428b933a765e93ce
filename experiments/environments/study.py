"""What does it cost to solve CartPole-v1 and Pendulum-v1, beside evosax with gymnax, and what does one step of episodes cost?

    python -m experiments.environments.study --rival PYTHON     PYTHON has evosax and gymnax installed
    python -m experiments.environments.study --smoke            seconds, writes nothing

Writes ``results.json`` and ``plot.png`` beside this file; README.md there says what they mean. Every run is a process of its
own, timed from its start to its end, after one of each that is not counted; ours and the rival's take turns, and in who goes
first, so that a busy machine is busy for both. A part that is run replaces what was there of it, unless ``--add``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch

from evolve.config.campaign import load_config
from evolve.planning.plan import make_plan
from experiments.record import read_record, write_record
from fitness.benchmarks.episodes import Episodes
from fitness.judges.judge import InlineJudge, Judge, SubprocessJudge
from fitness.scoring.examiner import Examiner
from fitness.work.work_unit import Judging
from population.stacks.stack import Stack

HERE = Path(__file__).parent
CONFIGS = HERE.parent.parent / "configs"
#: The fastest of five of evosax's algorithms with two policies in a trial; with the policy that the config has, one linear
#: layer.
RIVALS = ("Open_ES",)
TARGET = 3.0
#: The mean return over 16 held-out episodes at which CartPole-v1 counts as solved.
SOLVED = 475.0
OURS = "this project"
#: What makes a run of ours take seconds.
QUICK = ("strategy.population=8", "stop.generations=1", "promote=null", "benchmark.environment.max_steps=30")


def ours(config: str, seed: int, *overrides: str) -> dict[str, Any]:
    """Returns one campaign of the program, from its start to its end: what it reached and took."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "evolve", "run", str(CONFIGS / config), "--seed", str(seed), "--json"]
        command += ["--home", f"{folder}/home", *overrides]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
        began = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "seed": seed,
        "total_s": seconds,
        "campaign_s": found["seconds"],
        "generations": found["generations"],
        "evaluations": found["evaluations"],
        "validation": found["scores"]["ultimate"]["return"],
        "heldout": found["heldout"].get("ultimate", {}).get("return"),
    }


def rival(python: str, algorithm: str, seed: int) -> dict[str, Any]:
    """Returns one search of evosax with gymnax, its process from its start to its end."""
    began = time.perf_counter()
    done = subprocess.run(
        [python, str(HERE / "rival.py"), algorithm, "0", str(seed)], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "total_s": time.perf_counter() - began}


def step_cost(config: str, num_policies: int, judge: Judge, rounds: int) -> dict[str, float]:
    """Returns milliseconds a step of a match of random policies: the least and the median over some matches, and the CPU time
    that the process here and the jailed ones took for the last, which a busy machine changes little."""
    plan = make_plan(load_config(CONFIGS / config))
    episodes = plan.benchmark
    assert isinstance(episodes, Episodes)
    drawn = torch.Generator().manual_seed(0)
    stack = Stack.zeros(plan.graph, num_policies)
    tensors = {name: torch.randn(tensor.shape, generator=drawn) for name, tensor in stack.tensors.items()}
    examiner, taken, cpu = Examiner(episodes, judge), [], []
    for _ in range(rounds + 1):
        began, used = time.perf_counter(), cpu_s(examiner, judge)
        judged = examiner.examine(stack.replace(tensors=tensors), Judging("train", {"ultimate": {}}))
        longest = max(judged.merits.max(), 1.0) if episodes.actions.choices else episodes.max_steps
        taken.append(1000.0 * (time.perf_counter() - began) / float(longest))
        cpu.append(1000.0 * (cpu_s(examiner, judge) - used) / float(longest))
    examiner.close()
    judge.close()
    return {"least_ms": min(taken[1:]), "median_ms": statistics.median(taken[1:]), "cpu_ms": statistics.median(cpu[1:])}


def cpu_s(examiner: Examiner, judge: Judge) -> float:
    """Returns the CPU time of this process and of the jailed ones that play."""
    cells = [examiner._simulator._cell] if examiner._simulator is not None else []
    cells += [judge._cell] if isinstance(judge, SubprocessJudge) else []
    return time.process_time() + sum(cell.child.cpu_s() for cell in cells if cell.child is not None)


def plot(found: dict[str, Any], path: Path) -> None:
    """Draws the wall times of all runs, and the cost of a step."""
    mpl.use("agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    names = [OURS, *found["rival"]]
    for place, runs in enumerate([found["cartpole"], *found["rival"].values()]):
        times = [run["total_s"] for run in runs]
        left.plot([place] * len(times), times, "o", color=f"C{place}")
        left.plot([place - 0.2, place + 0.2], [statistics.median(times)] * 2, color="black")
    left.set_xticks(range(len(names)), [names[0], *(f"evosax {name}" for name in names[1:])])
    left.set(ylabel="seconds, whole process", title="CartPole-v1 to 475 over 16 held-out episodes", ylim=(0, None))
    labels, costs = list(found["steps"]), [cost["cpu_ms"] for cost in found["steps"].values()]
    right.barh(labels, costs, color="C0")
    right.invert_yaxis()
    right.axvline(1.0, color="0.6", linestyle="--")
    right.set(xlabel="milliseconds of CPU a step, all processes together", title="one step of a match")
    figure.savefig(path, dpi=120)


def steps(rounds: int) -> dict[str, dict[str, float]]:
    """Returns the cost of a step by what is played."""
    found = {}
    for config, num_policies in (
        ("cartpole.yaml", 1),
        ("cartpole.yaml", 32),
        ("pendulum.yaml", 32),
        ("pendulum.yaml", 128),
    ):
        for name, judge in (("inline", InlineJudge()), ("jailed", SubprocessJudge())):
            found[f"{config.removesuffix('.yaml')}, {num_policies} x 16, {name}"] = step_cost(
                config, num_policies, judge, rounds
            )
    return found


def race(found: dict[str, Any], python: str, seeds: Sequence[int], *, adds: bool) -> None:
    """Lets ours and the rivals solve CartPole-v1 in turns, into ``found``; whoever began with one seed is last with the next."""
    runs: dict[str, list[dict[str, Any]]] = {OURS: [], **{name: [] for name in RIVALS}}
    ours("cartpole.yaml", 0, *QUICK)
    subprocess.run([python, "-c", "import evosax, gymnax"], check=True)
    for number, seed in enumerate(seeds):
        turns = list(runs) if number % 2 == 0 else list(runs)[::-1]
        for name in turns:
            runs[name].append(ours("cartpole.yaml", seed) if name == OURS else rival(python, name, seed))
        print(seed, {name: (of[-1]["total_s"], of[-1]["heldout"]) for name, of in runs.items()}, flush=True)
    if adds:
        before = {OURS: found.get("cartpole", []), **found.get("rival", {})}
        runs = {name: [*before.get(name, []), *of] for name, of in runs.items()}
    medians = {name: statistics.median(run["total_s"] for run in of) for name, of in runs.items()}
    solved = {name: sum((run["heldout"] or 0.0) >= SOLVED for run in of) for name, of in runs.items()}
    found["solved"] = {name: f"{count} of {len(runs[name])}" for name, count in solved.items()}
    found["fastest_rival"] = best = min(RIVALS, key=lambda name: medians[name])
    found["ratio"] = medians[OURS] / medians[best]
    found["cartpole"] = runs.pop(OURS)
    found["rival"] = runs
    print({"medians_s": medians, "ratio": found["ratio"], "solved": found["solved"]}, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rival", metavar="PYTHON", help="a Python with evosax and gymnax")
    parser.add_argument(
        "--part", choices=["cartpole", "pendulum", "steps", "plot"], help="only this, into what is there"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--add", action="store_true", help="add to the runs in results.json instead of replacing them")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    if given.smoke:
        print(ours("cartpole.yaml", 0, *QUICK), step_cost("pendulum.yaml", 4, InlineJudge(), 1))
        return
    if given.rival is None and given.part in (None, "cartpole"):
        parser.error("name a Python with evosax and gymnax: --rival PYTHON")
    measure(given)


def measure(given: argparse.Namespace) -> None:
    """Runs the parts that were asked for; each is kept as soon as it is done."""
    path = HERE / "results.json"
    before = read_record(path) if path.exists() else {"results": {}, "settings": {}}
    found, settings = before["results"], before["settings"] if given.part else {}
    settings |= {"target_ratio": TARGET, "gymnasium": metadata.version("gymnasium")}
    settings["load"] = os.getloadavg()[0]
    seeds = range(given.first, given.first + given.seeds)
    if given.part in (None, "cartpole"):
        race(found, given.rival, seeds, adds=given.add)
        write_record(path, settings, found)
    if given.part in (None, "steps"):
        found["steps"] = steps(5)
        write_record(path, settings, found)
    if given.part in (None, "pendulum"):
        found["pendulum"] = found.get("pendulum", []) if given.add else []
        for seed in seeds:
            found["pendulum"].append(ours("pendulum.yaml", seed))
            print(found["pendulum"][-1], flush=True)
        write_record(path, settings, found)
    if all(key in found for key in ("cartpole", "steps")):
        plot(found, HERE / "plot.png")


if __name__ == "__main__":
    main()
