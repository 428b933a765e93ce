"""One table says what the machine's refusals mean, wherever a file lies."""

from __future__ import annotations

import ast
import errno
import os
from pathlib import Path

import pytest

from population.errors import NotFound, StorageError
from population.files.os_errors import REFUSALS, told, typed_anywhere
from population.files.user_file import read_user_file

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_a_refusal_has_the_same_words_wherever_it_is_met(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), str(tmp_path / "a"))

    with pytest.raises(StorageError) as in_home, told(tmp_path / "a", "read"):
        refuse()
    anywhere = typed_anywhere(OSError(code, os.strerror(code), str(tmp_path / "a")))
    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises((ValueError, StorageError)) as named_by_a_user:
        read_user_file(tmp_path / "a", 10, "--input a")
    monkeypatch.undo()
    words = f"{REFUSALS[code].reason}; {REFUSALS[code].remedy}"
    for error in (in_home.value, anywhere, named_by_a_user.value):
        assert words in str(error)
    assert "--home" not in str(named_by_a_user.value)


def test_what_is_no_refusal_stays_what_it_is() -> None:
    assert typed_anywhere(OSError("odd")) is None
    assert typed_anywhere(OSError(errno.ECHILD, "No child processes")) is None


def test_what_is_missing_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"cannot read .*gone: there is no such file"), told(tmp_path / "gone", "read"):
        (tmp_path / "gone").read_bytes()


def test_no_other_table_of_errnos_has_words() -> None:
    """There were three, which said different things of the same refusal."""
    found = set()
    for package in ("evolve", "fitness", "population"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                keys = node.keys if isinstance(node, ast.Dict) else []
                if any(isinstance(k, ast.Attribute) and ast.unparse(k).startswith("errno.") for k in keys):
                    found.add(str(path.relative_to(ROOT)))
    assert found == {"population/files/os_errors.py"}
