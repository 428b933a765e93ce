from __future__ import annotations

import threading
from pathlib import Path

import pytest
from blake3 import blake3

from evolve.campaign.summary import Progress
from evolve.driver import launch as launching
from evolve.driver.loop import Interrupted
from evolve.home.home import Home
from evolve.home.origins import row_reader
from evolve.recovery import shelf as publish
from evolve.recovery.shelf import StoreShelf
from fitness.evaluators.in_process import InProcessEvaluator
from population.store.row_packs import LEAST_ROWS, Packs
from tests.evolve import small, whole


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


@pytest.mark.slow
def test_a_resumed_campaign_takes_its_rows_from_the_packs_of_its_keyframe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "make_evaluator", lambda plan: InProcessEvaluator(plan.benchmark, small.MATERIALISE))
    monkeypatch.setattr(publish, "LEAST_ROWS", 1)
    straight = whole.run_in(tmp_path / "straight")
    event = threading.Event()

    def stop(progress: Progress) -> None:
        if progress.generation >= 5:
            event.set()

    with pytest.raises(Interrupted):
        whole.run_in(tmp_path / "h", progress=stop, interrupted=event)
    found: list[bytes | None] = []
    find = Packs.find

    def noting(packs: Packs, digest: bytes) -> bytes | None:
        found.append(find(packs, digest))
        return found[-1]

    monkeypatch.setattr(Packs, "find", noting)
    assert whole.hashes(whole.run_in(tmp_path / "h")) == whole.hashes(straight)
    assert sum(row is not None for row in found) > 0
