"""How fast is the lineage at a million individuals: written, read beside the writer, queried, opened after a kill?

    python -m experiments.lineage.study                       1,024 generations of 1,024
    python -m experiments.lineage.study --generations 20 --smoke

Writes ``results.json`` and ``plot.png`` beside this file; README.md there says what they mean.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from evolve.home.jailed_query import ask
from experiments.lineage import campaign
from experiments.record import write_record
from population.clock import SystemClock
from population.files.local_files import LocalFiles
from population.lineage import LineageReader, LineageWriter, QueryLimits
from population.lineage.sql.connection import open_connection

HERE = Path(__file__).parent
#: Generations in a row that are written with, then without, a reader beside; a journal is sealed every 64, as often in the
#: ones as in the others.
WINDOW = 21
#: How often a question is asked.
TIMES = 5
ANCESTORS = """WITH RECURSIVE pedigree(id) AS (SELECT '{}' UNION SELECT parent FROM parents JOIN pedigree ON child = id)
    SELECT count(*) FROM pedigree"""


def measure(home: Path, generations: int) -> dict[str, Any]:
    """Returns every number of the study, from one lineage made in ``home``."""
    found: dict[str, Any] = {"individuals": generations * campaign.GENERATION, "load_before": os.getloadavg()[0]}
    found |= _write(home, generations)
    found |= _reopen(home, generations)
    found |= _query(home, generations + 4)
    return found | {"load_after": os.getloadavg()[0]}


def _write(home: Path, generations: int) -> dict[str, Any]:
    """Writes all generations, every other window beside a reader that asks all the time."""
    alone: list[tuple[float, float]] = []
    beside: list[tuple[float, float]] = []
    window = min(WINDOW, generations // 4)
    with LineageWriter(LocalFiles(), home, campaign.HANDLE, SystemClock()) as writer, _reader(home) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()  # it has begun
        lines = []
        for generation in range(generations):
            if generation % (2 * window) == 0 and generation:
                lines.append(reader.stdout.readline())  # at least one answer a window
            is_beside = generation // window % 2 == 1
            os.kill(reader.pid, signal.SIGCONT if is_beside else signal.SIGSTOP)
            commit = campaign.commit(generation)
            wall, cpu = time.perf_counter(), time.process_time()
            writer.commit(commit)
            taken = (time.perf_counter() - wall, time.process_time() - cpu)
            (beside if is_beside else alone).append(taken)
        os.kill(reader.pid, signal.SIGCONT)
        lines.append(reader.stdout.readline())
        reader.kill()
        answers = [line.split() for line in (*lines, *reader.communicate()[0].splitlines())]
    counts = [tuple(map(int, answer[:3])) for answer in answers if len(answer) == 4]
    return {
        "durable_per_s": _rate(alone),
        "durable_per_cpu_s": campaign.GENERATION * len(alone) / sum(cpu for _, cpu in alone),
        "durable_beside_reader_per_s": _rate(beside) if beside else None,
        "median_commit_slower_beside_by": _slower(alone, beside, 0),
        "cpu_of_a_commit_more_beside_by": _slower(alone, beside, 1),
        "commit_s_alone": [wall for wall, _ in alone],
        "commit_s_beside": [wall for wall, _ in beside],
        "reader_answers": len(counts),
        "reader_prefixes": sum(len(set(c)) == 1 and c[0] % campaign.GENERATION == 0 for c in counts),
        "reader_is_monotone": counts == sorted(counts),
        "bytes": sum(path.stat().st_size for path in home.rglob("*") if path.is_file()),
    }


def _rate(taken: list[tuple[float, float]]) -> float:
    return campaign.GENERATION * len(taken) / sum(wall for wall, _ in taken)


def _slower(alone: list[tuple[float, float]], beside: list[tuple[float, float]], which: int) -> float | None:
    """Returns by which share the median commit takes longer beside a reader, by wall clock (0) or CPU (1)."""
    if not beside:
        return None
    return median(taken[which] for taken in beside) / median(taken[which] for taken in alone) - 1


@contextlib.contextmanager
def _reader(home: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "experiments.lineage.reader", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent) as process:
        try:
            yield process
        finally:
            process.kill()


def _reopen(home: Path, generations: int) -> dict[str, Any]:
    """Lets a writer in another process commit four generations more, kills it, and opens the log again."""
    code = (
        "import sys; from pathlib import Path; from experiments.lineage import campaign; from population.clock import "
        "SystemClock; from population.files.local_files import LocalFiles; from population.lineage import LineageWriter\n"
        f"w = LineageWriter(LocalFiles(), Path({str(home)!r}), campaign.HANDLE, SystemClock())\n"
        f"for g in range({generations}, {generations + 4}): w.commit(campaign.commit(g)); print(g, flush=True)\n"
        "sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes, text=True, cwd=HERE.parent.parent) as process:  # type: ignore[call-overload]
        for line in process.stdout:
            if int(line) == generations + 3:
                break
        process.kill()
    began = time.perf_counter()
    with LineageWriter(LocalFiles(), home, campaign.HANDLE, SystemClock()) as writer:
        seconds = time.perf_counter() - began
        assert writer.next_step == generations + 4, "an acknowledged commit was lost"
    return {"reopen_s": seconds}


def _query(home: Path, generations: int) -> dict[str, Any]:
    """Asks in this process, on a connection that stands, and as ``evolve query`` does, in a process of its own."""
    last = generations * campaign.GENERATION - 1
    ancestors = ANCESTORS.format(campaign.individual(last))
    function = f"SELECT count(*) FROM ancestors('{campaign.individual(last)}')"
    everyone = len(campaign.all_ancestors(last))
    reader = LineageReader(LocalFiles(), home)
    found: dict[str, Any] = {"open_s": _best(lambda: open_connection(reader, QueryLimits()).close())}
    connection = open_connection(reader, QueryLimits(), asked=f"{ancestors} {function}")
    questions = {
        "individuals": ("SELECT count(*) FROM individuals", last + 1),
        "scores": ("SELECT count(*) FROM scores", (last + 1) * len(campaign.MEASURES)),
        "ancestors": (function, everyone),
        "recursive": (ancestors, everyone + 1),
    }
    for name, (sql, expected) in questions.items():
        assert connection.execute(sql).fetchall() == [(expected,)], name
        began = time.process_time()
        found[f"{name}_s"] = _best(lambda sql=sql: connection.execute(sql).fetchall())  # type: ignore[misc]
        found[f"{name}_cpu_s"] = (time.process_time() - began) / TIMES
        answer = ask(home, sql, QueryLimits())
        assert answer.error is None, answer.error
        found[f"{name}_process_s"] = answer.seconds
        found[f"{name}_process_query_s"] = answer.query_s
        found[f"{name}_process_bytes"] = answer.peak_rss_bytes
    connection.close()
    return found | {"ancestors": everyone}


def _best(call: Callable[[], Any]) -> float:
    """Returns the shortest of some times, which other programs on the machine disturb least."""
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return min(taken)


def plot(found: dict[str, Any], path: Path) -> None:
    """Draws how long commits took, alone and beside a reader, as the lineage grew."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for name in ("alone", "beside"):
        axes.plot([1000 * seconds for seconds in found[f"commit_s_{name}"]], ".", alpha=0.5, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("commit of 1,024 births, in order")
    axes.set_ylabel("milliseconds until durable")
    axes.legend(title="the writer, alone and beside a reader")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Runs the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=1024)
    parser.add_argument("--smoke", action="store_true", help="write the files under a name of their own")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder) / "home", arguments.generations)
    name = "smoke" if arguments.smoke else "results"
    write_record(HERE / f"{name}.json", {"generations": arguments.generations, "births": campaign.GENERATION}, found)
    plot(found, HERE / ("smoke.png" if arguments.smoke else "plot.png"))
    for key, value in found.items():
        shown = f"median {median(value):.4f}" if isinstance(value, list) and value else value
        print(f"{key}: {shown}")


if __name__ == "__main__":
    main()
