"""Ten wrong uses: each a message that names the field or file and the remedy, no traceback, and nothing half-written."""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evolve.config.campaign import check_config, read_config
from evolve.home.home import Home
from evolve.planning.plan import make_plan
from tests.evolve.cli.conftest import CONFIG, Answer, Done, Program, environment, run_apart, write_config


def refused(answer: Answer, code: int, *words: str) -> None:
    """Checks exit code and message of a refusal."""
    assert answer.code == code, answer
    assert answer.out == ""
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


def untouched(home: Path) -> None:
    """Checks that no home was begun."""
    assert not home.exists()


def test_no_such_file(program: Program, tmp_path: Path) -> None:
    refused(program("run", "configs/digts.yaml", "--home", tmp_path / "h"), 2, "configs/digts.yaml", "no such file")
    untouched(tmp_path / "h")


def test_misspelt_key(program: Program, tmp_path: Path) -> None:
    config = write_config(tmp_path, strategy={"kind": "ga", "populaton": 4})
    refused(program("run", config, "--home", tmp_path / "h"), 2, "tiny.yaml", "strategy.populaton", "'population'")
    untouched(tmp_path / "h")


def test_misspelt_key_of_an_override(program: Program, tmp_path: Path) -> None:
    answer = program("run", write_config(tmp_path), "stop.generatoins=3", "--home", tmp_path / "h")
    refused(answer, 2, "stop.generatoins", "'generations'")
    untouched(tmp_path / "h")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["strategy.population=1"], ["strategy.population", "greater than or equal to 2", "got 1"]),
        (["operators.burst.settings.steps=0"], ["burst", "steps"]),
        (["--workers", "0"], ["--workers"]),
        (["--seed", "-1"], ["--seed"]),
    ],
)
def test_number_out_of_range(program: Program, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    refused(program("run", write_config(tmp_path), *arguments, "--home", tmp_path / "h"), 2, *words)
    untouched(tmp_path / "h")


def _graph(**changes: Any) -> dict[str, Any]:
    return {**CONFIG["graph"], **changes}


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (_graph(inputs={"image": {"shape": [1, 9, 9], "dtype": "float32"}}), ["image", "[1, 8, 8]"]),
        (
            _graph(
                nodes=[*CONFIG["graph"]["nodes"][:3], {"name": "head", "op": "linear", "inputs": ["act"], "out": 7}]
            ),
            ["logits", "10 classes", "7"],
        ),
        (
            _graph(
                nodes=[
                    *CONFIG["graph"]["nodes"],
                    {"name": "sum", "op": "add", "inputs": ["flat", "head"]},
                ],
                outputs={"logits": "sum"},
            ),
            ["sum"],
        ),
    ],
)
def test_impossible_shapes(program: Program, tmp_path: Path, graph: dict[str, Any], words: list[str]) -> None:
    config = write_config(tmp_path, graph=graph)
    refused(program("run", config, "--home", tmp_path / "h"), 2, *words)
    untouched(tmp_path / "h")


def test_unknown_head(program: Program, finished: Done) -> None:
    samples = finished.home.parent / "samples.npy"
    np.save(samples, np.zeros((1, 64)))
    for arguments in (["lineage", "tinny"], ["infer", "tinny@lite", "--input", samples], ["blocks", "show", "tinny"]):
        refused(program(*arguments, "--home", finished.home), 2, "'tinny'", "heads: tiny")
    refused(program("promote", "tinny", "--name", "x", "--home", finished.home), 2, "'tinny'")


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["heads"], ["query", "SELECT 1"], ["lineage", "x"], ["blocks", "list"], ["ui"], ["resume", "x"]],
)
def test_not_a_home(program: Program, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "plain").mkdir()
    refused(program(*arguments, "--home", tmp_path / "plain"), 2, "not a home", "plain", "evolve run CONFIG")
    refused(program(*arguments), 2, "not a home", ".evolve", "no such folder")
    assert os.listdir(tmp_path / "plain") == []


