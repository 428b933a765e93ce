from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from evolve.home.home import Home
from population.lineage.sql.query import run_query
from tests.evolve.cli.conftest import Answer, Done, Program, command, environment, run_apart, write_config

SAME = ("population", "lineage", "champion")
PROMISED = (
    "campaign", "state", "seed", "generations", "evaluations", "population", "lineage", "champion", "scores", "heldout",
)  # fmt: skip
DEAD = environment(MLFLOW_TRACKING_URI="http://127.0.0.1:9")


def test_the_last_line_of_json_has_what_scripts_rely_on(finished: Done) -> None:
    assert set(PROMISED) <= set(finished.summary)
    assert finished.summary["state"] == "done"
    assert finished.summary["generations"] == 3
    assert set(finished.summary["scores"]) == {"lite", "ultimate"}
    assert 0.0 <= finished.summary["heldout"]["ultimate"]["accuracy"] <= 1.0


@pytest.fixture(scope="module")
def shown(finished: Done, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A copy of the home, and what the program prints there of a campaign that was done before."""
    home = Path(shutil.copytree(finished.home, tmp_path_factory.mktemp("shown") / "h"))
    return home, run_apart("run", finished.config, "--home", home, env=DEAD, cwd=home.parent)


def test_a_campaign_that_is_done_is_shown_not_computed_twice(shown: tuple[Path, Answer]) -> None:
    home, answer = shown
    assert answer.code == 0, answer.err
    assert "was done in this home before" in answer.out
    assert answer.out.count("already there") == 1
    assert Home.open(home).campaigns() == ["tiny"]
    for title in ("What was reached", "By which operators", "Where everything lies", "What to type next"):
        assert answer.out.count(title) == 1
    assert "plainly trained" in answer.out
    assert "SVC" in answer.out


def test_the_five_commands_at_the_end_work_as_printed(
    shown: tuple[Path, Answer], program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shown[0].parent)  # where they were printed
    commands = [line.strip() for line in shown[1].out.split("What to type next")[1].splitlines() if line.strip()]
    assert [text.split("-m evolve ")[1].split()[0] for text in commands] == ["heads", "lineage", "query", "infer", "ui"]
    done = subprocess.run(["/bin/sh", "-c", commands[0]], env=environment(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    for text in commands[1:3]:
        answer = program(*shlex.split(text)[3:])
        assert answer.code == 0, answer.err
        assert answer.out


@pytest.mark.slow
def test_again_computes_anew_and_compares(own_home: Path, finished: Done) -> None:
    answer = run_apart("run", finished.config, "--again", "--json", "--home", own_home, env=DEAD)
    assert answer.code == 0, answer.err
    summary = json.loads(answer.out.splitlines()[-1])
    assert summary["campaign"] == "tiny-2"
    assert {name: summary["again"][f"{name}_same"] for name in SAME} == dict.fromkeys(SAME, True)


@pytest.mark.slow  # tests/evolve/driver/test_interruption.py does so quickly
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_130_and_resume_gives_what_an_uninterrupted_one_gives(
    number: signal.Signals, tmp_path: Path, finished: Done
) -> None:
    home = tmp_path / "h"
    process = subprocess.Popen(
        command("run", finished.config, "--home", home),
        env=DEAD,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for(process, home / "campaigns" / "tiny" / "journal-0.log", least=4000)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "-m evolve resume tiny" in err
    assert out == ""
    assert Home.open(home).state_of("tiny") == "interrupted"
    resumed = run_apart("run", finished.config, "--json", "--home", home, env=DEAD)  # the same command goes on
    summary = json.loads(resumed.out.splitlines()[-1])
    assert Home.open(home).campaigns() == ["tiny"]
    assert {name: summary[name] for name in SAME} == {name: finished.summary[name] for name in SAME}


def _wait_for(process: subprocess.Popen[str], path: Path, least: int) -> None:
    """Waits until a campaign has written so much."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if path.exists() and os.path.getsize(path) >= least:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError(f"{path} never had {least} bytes")


def test_resume_of_an_unknown_campaign_names_those_there_are(program: Program, finished: Done) -> None:
    answer = program("resume", "tinny", "--home", finished.home)
    assert answer.code == 2
    assert "there are: tiny" in answer.err


@pytest.mark.slow  # tests/evolve/home/test_live_query.py does so quickly
def test_queries_from_another_process_see_whole_steps_while_a_campaign_runs(tmp_path: Path) -> None:
    config = write_config(tmp_path, stop={"generations": 1000})
    home = tmp_path / "h"
    process = subprocess.Popen(
        command("run", config, "--home", home),
        env=DEAD,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        _wait_for(process, home / "campaigns" / "tiny" / "journal-0.log", least=3000)
        seen: dict[int, int] = {}
        for _ in range(10):
            rows = run_query(
                Home.open(home).lineage_reader(),
                "SELECT step, count(DISTINCT i.individual) AS born, count(DISTINCT g.generation) AS told "
                "FROM individuals i FULL JOIN generations g USING (step) GROUP BY step",
            )
            found = {row["step"]: row["born"] for row in rows.to_pylist()}
            assert all(row["born"] and row["told"] == 1 for row in rows.to_pylist())  # both tables, or neither
            assert seen.items() <= found.items()  # a step once seen is whole: it never grows
            seen = found
            time.sleep(0.1)
        assert len(seen) > 1
        assert Home.open(home).state_of("tiny") == "running"
        status = run_apart("status", "--json", "--home", home)
        assert json.loads(status.out)[0]["state"] == "running"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
