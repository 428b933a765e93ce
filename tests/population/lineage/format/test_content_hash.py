"""The content hash: what changes it and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from population.clock import ManualClock
from population.files.local_files import MemoryFiles
from population.lineage import Commit, LineageReader, LineageWriter
from tests.population.lineage.lineage_samples import sample_births, sample_campaign, sample_commit


def content_hash(commits: list[Commit], handle: str = "digits-1", seal_after: tuple[int, ...] = ()) -> str:
    files, home = MemoryFiles(), Path("/home")
    with LineageWriter(files, home, handle, ManualClock()) as writer:
        for commit in commits:
            writer.commit(commit)
            if commit.step in seal_after:
                writer.seal()
    return LineageReader(files, home).content_hash(handle)


COMMITS = [sample_commit(step) for step in range(4)]
PLAIN = content_hash(COMMITS)


@pytest.mark.parametrize("seal_after", [(0,), (1, 2), (0, 1, 2, 3)])
def test_sealing_leaves_the_hash(seal_after):
    assert content_hash(COMMITS, seal_after=seal_after) == PLAIN


def test_the_handle_leaves_the_hash():
    assert content_hash([sample_commit(step, handle="renamed") for step in range(4)], handle="renamed") == PLAIN


def test_how_births_are_cut_into_batches_and_steps_leaves_the_hash():
    whole = Commit(0, (sample_births(0, 6),))
    parts = [Commit(0, (sample_births(0, 2), sample_births(2, 1))), Commit(1), Commit(2, (sample_births(3, 3),))]
    assert content_hash([whole]) == content_hash(parts)


def test_clocks_incidents_and_events_leave_the_hash():
    rows = {name: [dict(row) for row in entries] for name, entries in COMMITS[0].rows.items()}
    rows["generations"][0]["seconds"] = 99.0
    rows["campaigns"][0]["started"] = 1.0
    rows["campaigns"][0]["config"] = {"workers": 64}
    other = replace(COMMITS[0], rows=rows, incidents=({"kind": "host"},), events=({"kind": "clock"},))
    assert content_hash([other, *COMMITS[1:]]) == PLAIN


def test_a_pause_leaves_the_hash():
    paused = [Commit(4, rows={"campaigns": [{"state": "paused"}]}), Commit(5, rows={"campaigns": [sample_campaign()]})]
    assert content_hash(COMMITS + paused) == PLAIN


def _changed(name: str, value: Any) -> list[Commit]:
    births = replace(COMMITS[0].births[0], **{name: value})
    return [replace(COMMITS[0], births=(births,)), *COMMITS[1:]]


BIRTHS = COMMITS[0].births[0]


def _with(name: str, index: int, value: Any) -> Any:
    column = getattr(BIRTHS, name)
    if isinstance(column, np.ndarray):
        column = column.copy()
        column[index] = value
        return column
    return tuple(value if position == index else entry for position, entry in enumerate(column))


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("seed", 3, 0),
        ("individual", 3, "0" * 32),
        ("operator", 3, "other@1"),
        ("settings", 3, "{}"),
        ("inputs", 3, ("00",)),
        ("generation", 3, 9),
        ("species", 3, "x"),
        ("coordinate", 3, "x"),
        ("weights_digest", 3, "x"),
        ("weights_digest", 3, None),
        ("status", 4, "active"),
        ("verdict", 3, "crash"),
        ("detail", 3, "x"),
        ("repeat_of", 3, "x"),
        ("flops", 3, 0),
        ("scores", 4, 0.25),
        ("skills", 4, 0.25),
    ],
)
def test_every_column_of_a_birth_changes_the_hash(name, index, value):
    assert content_hash(_changed(name, _with(name, index, value))) != PLAIN


def test_the_constants_of_a_batch_change_the_hash():
    assert content_hash(_changed("environment", "other")) != PLAIN
    assert content_hash(_changed("sandbox_level", "full")) != PLAIN
    assert content_hash(_changed("num_samples", 1)) != PLAIN


def test_text_moved_from_one_row_to_its_neighbour_changes_the_hash():
    one = sample_births(0, 2, detail=("ab", "c"))
    other = sample_births(0, 2, detail=("a", "bc"))
    assert content_hash([Commit(0, (one,))]) != content_hash([Commit(0, (other,))])


def test_zero_has_two_signs_and_nan_one_form():
    births = sample_births(0, 3)
    scores = births.scores.copy()
    scores[0, 0] = 0.0
    zero = content_hash([Commit(0, (replace(births, scores=scores),))])
    negative = scores.copy()
    negative[0, 0] = -0.0
    assert content_hash([Commit(0, (replace(births, scores=negative),))]) != zero
    quiet, odd = scores.copy(), scores.copy()
    quiet[0, 0] = np.nan
    odd[0, 0] = np.array([0xFFF8_0000_0000_0123], np.uint64).view(np.float64)[0]
    assert content_hash([Commit(0, (replace(births, scores=quiet),))]) == content_hash(
        [Commit(0, (replace(births, scores=odd),))]
    )


def test_rare_rows_change_the_hash():
    more = Commit(4, rows={"lifecycle": [{"individual": "a", "status": "archived"}]})
    assert content_hash([*COMMITS, more]) != PLAIN
    other = Commit(4, rows={"lifecycle": [{"individual": "a", "status": "promoted"}]})
    assert content_hash([*COMMITS, more]) != content_hash([*COMMITS, other])
