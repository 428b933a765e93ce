from __future__ import annotations

import datetime as dt
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from evolve.cli.shared.helptext import kept
from evolve.cli.shared.output import json_text, plain, show
from evolve.display import table

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_json_knows_is_written_as_it_is(value: object) -> None:
    assert json.loads(json_text(value)) == value


def test_what_json_does_not_know_has_a_plain_form() -> None:
    value = {"nan": math.nan, 1: math.inf, "b": b"\x01\xff", "t": dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "s": (1, 2)}
    assert plain(value) == {"nan": None, "1": None, "b": "01ff", "t": "2026-01-02T00:00:00+00:00", "s": [1, 2]}


def test_cells_are_text_and_never_markup(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    show(table(("a",), [("[red]x[/red]",)]))
    assert "[red]x[/red]" in capsys.readouterr().out


def test_a_text_that_says_so_is_not_broken_into_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    show(Text("word " * 50, no_wrap=True, overflow="ignore"))
    assert "word " * 49 in capsys.readouterr().out


def test_paragraphs_of_examples_keep_their_lines() -> None:
    assert kept("Text.\n\nExamples:\n  a\n  b\n\nMore.") == "Text.\n\n\b\nExamples:\n  a\n  b\n\nMore."


@pytest.mark.parametrize("told", ["0", "1", "-5", "x", "9" * 30, ""])
def test_a_width_that_nothing_fits_into_is_none(
    told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """COLUMNS=0 printed nothing at all."""
    monkeypatch.setenv("COLUMNS", told)
    show(table(("a",), [("a text of some length",)]))
    assert "a text of some length" in capsys.readouterr().out
