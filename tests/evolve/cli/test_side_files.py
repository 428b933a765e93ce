"""Every side file of a home, damaged in every way: each command that reads it says so in words, and none is our fault.

The whole product takes long; the quick share tries each file with each damage once, with a command that reads it.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from population.errors import InputError
from tests.evolve.cli.conftest import Answer, Done, Program

TOMBSTONE = {"campaign": "gone", "campaign_key": "ab" * 32, "seed": 1, "evaluations": 9, "purged": 1.7e9}
#: Files by what they are to a home; `{block}` is the champion's id.
FILES = (
    "VERSION",
    "campaigns/tiny/summary.json",
    "campaigns/tiny/config.yaml",
    "campaigns/tiny/fork.json",
    "campaigns/tiny/driver.json",
    "campaigns/tiny/request.json",
    "campaigns/tiny/data.json",
    "campaigns/tiny/baselines.json",
    "campaigns/tiny/lineage.lock",
    "campaigns/tiny/lineage.synced",
    "campaigns/tiny/journal-1.log",
    "campaigns/tiny/checkpoint-3.evck",
    "campaigns/_home/journal-0.log",
    "campaigns/_home/lineage.lock",
    "lineage/tiny/MANIFEST",
    "lineage/tiny/births-0-5.parquet",
    "tombstones/gone.json",
    "mlflow-heads.json",
    "upgrade.lock",
    "keys/trusted.json",
    "keys/lock",
    "store/FORMAT",
    "store/locks/heads",
    "store/refs/production/tiny/HEAD",
    "store/reflog/production/tiny/0000000001-{block}",
    "campaigns/tiny",
    "campaigns",
    "lineage",
    "tombstones",
    "store",
    "store/refs",
    "keys",
)
#: Commands that read a home and start nothing.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "status": ("status",),
    "status --json": ("status", "--json"),
    "status --purged": ("status", "--purged"),
    "watch": ("watch", "tiny"),
    "pause": ("pause", "--wait", "0"),
    "stop": ("stop", "tiny", "--wait", "0"),
    "heads": ("heads", "--history"),
    "promote": ("promote", "{block}", "--name", "tiny"),
    "rollback": ("rollback", "tiny"),
    "report": ("report", "tiny"),
    "lineage": ("lineage", "tiny"),
    "quarantine": ("quarantine", "list"),
    "upgrade": ("upgrade",),
    "doctor": ("doctor", "--quick"),
    "blocks list": ("blocks", "list"),
    "blocks show": ("blocks", "show", "tiny"),
    "fsck": ("fsck", "lineage"),
    "purge": ("purge", "tiny", "--yes"),
    "resume": ("resume", "no-such"),
    "ui": ("ui",),
}


def _put(path: Path, data: bytes) -> None:
    _remove(path)
    path.write_bytes(data)


def _remove(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def _fields(path: Path, change: Callable[[Any], Any]) -> None:
    """Changes every field of the mapping that a file holds; of another file one that commands may look for."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict):
        value = {"token": "x", "purged": None, "campaign": "x"}
    _put(path, json.dumps({name: change(entry) for name, entry in value.items()}).encode())


