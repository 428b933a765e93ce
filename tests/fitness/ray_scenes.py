"""What befalls an evaluator on real nodes, in a process of its own: ``python -m tests.fitness.ray_scenes NAME``.

A scene starts nodes, plays what may happen and asserts what must hold; it prints one line of what it found.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace

import pytest

import fitness.cluster.ray_fleet
from fitness.cluster.ray_evaluator import RayEvaluator
from fitness.work.work_unit import UnitResult
from population.errors import EvaluatorFailed
from tests.fitness.contract import LIMITS, build, plain, run
from tests.fitness.ray_nodes import Nodes, ray_nodes
from tests.fitness.toys import MATERIALISE, PLUGINS, toy_benchmark, toy_graph, unit_of

OTHER_KERNELS = {"ATEN_CPU_CAPABILITY": "default"}


def join(nodes: Nodes, num_workers: int, told: list[str]) -> RayEvaluator:
    return RayEvaluator(
        toy_benchmark(),
        MATERIALISE,
        num_workers=num_workers,
        plugins=PLUGINS,
        limits=LIMITS,
        address=nodes.address,
        tell=told.append,
    )


def work_until(evaluator: RayEvaluator, num_workers: int) -> None:
    """Judges small units until so many workers are up."""
    deadline = time.monotonic() + 120
    while len(evaluator.worker_pids) != num_workers:
        assert time.monotonic() < deadline, evaluator.worker_pids
        run(evaluator, unit_of(toy_graph(), seeds=[1]))


def work_for(evaluator: RayEvaluator, seconds: float) -> None:
    """Judges small units for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run(evaluator, unit_of(toy_graph(), seeds=[1]))


def digests_of(results: list[UnitResult]) -> list[bytes]:
    return [digest for result in results for digest in result.digests if digest is not None]


def lost_nodes() -> str:
    """A node of other kernels is refused; rows on a node that dies are parents all the same; a stopped worker is replaced."""
    fitness.cluster.ray_fleet.PULSE_PATIENCE_S, fitness.cluster.ray_fleet.PULSE_EVERY_S = 4.0, 0.5
    first = [replace(unit_of(toy_graph(), seeds=range(8 * n, 8 * n + 8)), unit_id=n) for n in range(6)]
    inline = build("inline")
    expected = run(inline, *first)
    parents = digests_of(expected)
    second = [
        replace(unit_of(toy_graph(), seeds=range(8), parents=parents[8 * n : 8 * n + 8]), unit_id=n) for n in range(6)
    ]
    told: list[str] = []
    with ray_nodes(1) as nodes:
        good = nodes.add()
        nodes.add(**OTHER_KERNELS)
        evaluator = join(nodes, 3, told)
        work_until(evaluator, 2)
        assert [line for line in told if "cpu is DEFAULT there and" in line and "is not used" in line], told
        assert [plain(result) for result in run(evaluator, *first)] == [plain(result) for result in expected]
        places = {place.node for place in evaluator._places.values()}
        assert len(places) == 2, places  # rows lie on both nodes
        nodes.kill(good)
        found = run(evaluator, *second)
        assert [plain(result) for result in found] == [plain(result) for result in run(inline, *second)]
        assert max(sum(i["kind"] == "retry" for i in result.incidents) for result in found) <= 1, found
        (pid,) = evaluator.worker_pids
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        (result,) = run(evaluator, replace(first[0], unit_id=77))
        assert result.scores.tobytes() == expected[0].scores.tobytes()
        assert "no sign of life" in str(result.incidents), result.incidents
        took = time.monotonic() - began
        evaluator.close()
    return f"1 node refused, 1 killed, 1 worker stopped (done again after {took:.0f} s): the same bits"


def no_node_fits() -> str:
    """Where every node computes otherwise, the campaign ends with a line for each of them."""
    with ray_nodes(0) as nodes:
        nodes.add(**OTHER_KERNELS)
        with pytest.raises(EvaluatorFailed, match="cpu is DEFAULT there") as failure:
            join(nodes, 1, [])
    return str(failure.value).replace("\n", " ")


def lost_head() -> str:
    """When the cluster's head is gone the campaign ends with words, before Ray ends its process."""
    with ray_nodes(1) as nodes:
        evaluator = join(nodes, 1, [])
        (pid,) = evaluator.worker_pids
        nodes.kill_head()
        os.kill(pid, signal.SIGSTOP)
        evaluator.submit(unit_of(toy_graph(), seeds=[1]))
        began = time.monotonic()
        with pytest.raises(EvaluatorFailed, match="evolve resume"):
            evaluator.collect(100.0)
        took = time.monotonic() - began
        os.kill(pid, signal.SIGKILL)
        evaluator.close()
        assert took < 40, took
    return f"told after {took:.0f} s, closed after {time.monotonic() - began:.0f} s"


def lost_own_node() -> str:
    """When the raylet of this machine is gone the campaign ends with words."""
    with ray_nodes(1) as nodes:
        evaluator = join(nodes, 1, [])
        nodes.kill_raylet(nodes.raylets[0])
        began = time.monotonic()
        with pytest.raises(EvaluatorFailed, match="its node on this machine is gone"):
            work_for(evaluator, 60)
        evaluator.close()
    return f"told and closed after {time.monotonic() - began:.0f} s"


if __name__ == "__main__":
    from tests.fitness.ray_nodes import TOKEN

    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN)
    sys.stdout.write(globals()[sys.argv[1]]() + "\n")
