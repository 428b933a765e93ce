from __future__ import annotations

from pathlib import Path

from blake3 import blake3

from evolve.home import Home
from evolve.origin import row_reader
from evolve.publish import StoreShelf
from population.packs import LEAST_ROWS
from tests.evolve import small


def test_kept_rows_are_found_whether_few_were_kept_or_many(tmp_path: Path) -> None:
    home, plan = Home.create(tmp_path / "h"), small.plan_of()
    shelf = StoreShelf(plan, home.block_store())
    few, many = [b"alone"], [b"%d" % number for number in range(LEAST_ROWS)]
    for rows in (few, many):
        shelf.keep_rows(rows)
    assert len(home.block_store().list_objects()) == 1
    assert len(home.block_store().packs().names()) == 1
    for find in (shelf.stored_row, StoreShelf(plan, home.block_store()).stored_row, row_reader(home)):
        assert [find(blake3(row).digest()) for row in (*few, *many)] == [*few, *many]
        assert find(bytes(32)) is None


def test_a_later_keyframe_writes_only_rows_that_are_new(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    shelf = StoreShelf(small.plan_of(), home.block_store())
    rows = [b"%d" % number for number in range(3 * LEAST_ROWS)]
    shelf.keep_rows(rows[: 2 * LEAST_ROWS])
    shelf.keep_rows(rows[LEAST_ROWS:])
    packs = home.block_store().packs()
    assert sorted(len(packs.digests(name)) for name in packs.names()) == [LEAST_ROWS, 2 * LEAST_ROWS]
