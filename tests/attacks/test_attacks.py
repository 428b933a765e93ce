from __future__ import annotations

import ast
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fitness.processes.isolation import probe, report_of
from tests.attacks import runner
from tests.attacks.runner import Trial, attack_names, jailed_sleeper, run
from tests.attacks.worlds import WORLDS, can_have_namespaces
from tests.orphans import is_running, no_orphans

HERE = Path(__file__).parent
KILLED_WITHIN_S = 0.25
#: What a process is judged with when one wall is missing: these groups have to stay closed by the others.
CLOSED_TWICE = ("files/read", "files/write", "files/overwrite", "proc/", "environment/", "descriptors/")
is_root = os.getuid() == 0

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the attacks are written for Linux on x86-64"
)


def successes(trials: Sequence[Trial]) -> list[str]:
    return [f"{trial.name}: {trial.what}" for trial in trials if trial.succeeded]


def reasons(trials: Sequence[Trial]) -> str:
    """How often which end, in words."""
    counts = Counter("succeeded" if trial.succeeded else trial.what.split(":")[0] for trial in trials)
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common())


def worlds() -> list[str]:
    """The worlds that this process may join."""
    return [world for world, each in WORLDS.items() if is_root or not each.is_root]


def test_there_are_at_least_sixty_attacks_and_each_says_what_it_is_after() -> None:
    names = attack_names()
    assert len(names) >= 60
    for name in names:
        text = ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text()))
        assert text, name


def test_no_attack_succeeds_inside(told: Callable[[str], None]) -> None:
    """All of them, from one zygote, as whoever runs the tests."""
    world = worlds()[0]
    trials = run(world, inside=True)
    told(f"{len(trials)} attacks inside as {world}: {reasons(trials)}")
    assert successes(trials) == []
    assert max(trial.late_s for trial in trials) < KILLED_WITHIN_S


#: What users differ in: their files, their neighbours, their rights, and the way in which they get namespaces.
BY_USER = ("files/read_secret", "processes/signal_prey", "processes/clock_of_prey", "proc/prey_memory", "kernel/name",
           "namespaces/user", "sockets/inet_connect", "bombs/spin")  # fmt: skip


@pytest.mark.skipif(not is_root, reason="the test above is as an ordinary user already")
def test_no_attack_succeeds_inside_as_an_ordinary_user_either(told: Callable[[str], None]) -> None:
    """Some of them; every attack begins, as the user of its world and behind the walls that it has: `run` holds that."""
    trials = run("an ordinary user", inside=True, names=BY_USER)
    told(f"{len(trials)} attacks began inside as an ordinary user: {reasons(trials)}")
    assert successes(trials) == []


