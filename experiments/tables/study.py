"""Does one command on a table do as well as tuned plain methods? Five tables, ten splits each, the program as it is called.

    OMP_NUM_THREADS=1 python -m experiments.tables.study     all of it (about three hours)
    python -m experiments.tables.study --tables wine --splits 2 --record wine.json
    python -m experiments.tables.study --merge wine.json other.json
    python -m experiments.tables.study --smoke               a minute: does it still run?

Each split is one `evolve run configs/tabular.yaml data.path=... data.target=...` in a home of its own; the gate looks at the
held-out rows once. Then each rival is tuned for as many seconds as that took, on all rows that are not held out. After a
table's first split the published block is given one held-out row as the file has it. Results are added to ``results.json``
beside this file, or to another record, split by split; splits that stand there, run with the same settings, are not run
again. README.md there says what they mean.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import yaml
from scipy import stats

from experiments.record import read_record, write_record
from experiments.tables.rivals import rivals
from experiments.tables.tables import TABLES, write
from fitness.benchmarks.benchmark import Benchmark

HERE = Path(__file__).parent
CONFIG = HERE.parent.parent / "configs" / "tabular.yaml"
SMOKE = ("strategy.population=4", "stop.generations=2", "operators.burst.settings.steps=10", "tiers.distil.steps=10")
MARGIN = 0.01


def one_split(table: str, path: Path, split_seed: int, smoke: bool) -> dict[str, Any]:
    """Returns held-out scores of the evolved block, by tier, and of its rivals, and the seconds of a split."""
    _, target, metric = TABLES[table]
    overrides = [
        f"data.path={path}",
        f"data.target={target}",
        f"benchmark.split_seed={split_seed}",
        "promote.name=best",
    ]
    overrides += ["objectives=[cross_entropy,roc_auc]"] if metric == "roc_auc" else []
    overrides += SMOKE if smoke else ()
    benchmark = Benchmark.from_table(path, target, split_seed=split_seed)
    with tempfile.TemporaryDirectory() as folder:
        home = f"{folder}/home"
        began = time.monotonic()
        done = _program("run", str(CONFIG), *overrides, "--address", "local", "--workers", "1", "--home", home)
        seconds = time.monotonic() - began
        raw = _one_raw_row(path, target, int(benchmark.rows("heldout")[0]), home) if split_seed == 1 else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a linear model that wants more steps says so often
        others, took = rivals(benchmark, metric, seconds, split_seed)
    found = {
        "split_seed": split_seed,
        "evolved": {tier: scores[metric] for tier, scores in done["heldout"].items()},
        "rivals": others,
        "seconds": seconds,
        "seconds_of_rivals": took,
        "load": os.getloadavg()[0],
        "num_heldout": len(benchmark.rows("heldout")),
    }
    return found if raw is None else {**found, "raw_row": raw}


def _program(*arguments: str) -> dict[str, Any]:
    """Returns what the program prints as JSON."""
    env = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}  # a dead tracker: nothing is spent on it
    command = [sys.executable, "-P", "-m", "evolve", *arguments, "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr[-2000:])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _one_raw_row(path: Path, target: str, row: int, home: str) -> dict[str, Any]:
    """Returns what the published block answers to one row of the file, its cells as they stand there, and what is true."""
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    cells = dict(zip(lines[0], lines[row + 1], strict=True))
    truth = cells.pop(target)
    given = Path(home).parent / "row.csv"
    with given.open("w", newline="") as file:
        csv.writer(file).writerows([cells.keys(), cells.values()])
    answers = _program("infer", "best", "--input", str(given), "--home", home)["answers"][target]
    return {"row": cells, "answers": {name: values[0] for name, values in answers.items()}, "truth": truth}


def compared(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the paired difference to the rival that is better on average, with its 95 % interval (Student's t)."""
    means = {name: float(np.mean([row["rivals"][name] for row in rows])) for name in rows[0]["rivals"]}
    best = max(means, key=lambda name: means[name])
    differences = np.array([row["evolved"]["ultimate"] - row["rivals"][best] for row in rows])
    mean, half = float(differences.mean()), float("nan")
    if len(rows) > 1:
        half = float(stats.t.ppf(0.975, len(rows) - 1) * differences.std(ddof=1) / len(rows) ** 0.5)
    holds = mean >= -MARGIN or (half == half and mean + half >= 0)
    evolved = float(np.mean([row["evolved"]["ultimate"] for row in rows]))
    interval = [mean - half, mean + half] if half == half else None
    return {
        "evolved": evolved,
        "rivals": means,
        "rival": best,
        "difference": mean,
        "interval": interval,
        "holds": holds,
    }


