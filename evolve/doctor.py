"""What this machine can do, found out by trying, and what to do about what is missing.

Nouns: *check* (one thing that was looked at: "ok", a "note", or "missing" where campaigns cannot run without it).
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from evolve.display import count, duration, path, size
from population.errors import EvolveError, Locked

if TYPE_CHECKING:
    from fitness.benchmarks.benchmark import Benchmark
    from fitness.processes.isolation import IsolationReport
    from population.blocks.block import TensorBlock

#: Distributions that campaigns need, and those that only some commands need.
NEEDED = (
    "numpy",
    "torch",
    "blake3",
    "pydantic",
    "pyarrow",
    "duckdb",
    "deap",
    "moocore",
    "scikit-learn",
    "cryptography",
)
HANDY = {
    "ray": "evolve run --address local works without",
    "mlflow": "campaigns run without; nothing shows them",
    "optuna": "only `evolve tune` needs it",
}
LEAST_MEMORY_BYTES = 2 << 30
LEAST_DISK_BYTES = 1 << 30


@dataclass(frozen=True)
class MachineCheck:
    """One thing that was looked at. remedy: what to do about it; empty where there is nothing to do."""

    name: str
    state: Literal["ok", "note", "missing"]
    found: str
    remedy: str = ""


def examine(home: Path, tracking_uri: str | None = None, *, is_quick: bool = False) -> Iterator[MachineCheck]:
    """Yields the checks, the cheap ones first; ``is_quick`` leaves out what starts processes."""
    yield _python()
    yield from _versions()
    yield _cores()
    yield _memory()
    yield _disk(home)
    yield _accelerator()
    if not is_quick:
        yield from _judge()
        yield from _ray()
    yield _home(home)
    yield _mlflow(home, tracking_uri)


def _python() -> MachineCheck:
    found = (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    return MachineCheck("Python", "ok", found)


def _versions() -> Iterator[MachineCheck]:
    found, missing = [], []
    for name in (*NEEDED, *HANDY):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    yield MachineCheck("packages", "ok", ", ".join(found))
    for name in missing:
        remedy = f"pip install {name}" + (f" ({HANDY[name]})" if name in HANDY else "")
        yield MachineCheck(name, "note" if name in HANDY else "missing", "not installed", remedy)


def _cores() -> MachineCheck:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return MachineCheck("cores", "ok", f"{usable} usable{load}")


def _memory() -> MachineCheck:
    available = _available_bytes()
    if available is None:
        return MachineCheck("memory", "note", "cannot be told on this system")
    if available < LEAST_MEMORY_BYTES:
        return MachineCheck("memory", "note", f"{size(available)} available", "close programs, or use fewer --workers")
    return MachineCheck("memory", "ok", f"{size(available)} available")


def _available_bytes() -> int | None:
    """Returns what the system says is available, or less where a control group allows less; None where /proc is hidden."""
    import psutil

    try:
        available = int(psutil.virtual_memory().available)
    except OSError:
        return None
    limits = [limit for file in ("memory.max", "memory/memory.limit_in_bytes") if (limit := _limit(file)) is not None]
    return min([available, *limits])


def _limit(file: str) -> int | None:
    try:
        text = (Path("/sys/fs/cgroup") / file).read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _disk(home: Path) -> MachineCheck:
    folder = next(place for place in (home, *home.parents) if place.exists())
    free = shutil.disk_usage(folder).free
    found = f"{size(free)} free at {path(folder)}"
    if not os.access(folder, os.W_OK):
        return MachineCheck(
            "disk", "missing", f"{path(folder)} cannot be written to", "choose another --home, or change its mode"
        )
    if free < LEAST_DISK_BYTES:
        return MachineCheck("disk", "note", found, "free some space, or choose another --home")
    return MachineCheck("disk", "ok", found)


def _accelerator() -> MachineCheck:
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return MachineCheck(
            "GPU", "note", f"{', '.join(names)}; CPU kernels {capability}", "campaigns use the CPU so far"
        )
    return MachineCheck("GPU", "ok", f"none, and none is needed; CPU kernels {capability}")


def _judge() -> Iterator[MachineCheck]:
    """Lets a process that judges promotions judge a tiny block, and attacks its walls from within."""
    from contextlib import closing

    from evolve.promotion.heldout import look
    from fitness.judges.judge import Limits, SubprocessJudge

    began = time.monotonic()
    remedy = "see `ulimit -a`: processes, memory and sockets must be allowed"
    try:
        with closing(SubprocessJudge(limits=Limits.of(60.0, 2048))) as judge:
            (finding,) = look([_tiny_block()], _tiny_benchmark(), judge)
            took, report = duration(time.monotonic() - began), judge.report
    except EvolveError as error:
        yield MachineCheck("judge process", "missing", str(error), remedy)
        return
    if not finding.is_ok:
        yield MachineCheck("judge process", "missing", f"{finding.verdict}: {finding.detail}", remedy)
        return
    yield MachineCheck("judge process", "ok", f"judged in {took}")
    yield _jail(report)


def _jail(report: IsolationReport) -> MachineCheck:
    """Tells what attacks from within came to, layer by layer."""
    hint = report.remedy()
    accepting = "validated graphs run all the same; code of plugins and promotions need --accept-level " + report.level
    state: Literal["ok", "note"] = "note" if hint else "ok"
    return MachineCheck("jail", state, f"sandbox {report.line()}", f"{hint}; {accepting}" if hint else "")


def _ray() -> Iterator[MachineCheck]:
    """Starts Ray on this machine with one worker, calls its ports without its token, and ends it."""
    remedy = "evolve run --address local works without Ray"
    try:
        from fitness.cluster.ray_evaluator import RayEvaluator
    except ImportError as error:
        yield MachineCheck("Ray", "note", f"cannot be imported: {error}", remedy)
        return
    began = time.monotonic()
    try:
        evaluator = RayEvaluator(_tiny_benchmark(), "evolve.recipes.materialise:materialise", num_workers=1)
        try:
            ports = _ray_ports()
        finally:
            evaluator.close()
    except EvolveError as error:
        yield MachineCheck("Ray", "note", str(error), remedy)
        return
    yield MachineCheck("Ray", "ok", f"a worker started and ended in {duration(time.monotonic() - began)}")
    yield ports


def _ray_ports() -> MachineCheck:
    """Says which ports Ray opens beyond this machine while a campaign runs, and what they do without its token."""
    from fitness.cluster.ports import descendants, listening, without_token

    pids = [os.getpid(), *descendants(os.getpid())]
    beyond = [port for port in listening(pids) if not port.is_loopback]
    told = ", ".join(f"{port.number} {port.program}" for port in beyond) or "none that /proc tells"
    careless = [port for port in beyond if without_token(port) != "refuses"]
    if careless:
        names = ", ".join(f"{port.number} ({port.program})" for port in careless)
        return MachineCheck("Ray ports", "note", f"{told}; without the token answer: {names}", "use --address local")
    return MachineCheck("Ray ports", "ok", f"{told}; all refuse callers without the token" if beyond else told)


def _tiny_benchmark() -> Benchmark:
    import numpy as np

    from fitness.benchmarks.benchmark import Benchmark

    return Benchmark.from_arrays({"x": np.arange(64.0)[:, None]}, np.arange(64) % 2, name="doctor")


def _tiny_block() -> TensorBlock:
    from population.blocks.block import TensorBlock
    from population.graphs.graph import OpGraph
    from population.stacks.stack import Stack

    graph = OpGraph.from_value(
        {
            "inputs": {"x": {"shape": [1], "dtype": "float32"}},
            "nodes": [{"name": "head", "op": "linear", "inputs": ["x"], "out": 2}],
            "outputs": {"logits": "head"},
        }
    )
    return TensorBlock.from_stack(Stack.zeros(graph, 1), 0)


def _home(place: Path) -> MachineCheck:
    from evolve.home.home import Home
    from population.errors import NotFound

    try:
        home = Home.open(place)
        states = [home.state_as_far_as_known(handle) for handle in home.campaigns()]
        heads = len(home.heads().names())
        blocks = len(home.block_store().list_blocks())
    except NotFound:
        return MachineCheck("home", "ok", f"none yet at {path(place)}; evolve run makes it")
    except Locked as error:
        return MachineCheck("home", "note", str(error))
    except EvolveError as error:
        return MachineCheck("home", "missing", f"{path(place)}: not usable", str(error))
    told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"
    interrupted = "evolve status shows them, evolve resume goes on" if "interrupted" in states else ""
    if "damaged" in states:
        interrupted = "evolve status says what is wrong with the damaged ones"
    found = f"{path(place)}: campaigns: {told}; {count(blocks)} blocks, {heads} heads"
    return MachineCheck("home", "note" if interrupted else "ok", found, interrupted)


def _mlflow(home: Path, tracking_uri: str | None) -> MachineCheck:
    if tracking_uri:
        return MachineCheck("MLflow", "ok", f"MLFLOW_TRACKING_URI names {tracking_uri}")
    return MachineCheck("MLflow", "ok", f"SQLite under the home, {path(home / 'mlflow.db')}")