def test_a_folder_with_other_things_does_not_become_a_home(program: Program, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("...")
    refused(program("run", write_config(tmp_path), "--home", tmp_path / "mine"), 2, "not a home", "not empty")
    assert os.listdir(tmp_path / "mine") == ["thesis.tex"]


def test_home_of_a_newer_version(program: Program, own_home: Path) -> None:
    os.chmod(own_home / "VERSION", 0o644)
    (own_home / "VERSION").write_text('{"version": 99}')
    before = sorted(own_home.rglob("*"))
    for arguments in (["status"], ["run", write_config(own_home.parent)]):
        refused(program(*arguments, "--home", own_home), 3, str(own_home), "newer", "99", "install")
    assert sorted(own_home.rglob("*")) == before


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT oprator FROM individuals", ["oprator", "operator"]),
        ("SELECT * FROM individual", ["individual", "individuals"]),
        ("DROP TABLE scores", ["SELECT"]),
        ("SELECT * FROM read_csv('/etc/passwd')", ["query"]),
    ],
)
def test_wrong_columns_and_views(program: Program, finished: Done, sql: str, words: list[str]) -> None:
    refused(program("query", sql, "--home", finished.home), 2, *words)


def test_wrong_columns_of_an_input_file(program: Program, finished: Done, tmp_path: Path) -> None:
    np.savetxt(tmp_path / "narrow.csv", np.zeros((3, 63)), delimiter=",")
    np.savez(tmp_path / "named.npz", picture=np.zeros((3, 64)))
    for name, words in (("narrow.csv", ["'image'", "[N, 64]", "[3, 63]"]), ("named.npz", ["image", "picture"])):
        answer = program("infer", "tiny", "--input", tmp_path / name, "--home", finished.home)
        refused(answer, 2, name, *words)


# ---- refusals of the machine -------------------------------------------------------------------------------------------


@pytest.fixture
def nobody() -> Iterator[None]:
    """Takes root's right to ignore permissions away."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_no_permission(tmp_path: Path, program: Program, finished: Done, request: pytest.FixtureRequest) -> None:
    config, closed = write_config(tmp_path), tmp_path / "closed"
    closed.mkdir()
    above = itertools.takewhile(lambda folder: folder.name.startswith(("pytest-", "popen-")), tmp_path.parents)
    for folder in (tmp_path, *above):
        os.chmod(folder, 0o755)
    closed.chmod(0o555)
    make_plan(check_config(read_config(config)))  # imports what the run needs, while every file may be read
    request.getfixturevalue("nobody")
    answer = program("run", config, "--home", closed / "home")
    closed.chmod(0o755) if os.geteuid() == closed.stat().st_uid else None
    refused(answer, 3, "closed", "no permission", "--home")
    assert os.listdir(closed) == []


def limited(most_bytes: int) -> Any:
    """Lets no file of a process grow above this many bytes, as a full disk would."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


def test_no_room_for_a_home_leaves_none(tmp_path: Path) -> None:
    answer = run_apart("run", write_config(tmp_path), "--home", tmp_path / "h", preexec_fn=limited(0))
    refused(answer, 3, str(tmp_path / "h"), "ulimit -f")
    untouched(tmp_path / "h")


@pytest.mark.slow
def test_a_limit_on_file_sizes_ends_the_run_and_resume_goes_on_to_the_same_result(
    tmp_path: Path, finished: Done
) -> None:
    """Shared memory of jails is limited too: that is no candidate's failure, and resume goes on as if nothing had happened."""
    home = tmp_path / "h"
    dead = environment(MLFLOW_TRACKING_URI="http://127.0.0.1:9")  # the tracker is not what is tried here
    answer = run_apart("run", finished.config, "--json", "--home", home, preexec_fn=limited(9_000), env=dead)
    refused(answer, 3, "shared memory", "ulimit -f")
    opened = Home.open(home)
    assert opened.state_of("tiny") == "failed"
    assert not [path for path in home.rglob("*") if path.name.startswith(".tmp-")]
    steps = [commit.step for commit in opened.lineage_reader().commits("tiny")]
    assert steps == list(range(len(steps)))
    resumed = run_apart("resume", "tiny", "--json", "--home", home, env=dead)
    assert resumed.code == 0, resumed.err
    summary = json.loads(resumed.out.splitlines()[-1])
    for name in ("population", "lineage", "champion"):
        assert summary[name] == finished.summary[name]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if not made or made.returncode or not umount:
        pytest.skip("mounting a small file system is not allowed here")
    yield place
    subprocess.run([umount, str(place)], check=True)


@pytest.mark.slow
def test_full_disk(small_disk: Path, finished: Done) -> None:
    (small_disk / "ballast").write_bytes(b"\0" * 200_000)
    dead = environment(MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    answer = run_apart("run", finished.config, "--home", small_disk / "h", env=dead)
    refused(answer, 3, str(small_disk / "h"), "disk is full", "free some space")
    assert Home.open(small_disk / "h").state_of("tiny") == "interrupted"