def _cut(path: Path) -> None:
    data = path.read_bytes() if path.is_file() else b'{"token": ['
    _put(path, data[: len(data) // 2])


def _huge(path: Path) -> None:
    _put(path, b"{")
    os.truncate(path, 1 << 40)  # sparse


def _folder(path: Path) -> None:
    _remove(path)
    path.mkdir()


def _link(path: Path, to: str) -> None:
    _remove(path)
    path.symlink_to(to)


def _pipe(path: Path) -> None:
    _remove(path)
    os.mkfifo(path)


DAMAGES: Mapping[str, Callable[[Path], None]] = {
    "missing": _remove,
    "empty": lambda path: _put(path, b""),
    "cut": _cut,
    "a list": lambda path: _put(path, b"[1]"),
    "an empty mapping": lambda path: _put(path, b"{}"),
    "binary": lambda path: _put(path, bytes(range(256)) * 40),
    "nested without end": lambda path: _put(path, b"[" * 200_000),
    "a number without end": lambda path: _put(path, b"9" * 10_000),
    "numbers in its fields": lambda path: _fields(path, lambda _: 7),
    "texts in its fields": lambda path: _fields(path, lambda _: "\x1b[31m\ud800"),
    "lists in its fields": lambda path: _fields(path, lambda _: [[{}]]),
    "mappings in its fields": lambda path: _fields(path, lambda _: {"a": {"b": [1]}}),
    "nulls in its fields": lambda path: _fields(path, lambda _: None),
    "vast numbers in its fields": lambda path: _fields(path, lambda _: 10**400),
    "a folder": _folder,
    "a link to itself": lambda path: _link(path, path.name),
    "a link to zeros": lambda path: _link(path, "/dev/zero"),
    "a pipe": _pipe,
}
#: A file of a tebibyte: of those that are read within a bound.
SMALL = ("VERSION", "summary.json", "config.yaml", "fork.json", "driver.json", "gone.json", "mlflow-heads.json", "HEAD")


class _Silent:
    """A tracker that tells nobody."""

    problem = None

    def __init__(self, *_: object) -> None: ...

    def promoted(self, *_: object) -> None: ...

    def close(self, _: float = 0.0) -> None: ...


def _nowhere(_: int | None) -> int:
    raise InputError("no port: the server is not tried here")


@pytest.fixture
def told_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No MLflow: what it is told is not tried here, and it takes seconds."""
    monkeypatch.setattr("evolve.tracking.mlflow_tracker.MlflowTracker", _Silent)
    monkeypatch.setattr("evolve.cli.home.ui._free_port", _nowhere)


def _try(program: Program, finished: Done, folder: Path, file: str, damage: str, command: str) -> Answer:
    """Calls a command on a damaged copy of a finished home; checks how it ends."""
    home, block = folder / "home", str(finished.summary["champion"])
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(finished.home, home, ignore=shutil.ignore_patterns("mlartifacts", "exports", "mlflow.db"))
    (home / "tombstones" / "gone.json").write_text(json.dumps(TOMBSTONE))
    DAMAGES[damage](home / file.format(block=block))
    answer = program(*(word.format(block=block) for word in COMMANDS[command]), "--home", home)
    case = f"{file}, {damage}, {command}: {answer}"
    assert answer.code in (0, 1, 2, 3), case
    assert "Traceback" not in answer.err, case
    assert "\x1b" not in answer.err, case
    assert answer.code == 0 or answer.err or answer.out, case
    return answer


#: Files and damages, each with one command, so that every command meets every damage.
QUICK = [
    (file, damage, list(COMMANDS)[(place * 7 + shift * 3) % len(COMMANDS)])
    for place, file in enumerate(FILES)
    for shift, damage in enumerate(DAMAGES)
    if (place + shift) % 6 == 0
]


@pytest.mark.usefixtures("told_nobody")
@pytest.mark.parametrize("share", range(4))
def test_a_damaged_side_file_is_told_in_words(program: Program, finished: Done, tmp_path: Path, share: int) -> None:
    for file, damage, command in QUICK[share::4]:
        _try(program, finished, tmp_path, file, damage, command)


@pytest.mark.slow
@pytest.mark.usefixtures("told_nobody")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.timeout(3600)
def test_every_side_file_damaged_in_every_way_before_every_command(
    program: Program, finished: Done, tmp_path: Path, told: Callable[[str], None], file: str
) -> None:
    cases = list(itertools.product(DAMAGES, COMMANDS))
    for damage, command in cases:
        _try(program, finished, tmp_path, file, damage, command)
    told(f"{len(cases)} cases, 0 of exit code 70")


@pytest.mark.usefixtures("told_nobody")
@pytest.mark.parametrize("damage", ["cut", "a list", "nested without end", "texts in its fields", "a folder"])
@pytest.mark.parametrize("name", ["summary.json", "config.yaml", "fork.json"])
def test_a_damaged_campaign_hides_no_other(
    program: Program, finished: Done, tmp_path: Path, name: str, damage: str
) -> None:
    """One summary that was damaged took the status of the whole home with it."""
    home = Path(shutil.copytree(finished.home, tmp_path / "home"))
    shutil.copytree(home / "campaigns" / "tiny", home / "campaigns" / "other")
    for journal in (home / "campaigns" / "other").glob("journal-*"):
        journal.unlink()
    DAMAGES[damage](home / "campaigns" / "other" / name)
    if name == "config.yaml":
        (home / "campaigns" / "other" / "summary.json").unlink()
    answer = program("status", "--home", home)
    assert "accuracy" in answer.out, answer
    if name != "fork.json":
        assert answer.code == 1, answer
        assert "damaged" in answer.out
        assert str(home / "campaigns" / "other" / name) in answer.err


@pytest.mark.usefixtures("told_nobody")
@pytest.mark.parametrize("name", SMALL)
def test_a_small_file_of_a_tebibyte_is_not_read(program: Program, finished: Done, tmp_path: Path, name: str) -> None:
    home = Path(shutil.copytree(finished.home, tmp_path / "home"))
    (home / "tombstones" / "gone.json").write_text(json.dumps(TOMBSTONE))
    (home / "campaigns" / "tiny" / "fork.json").write_text("{}")
    (home / "campaigns" / "tiny" / "driver.json").write_text("{}")
    found = next(path for path in home.rglob(name) if "mlartifacts" not in path.parts)
    _huge(found)
    for command in ("status", "status --purged", "heads", "report", "lineage"):
        answer = program(*COMMANDS[command], "--home", home)
        assert answer.code in (0, 1, 2, 3), answer


def test_a_damaged_tombstone_hides_no_other(program: Program, finished: Done, tmp_path: Path) -> None:
    home = Path(shutil.copytree(finished.home, tmp_path / "home"))
    (home / "tombstones" / "a.json").write_text("{")
    (home / "tombstones" / "gone.json").write_text(json.dumps(TOMBSTONE))
    for options in ([], ["--json"]):
        answer = program("status", "--purged", *options, "--home", home)
        assert (answer.code, "gone" in answer.out, "a.json" in answer.err) == (1, True, True), answer
