from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from fitness.cluster.ray_cluster import MAX_FOLDER_BYTES, new_leftovers, short_folder
from fitness.cluster.ray_evaluator import RayEvaluator
from population.errors import EvaluatorFailed
from tests.fitness.contract import run
from tests.fitness.toys import MATERIALISE, PLUGINS, toy_benchmark, toy_graph, unit_of


@pytest.mark.slow
def test_more_workers_than_the_cluster_has_cpus_run_as_many_as_fit(ray_session: ModuleType) -> None:
    told: list[str] = []
    evaluator = RayEvaluator(toy_benchmark(), MATERIALISE, num_workers=3, plugins=PLUGINS, tell=told.append)
    units = [replace(unit_of(toy_graph(), seeds=[n]), unit_id=n) for n in range(4)]
    assert [result.verdicts for result in run(evaluator, *units)] == [["ok"]] * 4
    deadline = time.monotonic() + 60
    while len(evaluator.worker_pids) < 2 and time.monotonic() < deadline:
        run(evaluator, units[0])
    assert len(evaluator.worker_pids) == 2
    assert any(line.startswith("2 workers of 3") for line in told), told
    evaluator.close()


def test_a_plugin_that_cannot_be_imported_is_named_before_ray_is_started() -> None:
    with pytest.raises(EvaluatorFailed, match="no_such_plugin"):
        RayEvaluator(toy_benchmark(), MATERIALISE, plugins=["no_such_plugin"], address="nowhere:1")


@pytest.mark.slow
def test_a_ray_that_was_there_before_is_left_running(ray_session: ModuleType) -> None:
    RayEvaluator(toy_benchmark(), MATERIALISE).close()
    assert ray_session.is_initialized()


@pytest.mark.slow
def test_ray_is_started_guarded_and_stopped_by_the_evaluator_that_started_it() -> None:
    program = (
        "import sys\n"
        "from fitness.cluster.ray_evaluator import RayEvaluator\n"
        "assert 'ray' not in sys.modules\n"
        "from tests.fitness.toys import MATERIALISE, PLUGINS, toy_benchmark, toy_graph, unit_of\n"
        "evaluator = RayEvaluator(toy_benchmark(), MATERIALISE, num_workers=2, plugins=PLUGINS)\n"
        "import os, ray\n"
        "below = ray._private.worker.global_worker.node.get_session_dir_path()\n"
        "above = [below := os.path.dirname(below) for _ in range(2)]\n"
        "assert [os.stat(each).st_mode & 0o77 for each in above][-1] == 0, above\n"
        "assert above[-1] != os.path.realpath(__import__('tempfile').gettempdir())\n"
        "assert os.environ['RAY_AUTH_MODE'] == 'token'\n"
        "evaluator.submit(unit_of(toy_graph(), seeds=[1]))\n"
        "(result,) = evaluator.collect(60)\n"
        "assert result.verdicts == ['ok'], result\n"
        "evaluator.close()\n"
        "assert not ray.is_initialized()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False, cwd=os.getcwd()
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_the_folder_for_ray_is_one_that_its_sockets_can_lie_below(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a socket has at most 107 bytes: a long temporary folder ended every campaign on Ray."""
    long = "/" + "a" * MAX_FOLDER_BYTES
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", long)
    assert short_folder() == Path("/tmp")
    monkeypatch.setattr(tempfile, "tempdir", long[:-1])
    assert short_folder() == Path(long[:-1])
    monkeypatch.setenv("RAY_TMPDIR", long)
    with pytest.raises(EvaluatorFailed, match=f"RAY_TMPDIR={long} is too long .* at most {MAX_FOLDER_BYTES} bytes"):
        short_folder()


def test_a_folder_that_is_not_there_is_refused_in_words(monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/no/such/folder")
    with pytest.raises(
        EvaluatorFailed, match=r"No such file or directory: /no/such/folder/.*: set RAY_TMPDIR to a folder"
    ):
        new_leftovers()
