"""What do jail, lineage and tracking cost a generation, each and together?

    python -m experiments.durable_cost.study                         populations of 256 and 1,024, 10 rounds each
    python -m experiments.durable_cost.study --rounds 4 --smoke

Five campaigns of one seed live side by side in one process, each with another part left out, and take turns of a few
generations, in an order that rotates. So all meet the same machine, and generation n is the same work in all of them.
Writes ``results.json`` and ``plot.png`` beside this file; README.md there says what they mean.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch

from evolve.campaign.state import State
from evolve.campaign.summary import progress_of
from evolve.campaign.transition import begin
from evolve.config.campaign import check_config, read_yaml
from evolve.driver.loop import Hands, Interrupted, drive
from evolve.home.home import Home
from evolve.planning.plan import Plan, make_plan
from evolve.recovery.checkpoints import Checkpoints
from evolve.recovery.shelf import MemoryShelf, StoreShelf
from evolve.tracking.mlflow_tracker import MlflowTracker
from evolve.tracking.protocol import NullTracker, Tracker
from experiments.record import read_record, write_record
from fitness.evaluators.child_processes import ProcessEvaluator
from population.clock import SystemClock
from population.lineage.format.records import Commit
from population.lineage.journal.writer import LineageWriter

HERE = Path(__file__).parent
CONFIG = HERE.parent.parent / "configs" / "digits-es.yaml"
MATERIALISE = "evolve.recipes.materialise:materialise"
PARTS = ("jail", "lineage", "tracking")
VARIANTS: Mapping[str, frozenset[str]] = {
    "everything": frozenset(PARTS),
    **{f"no {part}": frozenset(PARTS) - {part} for part in PARTS},
    "none of them": frozenset(),
}
#: The first generations fill caches and start threads.
WARM_UP = 3
#: Generations a turn: long enough for the tracker, which speaks about once a second, to do so in its own campaign's turn.
#: Ten rounds are whole periods of keyframes, which come every tenth generation.
TURN = {256: 5, 1024: 2}
CPU = "cpu "
TRACKER_START_S = 120.0
#: What "together" may cost, as a part of a generation, by population.
WANTED = {256: 0.15, 1024: 0.10}


def config_of(population: int, rounds: int) -> dict[str, Any]:
    """Returns the values of the campaign: the network of digits-es at full width, cheap operators alone, no tiers."""
    return {
        **read_yaml(CONFIG),
        "name": "cost",
        "graph": {**read_yaml(CONFIG)["graph"], "symbols": {"hidden": 32}},
        "objectives": ["accuracy", "flops"],
        "strategy": {"kind": "ga", "population": population},
        "operators": {"gaussian": {}},
        "tiers": None,
        "stop": {"generations": rounds * TURN.get(population, 1) + WARM_UP + 2},
        "promote": None,
    }


class Turns:
    """One campaign at a time has the word. A campaign that ends or fails gives it back for good."""

    def __init__(self) -> None:
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)

    def take(self) -> float:
        """Lets the campaign live until its next generation is told; returns the seconds that took."""
        began = time.perf_counter()
        self._go.release()
        self._done.acquire()
        return time.perf_counter() - began

    def wait(self) -> None:
        """Waits for the word; called by the campaign."""
        self._go.acquire()

    def give(self) -> None:
        """Gives the word back; called by the campaign."""
        self._done.release()


class Variant:
    """A campaign on a thread of its own, with some parts left out."""

    def __init__(self, name: str, plan: Plan, root: Path, stack: contextlib.ExitStack) -> None:
        self.name, self.turns, self.error = name, Turns(), ""
        self._parts = VARIANTS[name]
        self._interrupted = threading.Event()
        self._plan, self._clock = plan, SystemClock()
        self._evaluator = ProcessEvaluator(plan.benchmark, MATERIALISE, is_jailed="jail" in self._parts)
        stack.callback(self._evaluator.close)
        self._plan = replace(plan, sandbox_level=self._evaluator.sandbox_level)
        self._home = Home.create(root / name.replace(" ", "-"))
        self.tracker: Tracker = self._make_tracker()
        stack.callback(self.tracker.close)
        self._writer: LineageWriter | None = None
        self._commit = self._make_commit(stack)
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        stack.callback(self._end)

    def _make_tracker(self) -> Tracker:
        if "tracking" not in self._parts:
            return NullTracker()
        return MlflowTracker(self._home.mlflow_uri, self._home.artifacts_root)

    def _make_commit(self, stack: contextlib.ExitStack) -> Callable[[Commit], None]:
        if "lineage" not in self._parts:
            return lambda commit: None
        writer = stack.enter_context(LineageWriter(self._home.files, self._home.root, "cost", self._clock))
        self._writer = writer

        def commit(found: Commit) -> None:
            rows = {table: [{**row, "campaign": "cost"} for row in entries] for table, entries in found.rows.items()}
            for row in rows.get("campaigns", []):
                row["started"] = self._clock.now()
            writer.commit(replace(found, rows=rows))

        return commit

    def _live(self) -> None:
        self.turns.wait()
        shelf = (
            StoreShelf(self._plan, self._home.block_store()) if "lineage" in self._parts else MemoryShelf(self._plan)
        )
        checkpoints = Checkpoints(self._plan, self._home.files, self._home.root)
        began, seen = self._clock.monotonic(), 1
        self.tracker.begin("cost", self._plan.config.model_dump(mode="json"), {})

        def observe(state: State) -> None:
            nonlocal seen
            report = progress_of(self._plan, state, self._clock.monotonic() - began)
            if state.step > seen:
                seen = state.step
                if self._writer is not None:
                    checkpoints.offer(state, self._writer.last_commit)
                shares = {f"share_{name}": value for name, value in report.operator_shares.items()}
                best = {f"best_{name}": value for name, value in report.best.items()}
                counts = {"evaluations": float(report.evaluations), "flops": report.flops}
                self.tracker.generation(state.step, {**best, **shares, **counts})
                self.turns.give()
                self.turns.wait()

        hands = Hands(self._evaluator, self._commit, shelf, self._clock, observe, self._interrupted)
        try:
            drive(self._plan, begin(self._plan), hands)
        except Interrupted:
            pass
        except Exception as error:  # noqa: BLE001 - told by the thread that waits
            self.error = f"{type(error).__name__}: {error}"
        self.turns.give()

    def settle(self) -> None:
        """Waits until the tracker has begun its run: MLflow's import and its tables are no generation's cost."""
        if isinstance(self.tracker, MlflowTracker):
            until = time.monotonic() + TRACKER_START_S
            while self.tracker.session.run is None:
                if time.monotonic() > until:
                    raise RuntimeError(f"{self.name}: MLflow did not start in {TRACKER_START_S:.0f} s")
                time.sleep(0.1)

    def _end(self) -> None:
        self._interrupted.set()
        self.turns.take()
        self._thread.join(60)


def measure(population: int, rounds: int) -> dict[str, list[float]]:
    """Returns the seconds and CPU seconds a generation took in each turn, by variant; turn i of all is the same work."""
    plan = make_plan(check_config(config_of(population, rounds)))
    seconds: dict[str, list[float]] = {kind + name: [] for kind in ("", CPU) for name in VARIANTS}
    with tempfile.TemporaryDirectory(prefix="evolve-cost-") as folder, contextlib.ExitStack() as stack:
        variants = [Variant(name, plan, Path(folder), stack) for name in VARIANTS]
        for variant in variants:
            _generations(variant, WARM_UP)
            variant.settle()
        gc.freeze()  # as a launched campaign does
        for number in range(rounds):
            start = number % len(variants)
            for variant in (*variants[start:], *variants[:start]):
                count, before = TURN.get(population, 1), cpu_seconds()
                seconds[variant.name].append(_generations(variant, count))
                seconds[CPU + variant.name].append((cpu_seconds() - before) / count)
    return seconds


def cpu_seconds() -> float:
    """Returns the CPU time of this process and of all below it so far: what neighbours on a busy machine change least."""
    fields: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
    family, size = {os.getpid()}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, found in fields.items() if int(found[1]) in family}
    ticks = sum(int(ticks) for pid in family for ticks in fields[pid][11:15])  # own and of ended children
    return ticks / os.sysconf("SC_CLK_TCK")


def _generations(variant: Variant, count: int) -> float:
    """Returns the seconds a generation took, on average over so many."""
    taken = sum(variant.turns.take() for _ in range(count))
    if variant.error:
        raise RuntimeError(f"{variant.name}: {variant.error}")
    return taken / count


def shares(seconds: Mapping[str, list[float]], kind: str = "") -> dict[str, dict[str, float]]:
    """Returns what each part costs, as a part of a whole generation: paired by turn, median and quartiles."""
    pairs = {part: f"no {part}" for part in PARTS} | {"together": "none of them"}
    found, everything = {}, seconds[kind + "everything"]
    for part, without in ((part, seconds[kind + name]) for part, name in pairs.items()):
        each = [(whole - less) / whole for whole, less in zip(everything, without, strict=True)]
        low, median, high = statistics.quantiles(each, n=4)
        sums = sum(everything), sum(without)
        fastest = statistics.quantiles(everything, n=4)[0], statistics.quantiles(without, n=4)[0]
        found[part] = {
            "median": median,
            "low": low,
            "high": high,
            "of_sums": 1.0 - sums[1] / sums[0],
            "of_lower_quartiles": 1.0 - fastest[1] / fastest[0],
        }
    return found


def plot(results: Mapping[int, Mapping[str, list[float]]], path: Path) -> None:
    """Draws what each part costs of a generation, by population: medians and quartiles."""
    figure, axes = plt.subplots(1, len(results), figsize=(5 * len(results), 4), layout="constrained", squeeze=False)
    for axis, (population, seconds) in zip(axes[0], results.items(), strict=True):
        found = shares(seconds)
        medians = [100 * share["median"] for share in found.values()]
        spread = [[100 * (share["median"] - share["low"]) for share in found.values()],
                  [100 * (share["high"] - share["median"]) for share in found.values()]]  # fmt: skip
        axis.bar(range(len(found)), medians, yerr=spread, color="tab:blue", alpha=0.7)
        axis.axhline(0, color="grey", linewidth=0.8)
        if population in WANTED:
            axis.axhline(100 * WANTED[population], color="tab:red", linewidth=0.8, linestyle="--")
        axis.set_xticks(range(len(found)), list(found))
        axis.set_title(f"population {population}: {statistics.median(seconds['everything']) * 1e3:.0f} ms a generation")
        axis.set_ylabel("% of a generation")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Runs the study."""
    mpl.use("agg")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--populations", type=int, nargs="+", default=list(WANTED))
    parser.add_argument("--smoke", action="store_true", help="a population of 32, files under a name of their own")
    arguments = parser.parse_args()
    results = {}
    for population in [32] if arguments.smoke else arguments.populations:
        results[population] = measure(population, arguments.rounds)
        for name, seconds in results[population].items():
            low, median, high = statistics.quantiles(seconds, n=4)
            print(
                f"{population:5} {name:13} median {median * 1e3:7.1f} ms ({low * 1e3:.1f} to {high * 1e3:.1f})",
                flush=True,
            )
        found = [(kind, *item) for kind in ("", CPU) for item in shares(results[population], kind).items()]
        for kind, part, share in found:
            spread = f"{share['low']:+.3f} to {share['high']:+.3f}"
            print(
                f"{population:5} {kind + part:13} {share['median']:+.3f} ({spread}), {share['of_sums']:+.3f} of sums, "
                f"{share['of_lower_quartiles']:+.3f} of lower quartiles"
            )
        save(results, arguments.rounds, "smoke" if arguments.smoke else "results")


def save(results: dict[int, dict[str, list[float]]], rounds: int, name: str) -> None:
    """Writes what was measured, with what an earlier run measured of other populations."""
    path = HERE / f"{name}.json"
    before = read_record(path)["results"] if path.exists() else {}
    whole = {int(population): found["seconds"] for population, found in before.items()} | results
    whole = dict(sorted(whole.items()))
    settings = {"rounds": rounds, "warm_up": WARM_UP, "turn": TURN, "config": config_of(0, rounds)}
    summary = {
        str(population): {"seconds": found, "shares": shares(found), "cpu_shares": shares(found, CPU)}
        for population, found in whole.items()
    }
    write_record(path, settings, summary)
    plot(whole, HERE / ("smoke.png" if name == "smoke" else "plot.png"))


if __name__ == "__main__":
    main()
