from __future__ import annotations

from pathlib import Path

import pytest
from blake3 import blake3

from population.errors import StorageError, StoreCorrupt
from population.files.local_files import LocalFiles, MemoryFiles
from population.store.row_packs import Packs
from tests.population.faulty_files import FaultyFiles

ROWS = [b"row %d " % number * (1 + number % 5) for number in range(50)]
ROOT = Path("/store")


def digest(row: bytes) -> bytes:
    return blake3(row).digest()


def found(packs: Packs, rows: list[bytes] = ROWS) -> list[bytes | None]:
    return [packs.find(digest(row)) for row in rows]


def test_rows_are_found_by_whoever_put_them_by_whoever_looked_before_and_by_whoever_comes_later():
    files = MemoryFiles()
    before, writer = Packs(files, ROOT), Packs(files, ROOT)
    assert found(before) == [None] * 50
    writer.put(ROWS)
    assert found(writer) == found(before) == found(Packs(files, ROOT)) == ROWS
    assert writer.find(bytes(32)) is None


def test_rows_that_a_pack_holds_are_not_written_again():
    files = MemoryFiles()
    Packs(files, ROOT).put(ROWS[:40])
    again = Packs(files, ROOT)
    again.put(ROWS[:40])
    assert len(again.names()) == 1
    again.put([*ROWS[30:], ROWS[49]])
    assert len(again.names()) == 2
    assert sorted(len(again.digests(name)) for name in again.names()) == [10, 40]
    assert found(Packs(files, ROOT)) == ROWS


@pytest.mark.parametrize("which", [0, 1], ids=["index", "rows"])
def test_every_damaged_byte_of_a_pack_is_told_with_its_file(tmp_path, which):
    files = LocalFiles()
    writer = Packs(files, tmp_path)
    writer.put(ROWS)
    path = writer.paths(writer.names()[0])[which]
    whole = path.read_bytes()
    for place in range(len(whole)):
        files.write_atomic(path, whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :], replace=True)
        with pytest.raises(StoreCorrupt, match=path.name):
            found(Packs(files, tmp_path))
    files.write_atomic(path, whole[:-1], replace=True)
    with pytest.raises(StoreCorrupt, match=path.name):
        found(Packs(files, tmp_path))


def test_rows_without_an_index_are_no_pack_and_are_put_again():
    files = MemoryFiles()
    writer = Packs(files, ROOT)
    writer.put(ROWS)
    index, _ = writer.paths(writer.names()[0])
    files.remove(index)
    later = Packs(files, ROOT)
    assert found(later) == [None] * 50
    later.put(ROWS)
    assert found(Packs(files, ROOT)) == ROWS


@pytest.mark.parametrize("is_after", [False, True])
def test_a_put_that_fails_anywhere_leaves_no_half_pack_and_may_be_repeated(is_after):
    probe = FaultyFiles(MemoryFiles())
    Packs(probe, ROOT).put(ROWS)
    assert probe.num_calls >= 3
    for k in range(probe.num_calls):
        files = MemoryFiles()
        writer = Packs(FaultyFiles(files, k, is_after=is_after), ROOT)
        with pytest.raises(StorageError):
            writer.put(ROWS)
        assert found(Packs(files, ROOT)) in (ROWS, [None] * 50)
        writer.put(ROWS)
        assert found(Packs(files, ROOT)) == ROWS
