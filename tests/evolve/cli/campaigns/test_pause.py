from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from evolve.home.home import Home
from tests.evolve import whole
from tests.evolve.cli.conftest import Done, Program, command, run_apart, write_config

DEAD = whole.environment()


@pytest.mark.slow
def test_a_campaign_is_watched_paused_and_stopped_from_other_terminals_and_ends_with_the_same_hashes(
    tmp_path: Path,
) -> None:
    reference = whole.run_in(tmp_path / "reference")
    home = tmp_path / "h"
    with whole.Driver(whole.run_command(home)) as driver:
        assert driver.wait_for(lambda: whole.num_commits(home) >= 2)
        watching = subprocess.Popen(
            command("watch", "--json", "--home", home),
            env=DEAD,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        paused = whole.call(command("pause", "--json", "--home", home))
        code, out, err = driver.finish()
        watched, _ = watching.communicate(timeout=60)
    answer = json.loads(paused.stdout)
    assert (paused.returncode, answer["state"], answer["obeyed"]) == (0, "paused", True), paused
    assert (code, out) == (130, ""), err
    assert "Traceback" not in err
    assert f"resume {whole.HANDLE}" in err
    steps = [json.loads(line) for line in watched.splitlines()]
    assert [step["step"] for step in steps] == list(range(len(steps)))
    assert steps[-1]["state"] == "paused"
    (entry,) = json.loads(whole.call(command("status", "--json", "--home", home)).stdout)
    assert entry["state"] == "paused"
    assert 0 < entry["share"] < 1
    with whole.Driver(whole.command("resume", "--json", "--home", home)) as driver:
        before = whole.num_commits(home)
        assert driver.wait_for(lambda: whole.num_commits(home) > before)
        stopped = whole.call(command("stop", whole.HANDLE, "--now", "--home", home))
        code, out, err = driver.finish()
    assert (stopped.returncode, code) == (0, 130), err
    assert "is stopped" in stopped.stdout
    resumed = whole.call(whole.command("resume", whole.HANDLE, "--json", "--home", home))
    assert resumed.returncode == 0, resumed.stderr
    assert whole.hashes(json.loads(resumed.stdout.splitlines()[-1])) == whole.hashes(reference)


@pytest.mark.slow
def test_a_driver_that_dies_before_it_obeys_is_told_of(tmp_path: Path) -> None:
    """The request stands in the folder; whoever resumes the campaign is not paused by it."""
    home = tmp_path / "h"
    slow = ("operators.burst.settings.steps=9999", "operators.burst.weight=1000")
    with whole.Driver(whole.run_command(home, *slow)) as driver:
        assert driver.wait_for(lambda: whole.num_commits(home) >= 2)
        asked = whole.call(command("pause", "--no-wait", "--json", "--home", home))
        assert (asked.returncode, json.loads(asked.stdout)["state"]) == (0, "running")
        tired = whole.call(command("stop", "--wait", "0.5", "--home", home))
        assert tired.returncode == 1
        assert "ends after its step" in tired.stdout
        waiting = subprocess.Popen(
            command("pause", "--json", "--home", home),
            env=DEAD,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        driver.process.kill()
        out, err = waiting.communicate(timeout=60)
    if waiting.returncode == 1:  # else it came after the death already, and found nothing that runs
        assert json.loads(out)["state"] == "interrupted", err
    assert Home.open(home).state_of(whole.HANDLE) == "interrupted"


@pytest.mark.parametrize("verb", ["pause", "stop"])
def test_a_campaign_that_does_not_run_is_not_paused(program: Program, finished: Done, verb: str) -> None:
    answer = program(verb, "tiny", "--home", finished.home)
    assert (answer.code, answer.out) == (1, f"tiny does not run: it is done; there is nothing to {verb}\n")
    value = json.loads(program(verb, "tiny", "--json", "--home", finished.home).out)
    assert (value["state"], value["asked"], value["obeyed"]) == ("done", False, False)
    answer = program(verb, "--home", finished.home)
    assert answer.code == 2
    assert "none is running" in answer.err
    assert "there are: tiny" in program(verb, "tinny", "--home", finished.home).err


def test_the_one_that_is_meant_must_be_the_only_one(program: Program, tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    for _ in range(2):
        folder = home.campaign_dir(home.new_handle("tiny"))
        write_config(folder).rename(folder / "config.yaml")
    answer = program("resume", "--home", home.root)
    assert answer.code == 2
    assert "tiny, tiny-2; name one" in answer.err


def test_a_finished_campaign_is_watched_to_its_end_at_once(program: Program, finished: Done) -> None:
    lines = program("watch", "tiny", "--home", finished.home).out.splitlines()
    assert lines[-1] == "tiny is done"
    steps = [json.loads(line) for line in program("watch", "tiny", "--json", "--home", finished.home).out.splitlines()]
    assert len(steps) == len(lines) - 1
    assert [steps[-1][name] for name in ("state", "generation", "evaluations")] == [
        "done",
        finished.summary["generations"],
        finished.summary["evaluations"],
    ]


@pytest.mark.parametrize("given", ["0", "-5", "+", "many", "1e3"])
def test_an_extension_is_a_number_of_more(program: Program, finished: Done, given: str) -> None:
    answer = program("resume", "tiny", f"--evaluations={given}", "--home", finished.home)
    assert answer.code == 2
    assert "write how many more, e.g. +500" in answer.err


@pytest.mark.slow
def test_a_finished_campaign_is_gone_on_with(own_home: Path, finished: Done) -> None:
    answer = run_apart("resume", "tiny", "--evaluations", "+6", "--json", "--home", own_home, env=DEAD)
    assert answer.code == 0, answer.err
    summary = json.loads(answer.out.splitlines()[-1])
    assert summary["evaluations"] >= finished.summary["evaluations"] + 6
    assert summary["state"] == "done"
    shown = run_apart("run", finished.config, "--json", "--home", own_home, env=DEAD)
    assert json.loads(shown.out.splitlines()[-1])["extended"] == summary["extended"]


@pytest.mark.slow
def test_another_cpu_capability_is_told_and_gone_on_with_only_when_asked(tmp_path: Path) -> None:
    home = tmp_path / "h"
    with whole.Driver(whole.run_command(home)) as driver:
        assert driver.wait_for(lambda: whole.num_commits(home) >= 4)
        assert whole.call(command("pause", "--home", home)).returncode == 0
        driver.finish()
    refused = whole.call(whole.command("resume", "--home", home), ATEN_CPU_CAPABILITY="default")
    if refused.returncode == 0:
        pytest.skip("this machine has nothing beyond the default capability")
    assert refused.returncode == 2
    assert "cpu: recorded" in refused.stderr
    assert "here DEFAULT" in refused.stderr
    assert "--continue-inexact" in refused.stderr
    arguments = whole.command("resume", "--continue-inexact", "--json", "--home", home)
    allowed = whole.call(arguments, ATEN_CPU_CAPABILITY="default")
    assert allowed.returncode == 0, allowed.stderr
    assert json.loads(allowed.stdout.splitlines()[-1])["inexact"] == 1
    shown = whole.call(whole.command("status", "--home", home))
    assert "in another environment" in shown.stderr
