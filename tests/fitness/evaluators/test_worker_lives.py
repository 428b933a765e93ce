"""Workers that are killed, that kill themselves, and that must be gone: every evaluator with workers of its own."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fitness.processes import verdicts
from tests.fitness.contract import KINDS, RAY_SLOWLY, build, plain, run
from tests.fitness.toys import hostile_graph, toy_graph, unit_of
from tests.orphans import children_of, command_of, descendants_of, is_running


@pytest.mark.slow  # whole campaigns do so quickly: tests/evolve/driver/test_determinism.py
@pytest.mark.parametrize("kind", KINDS[2:])
def test_one_worker_and_two_give_the_same_bits(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "ray":
        request.getfixturevalue("ray_session")
    units = [replace(unit_of(toy_graph(), seeds=range(n, n + 3)), unit_id=n) for n in range(6)]
    found = []
    for num_workers in (1, 2):
        evaluator = build(kind, num_workers)
        found.append([plain(result) for result in run(evaluator, *units)])
        evaluator.close()
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", [pytest.param("processes", marks=pytest.mark.slow), "ray"])
def test_a_killed_worker_is_replaced_and_its_unit_done_again(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "ray":
        request.getfixturevalue("ray_session")
    evaluator = build(kind)
    (first,) = run(evaluator, unit_of(toy_graph(), seeds=[1, 2]))
    os.kill(evaluator.worker_pids[0], signal.SIGKILL)  # type: ignore[attr-defined]
    parents = [digest for digest in first.digests if digest is not None]
    (second,) = run(evaluator, unit_of(toy_graph(), seeds=[3], parents=parents))
    assert second.verdicts == ["ok"]
    evaluator.close()


def test_a_worker_whose_judges_are_killed_while_it_starts_is_replaced() -> None:
    """The second death of a zygote under a worker that was not up yet once failed the whole campaign."""
    killed: list[int] = []

    def kill_two() -> None:
        deadline = time.monotonic() + 60.0
        while len(killed) < 2 and time.monotonic() < deadline:
            for pid in descendants_of(os.getpid()):
                with suppress(OSError):  # it ended meanwhile
                    if pid not in killed and "fitness.judges.judge_process" in command_of(pid):
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)
            time.sleep(0.005)

    killer = threading.Thread(target=kill_two)
    killer.start()
    evaluator = build("processes")
    killer.join()
    (result,) = run(evaluator, unit_of(toy_graph(), seeds=[1, 2]))
    assert result.verdicts == ["ok", "ok"]
    assert len(killed) >= 2
    evaluator.close()


def test_what_is_killed_below_an_idle_worker_does_not_stay_a_zombie() -> None:
    evaluator = build("processes")
    run(evaluator, unit_of(toy_graph(), seeds=[1]))
    (zygote,) = (pid for pid in children_of(evaluator.worker_pids[0]) if "judge_process" in command_of(pid))  # type: ignore[attr-defined]
    os.kill(zygote, signal.SIGKILL)
    deadline = time.monotonic() + 20.0
    while Path(f"/proc/{zygote}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (result,) = run(evaluator, replace(unit_of(toy_graph(), seeds=[2]), unit_id=1))
    assert result.verdicts == ["ok"]
    evaluator.close()


@pytest.mark.slow
def test_a_stopped_worker_is_replaced_and_its_unit_done_again() -> None:
    """A worker under SIGSTOP neither answers nor dies; its campaign waited for an hour. Ray's are in test_ray_faults."""
    evaluator = build("processes", pulse_patience_s=5.0)
    (pid,) = evaluator.worker_pids  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGSTOP)
    (result,) = run(evaluator, unit_of(toy_graph(), seeds=[1, 2]))
    assert result.verdicts == ["ok", "ok"]
    reasons = {incident["reason"] for incident in result.incidents if incident["kind"] == "retry"}
    assert reasons == {"the worker's process gives no sign of life"}
    assert not Path(f"/proc/{pid}").exists()
    evaluator.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["processes", RAY_SLOWLY])
def test_a_unit_that_kills_three_workers_is_infra_failure_and_the_next_one_runs(
    kind: str, request: pytest.FixtureRequest
) -> None:
    if kind == "ray":
        request.getfixturevalue("ray_session")
    evaluator = build(kind)
    dead = unit_of(toy_graph(), seeds=[1], operator="dead@1")
    fine = replace(unit_of(toy_graph(), seeds=[2]), unit_id=1)
    first, second = run(evaluator, dead, fine)
    assert first.verdicts == [verdicts.INFRA_FAILURE]
    assert sum(incident["kind"] == "retry" for incident in first.incidents) == 3
    assert second.verdicts == ["ok"]
    evaluator.close()


@pytest.mark.parametrize("kind", KINDS[2:])
def test_what_a_worker_started_ends_with_it(kind: str, request: pytest.FixtureRequest) -> None:
    """Ray makes the judge on a thread that may end before the worker: a signal at a parent's death would follow the thread."""
    if kind == "ray":
        request.getfixturevalue("ray_session")
    evaluator = build(kind)
    (pid,) = evaluator.worker_pids  # type: ignore[attr-defined]
    evaluator.submit(unit_of(hostile_graph(), seeds=[1], settings={"trigger": 3.0}))
    evaluator.collect(0.0)
    deadline = time.monotonic() + 20
    while not any(children_of(zygote) for zygote in children_of(pid)):
        assert time.monotonic() < deadline, children_of(pid)
        time.sleep(0.01)
    below = descendants_of(pid)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 2
    while any(map(is_running, below)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(is_running, below))
    evaluator.close()


@pytest.mark.parametrize("kind", ["processes", RAY_SLOWLY])
def test_workers_and_judges_are_gone_after_close(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "ray":
        request.getfixturevalue("ray_session")
    before = judge_pids()
    evaluator = build(kind, 2)
    run(evaluator, unit_of(toy_graph(), seeds=[1]))
    assert judge_pids() - before
    evaluator.close()
    deadline = time.monotonic() + 20
    while judge_pids() - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert judge_pids() - before == set()


def judge_pids() -> set[int]:
    """Returns the processes below this one that run our judges and workers; other tests of this machine have theirs."""
    found = set()
    for pid in descendants_of(os.getpid()):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"fitness.judges.judge_process" in words or b"fitness.evaluators.worker_process" in words:
                found.add(pid)
    return found