def plot(found: dict[str, Any], path: Path) -> None:
    """Draws each split's difference to the better rival, a row a table, and the mean with its interval."""
    figure, axes = plt.subplots(figsize=(8, 1 + 0.7 * len(found)), layout="constrained")
    for place, (table, entry) in enumerate(found.items()):
        told = entry["compared"]
        values = [row["evolved"]["ultimate"] - row["rivals"][told["rival"]] for row in entry["rows"]]
        axes.plot(values, [place] * len(values), "o", color="C0", alpha=0.4)
        if told["interval"]:
            axes.plot(told["interval"], [place, place], "-", color="C1", linewidth=3)
        axes.plot([told["difference"]], [place], "D", color="C1")
        axes.text(
            1.01, place, f"{TABLES[table][2]}, {told['rival']}", transform=axes.get_yaxis_transform(), va="center"
        )
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.axvline(-MARGIN, color="grey", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(found)), list(found))
    axes.set_xlabel("evolved minus the better rival, on held-out rows")
    figure.savefig(path, dpi=150)


def merge(paths: list[Path]) -> None:
    """Writes the tables of several records, which must agree in their settings, into ``results.json``, and draws the plot."""
    records = [read_record(path) for path in paths]
    if any(record["settings"] != records[0]["settings"] for record in records):
        raise SystemExit("the records were run with different settings")
    found = {table: entry for record in records for table, entry in record["results"].items()}
    found = {table: found[table] for table in TABLES if table in found}
    write_record(HERE / "results.json", records[0]["settings"], found)
    plot(found, HERE / "plot.png")


def main() -> None:
    """Runs the splits that were asked for and do not stand in the record, and writes each down when it is done."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--record", type=Path, default=HERE / "results.json")
    parser.add_argument("--merge", type=Path, nargs="+", metavar="RECORD")
    parser.add_argument("--smoke", action="store_true")
    asked = parser.parse_args()
    mpl.use("agg")
    if asked.merge:
        merge(asked.merge)
        return
    settings = {
        "config": yaml.safe_load(CONFIG.read_text()),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "workers": 1,
    }
    found: dict[str, Any] = {}
    if asked.record.exists() and not asked.smoke:
        kept = read_record(asked.record)
        found = kept["results"] if kept["settings"] == settings else {}
    with tempfile.TemporaryDirectory() as folder:
        for table in ["wine"] if asked.smoke else asked.tables.split(","):
            path, rows = write(table, Path(folder)), found.get(table, {"rows": []})["rows"]
            there = {row["split_seed"] for row in rows}
            for split_seed in range(1, (1 if asked.smoke else asked.splits) + 1):
                if split_seed in there:
                    continue
                rows.append(one_split(table, path, split_seed, asked.smoke))
                print(table, rows[-1], flush=True)
                found[table] = {"metric": TABLES[table][2], "rows": rows, "compared": compared(rows)}
                if not asked.smoke:
                    write_record(asked.record, settings, found)
            print(table, found[table]["compared"], flush=True)
    if not asked.smoke:
        plot(found, asked.record.with_name("plot.png"))


if __name__ == "__main__":
    main()
