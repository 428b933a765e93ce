from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from evolve.campaign.summary import Progress
from evolve.cli.shared.progress import Lines, line, live_table, shown

SOME = Progress(
    phase="search",
    generation=3,
    evaluations=120,
    evaluations_per_s=41.3,
    best={"accuracy": 0.97222},
    population=24,
    flops=4.2e9,
    seconds=12.0,
    seconds_left=30.0,
    quarantined=2,
    operator_shares={"gaussian@1": 0.75, "burst@1": 0.25},
)


def test_a_line_tells_best_rate_and_time_left() -> None:
    text = line(SOME)
    for part in (
        "search",
        "generation   3",
        "120 evaluations",
        "41/s",
        "accuracy 0.9722",
        "2 in quarantine",
        "about 30.0 s left",
    ):
        assert part in text


def test_lines_come_at_most_once_a_second_but_for_new_phases() -> None:
    written: list[str] = []
    now = [0.0]
    lines = Lines(written.append, lambda: now[0])
    lines(SOME)
    lines(replace(SOME, generation=4))
    assert len(written) == 1
    now[0] = 1.5
    lines(replace(SOME, generation=4))
    lines(replace(SOME, generation=4))
    assert len(written) == 2
    lines(replace(SOME, generation=4, phase="distil"))
    assert len(written) == 3


def test_where_standard_error_is_no_terminal_plain_lines_go_there(capsys: pytest.CaptureFixture[str]) -> None:
    with shown() as progress:
        progress(SOME)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == line(SOME) + "\n"


def test_a_terminal_shows_operators_by_share() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(live_table(SOME))
    text = console.export_text()
    assert text.index("gaussian@1 75%") < text.index("burst@1 25%")
    assert "0.9722" in text
