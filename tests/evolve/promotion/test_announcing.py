"""What a promotion leaves for the tracker, on a disk that fails: whole or not there, and made up for the next time."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from evolve.home.home import Home
from evolve.promotion.promote import catch_up, install
from evolve.runtime.bundle import read_export
from evolve.tracking.mlflow_tracker import SEQUENCES_FILE
from evolve.tracking.protocol import NullTracker
from population.blocks.block import TensorBlock
from population.errors import FormatError, StorageError
from population.files.local_files import LocalFiles
from tests.evolve.kills import Killed, killed_at, points_of
from tests.population.faulty_files import FaultyFiles
from tests.population.strategies import mlp, random_stack


class Told:
    """A tracker that keeps what it is told of promotions."""

    def __init__(self) -> None:
        self.heads: dict[str, str] = {}

    def promoted(self, name: str, block_id: str, archive: Path) -> None:
        assert read_export(archive).id == block_id
        assert json.loads((archive.parent / SEQUENCES_FILE).read_bytes())[name] == 1
        self.heads[name] = block_id

    def __getattr__(self, name: str) -> Any:
        return getattr(NullTracker(), name)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with one block, which two names point to; nobody has told a tracker."""
    home = Home.create(tmp_path / "h")
    block = home.block_store().put(TensorBlock.from_stack(random_stack(mlp(), 1, seed=1), 0))
    for name in ("first", "second"):
        assert install(home, block, name, "for a test")
    return home


@pytest.mark.parametrize("is_after", [False, True])
def test_a_promotion_is_told_to_the_tracker_whatever_the_disk_refuses_before(
    home: Home, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    (block,) = home.block_store().list_blocks()
    folder = home.root / "exports" / block
    number = 0
    while True:
        LocalFiles().remove_tree(home.root / "exports", home.root / "aside")
        files = FaultyFiles(LocalFiles(), number, is_after=is_after, only_changes=True)
        with monkeypatch.context() as patch, suppress(StorageError):
            patch.setattr(Home, "files", files)
            catch_up(home, tracker=Told())
        if (folder / SEQUENCES_FILE).exists():
            assert json.loads((folder / SEQUENCES_FILE).read_bytes()) == {"first": 1, "second": 1}
        if (folder / "block" / "block").exists():
            assert read_export(folder / "block").id == block
        else:
            with pytest.raises(FormatError, match="not an export"):
                read_export(folder / "block")
        told = Told()
        catch_up(home, tracker=told)
        assert told.heads == {"first": block, "second": block}
        if files.num_calls <= number:
            assert number > 4
            return
        number += 1


def test_a_note_of_sequences_that_is_killed_anywhere_is_the_old_one_or_the_new(home: Home) -> None:
    """It was once written in place: half of it stood there, and the tracker showed a head without its sequence."""
    (block,) = home.block_store().list_blocks()
    note = home.root / "exports" / block / SEQUENCES_FILE
    points = points_of(lambda: catch_up(home, tracker=Told()))
    new, old = note.read_bytes(), b'{"first": 1}'
    seen = set()
    for point, moment in points:
        note.write_bytes(old)
        with killed_at(point, moment), pytest.raises(Killed):
            catch_up(home, tracker=Told())
        assert note.read_bytes() in (old, new)
        seen.add(note.read_bytes())
    assert seen == {old, new}