def test_the_walls_are_whole_in_every_world(told: Callable[[str], None]) -> None:
    """An ordinary user got no judge at all where namespaces are to be had; every attack begins, and the level is full."""
    command = [sys.executable, "-m", "tests.attacks.examine", *worlds()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=HERE.parents[1])
    assert (done.returncode, done.stderr) == (0, "")
    found = {each["world"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert list(found) == worlds()
    for world, each in found.items():
        report = report_of(each)
        told(f"{world}: {report.line()}")
        assert (report.level, report.succeeded, report.not_run) == ("full", [], [])
        assert ("namespaces" in report.layers) == can_have_namespaces(world)
        assert "Landlock" not in report.layers or WORLDS[world].has_landlock


@pytest.mark.slow
def test_most_attacks_succeed_outside(told: Callable[[str], None]) -> None:
    """An attack that the machine refuses anyway says nothing about the jail; at least 40 must depend on it."""
    trials = run(worlds()[0], inside=False)
    told(f"{len(trials)} attacks outside as {worlds()[0]}: {reasons(trials)}")
    assert len(trials) >= 60
    assert len(successes(trials)) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("world", worlds()[1:])
def test_no_attack_succeeds_inside_in_any_other_world(world: str, told: Callable[[str], None]) -> None:
    outside, trials = run(world, inside=False), run(world, inside=True)
    told(f"{len(trials)} attacks, all of them begun, as {world}: outside {reasons(outside)}; inside {reasons(trials)}")
    assert len(successes(outside)) >= 40
    assert successes(trials) == []
    assert max(trial.late_s for trial in trials) < KILLED_WITHIN_S


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["namespaces", "Landlock", "system calls", "empty root", "own user"])
def test_without_one_wall_the_others_still_keep_files_processes_and_secrets(
    layer: str, told: Callable[[str], None]
) -> None:
    """No layer is the only one between an attack and what it is after."""
    trials = run(worlds()[0], inside=True, without=[layer])
    escaped = [trial for trial in trials if trial.succeeded]
    told(f"without {layer}: {len(escaped)} of {len(trials)} succeed ({', '.join(trial.name for trial in escaped)})")
    secrets = [trial.name for trial in escaped if trial.name.startswith(CLOSED_TWICE) or "PLANT-" in trial.what]
    assert secrets == []
    assert layer == "system calls" or escaped == []


@pytest.mark.slow
@pytest.mark.parametrize("world", worlds())
def test_a_jailed_process_dies_with_its_zygote(world: str) -> None:
    """However it was forked, and whatever it gave up on the way in: giving up a user makes the kernel forget the bond."""
    with no_orphans(), jailed_sleeper(world) as (zygote, child):
        assert is_running(child)
        zygote.kill()
        zygote.wait()
        time.sleep(KILLED_WITHIN_S)
        assert not is_running(child)


def test_the_runner_believes_only_what_was_planted() -> None:
    """Outside, an attack that reads a secret succeeds; the same file claims nothing it cannot show."""
    names = [
        "environment/variables",
        "files/read_secret",
        "files/write_file",
        "processes/daemon",
        "processes/signal_prey",
    ]
    trials = {trial.name: trial for trial in run(worlds()[0], inside=False, names=[*names, "bombs/silence"])}
    assert [name for name in names if not trials[name].succeeded] == []
    assert "PLANT-environment-" in trials["environment/variables"].what
    assert "PLANT-file-" in trials["files/read_secret"].what
    assert trials["files/write_file"].what == "written was made"
    assert "1 processes were left" in trials["processes/daemon"].what
    assert "signal 10" in trials["processes/signal_prey"].what
    assert not trials["bombs/silence"].succeeded


def test_an_attack_that_never_began_fails_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was counted as refused: two had looked for a codec in a file, and were never seen to connect."""
    monkeypatch.setattr(runner, "_judged", lambda outcome, *_: Trial(outcome["name"], False, "", 0.0, {}, False))
    with pytest.raises(AssertionError, match="attacks that did not run"):
        run(worlds()[0], inside=False, names=["files/read_secret"])


def test_an_attack_with_a_fault_of_its_own_fails_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = runner._judged
    monkeypatch.setattr(runner, "_judged", lambda outcome, *rest: replace(judge(outcome, *rest), is_fault=True))
    with pytest.raises(AssertionError, match="bombs/silence"):
        run(worlds()[0], inside=False, names=["bombs/silence"])


@pytest.mark.slow
def test_the_level_is_told_and_is_full_only_where_nothing_succeeds(told: Callable[[str], None]) -> None:
    """The probe attacks; where walls are taken away that leave something open it does not say full."""
    whole = probe()
    bare = probe(without=("namespaces", "empty root", "Landlock", "system calls"))
    told(f"{whole.line()} | bare: {bare.line()}")
    assert whole.level == "full"
    assert bare.level != "full"
    assert bare.succeeded != []


@pytest.mark.slow
def test_a_process_that_reads_named_folders_learns_what_exists_and_nothing_else(told: Callable[[str], None]) -> None:
    """What a query runs in may start threads and read one folder: names are told, contents and everything else are not."""
    with tempfile.TemporaryDirectory() as folder:
        trials = run(worlds()[0], inside=True, readable=[folder], threads=True)
    escaped = {trial.name for trial in trials if trial.succeeded}
    told(f"{len(trials)} attacks from a process with one readable folder and threads: {reasons(trials)}")
    names = {"files/access_secret", "files/read_link", "files/stat_secret", "files/working_folder"}
    assert escaped <= {*names, "processes/thread"}
