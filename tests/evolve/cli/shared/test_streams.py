"""What a terminal obeys never reaches it from data; and streams that are closed, full or gone end in words."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.text import Text
from rich.tree import Tree

from evolve import display
from evolve.cli.shared import failure, output
from evolve.cli.shared.streams import Screen, screens
from population.errors import InputError, StorageError
from tests.evolve.cli.conftest import Done, Program, command, environment

#: ESC, BEL, CSI of eight bits, OSC 52, backspace, carriage return, an override of the order of letters, half a character.
HOSTILE = "\x1b[31m\x07\x9b31m\x1b]52;c;aGk=\x07\b\r\u202e\udcff\u2066[red]x[/red]"
SHOWN = r"\x1b[31m\x07\x9b31m\x1b]52;c;aGk=\x07\x08\r\u202e\udcff\u2066[red]x[/red]"
OBEYED = set("\x1b\x07\x9b\b\r\u202e\u2066\udcff")


@pytest.mark.parametrize(
    "print_it",
    [
        output.say,
        output.note,
        output.show,
        lambda text: output.show(display.table((text,), [(text,)])),
        lambda text: output.show(display.pairs([(text, text)])),
        lambda text: failure.report(InputError(text)),
        lambda text: sys.stderr.write(text),  # noqa: PLW0108 -- as below
        lambda text: sys.stdout.write(text),  # noqa: PLW0108 -- the stream of the moment, not of the collection
    ],
    ids=["say", "note", "show", "table", "pairs", "report", "write err", "write out"],
)
def test_text_of_data_is_shown_and_not_obeyed(
    print_it: object, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    with screens():
        print_it(HOSTILE)  # type: ignore[operator]
        sys.stdout.flush()
    captured = capfd.readouterr()
    assert SHOWN in captured.out + captured.err
    assert not OBEYED & set(captured.out + captured.err)


def test_texts_inside_trees_are_shown_too(capfd: pytest.CaptureFixture[str]) -> None:
    output.show(Tree(Text("\x1b[31m\u202e")))
    assert r"\x1b[31m\u202e" in capfd.readouterr().out


def test_json_carries_them_as_numbers_and_unchanged() -> None:
    text = output.json_text({HOSTILE: HOSTILE})
    assert not OBEYED & set(text)
    assert json.loads(text) == {HOSTILE: HOSTILE}


def test_csv_carries_them_unchanged(program: Program, finished: Done) -> None:
    answer = program("query", "SELECT chr(27) || chr(155) AS a", "--format", "csv", "--home", finished.home)
    assert answer.out == "a\n\x1b\x9b\n"


def test_arguments_are_shown_and_not_obeyed(program: Program, finished: Done) -> None:
    for arguments in (["status", HOSTILE], ["status", "x", HOSTILE], ["--" + HOSTILE], ["query", f"SELECT '{HOSTILE}"]):
        answer = program(*arguments, "--home", finished.home)
        assert answer.code == 2, answer
        assert not OBEYED & set(answer.out + answer.err), arguments


def test_a_stream_without_the_letters_gets_them_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with screens():
        output.show_json({"é": "😀"})
        output.say("é")
        sys.stdout.flush()
    first, second = raw.getvalue().decode().splitlines()
    assert (json.loads(first), second) == ({"é": "😀"}, "\\xe9")


class _Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_standard_output_that_refuses_is_an_error_and_standard_error_is_none() -> None:
    with pytest.raises(StorageError, match="standard output"):
        Screen(_Full(), must_arrive=True).write("x")
    Screen(_Full(), must_arrive=False).write("x")


@pytest.mark.parametrize(
    ("redirected", "code"),
    [
        (">/dev/full", 3),
        (">&-", 0),
        ("<&- >&- 2>&-", 0),
        ("2>/dev/full", 0),
        ("| head -0", 1),
    ],
)
@pytest.mark.parametrize("form", ["", " --json"])
def test_streams_that_are_closed_full_or_gone(finished: Done, redirected: str, code: int, form: str) -> None:
    line = f"set -o pipefail; {' '.join(command('status', '--home', finished.home))}{form} {redirected}"
    done = subprocess.run(
        ["/bin/bash", "-c", line], env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert ("standard output" in done.stderr) == (code == 3)


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    line = f"mkdir {gone}; cd {gone}; rmdir {gone}; {' '.join(command('status'))}"
    done = subprocess.run(
        ["/bin/bash", "-c", line], env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2, done
    assert "cd to another" in done.stderr
