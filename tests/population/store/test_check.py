"""Damage of every kind, anywhere in a store, is found and named; a whole store is called whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from population.errors import NewerHome
from population.files.local_files import LocalFiles, MemoryFiles
from population.store.check import check_store
from population.store.damage import Damage, StoreReport
from population.store.heads import Heads
from population.store.objects import BlockStore, object_path
from tests.population.store_samples import PlainBlock

FILES = LocalFiles()
BLOCKS = [PlainBlock(f"block {n}", (b"%d" % n * 40, b"shared" * 30, bytes([n]) * 2000)) for n in range(4)]
ROWS = [b"row %d " % number * 9 for number in range(40)]


@dataclass(frozen=True)
class Sample:
    """A store with blocks, loose rows, a pack and two heads, one of them with a history."""

    root: Path

    def check(self, **others: Any) -> StoreReport:
        return check_store(FILES, self.root, self.root / "keys", build=PlainBlock.from_manifest, **others)

    def path(self, cid: str) -> Path:
        return object_path(self.root / "store", cid)

    def found(self) -> dict[str, Damage]:
        return {each.object: each for each in self.check().damaged}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "home"
    store, heads = BlockStore(FILES, root / "store"), Heads(FILES, root, root / "keys")
    ids = [store.put(block) for block in BLOCKS]
    store.put_many(ROWS[:5])
    store.packs().put(ROWS)
    for sequence, block in enumerate(ids[:3]):
        heads.advance("digits", block, {"heldout": {"lite": 0.5}}, sequence, decided="2027-01-01")
    heads.advance("team/other", ids[0], {}, 0, decided="2027-01-02", stage="staging")
    return root


@pytest.fixture
def sample(made: Path, tmp_path: Path) -> Sample:
    return Sample(Path(shutil.copytree(made, tmp_path / "home")))


def write(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def flip(path: Path, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    write(path, bytes(data))


def cut(path: Path, rng: np.random.Generator) -> None:
    write(path, path.read_bytes()[: int(rng.integers(1, path.stat().st_size))])


def empty(path: Path, rng: np.random.Generator) -> None:
    write(path, b"")


def grow(path: Path, rng: np.random.Generator) -> None:
    write(path, path.read_bytes() + b"x")


def link(path: Path, rng: np.random.Generator) -> None:
    shutil.copy(path, path.parent.parent.parent / "elsewhere")
    path.unlink()
    path.symlink_to(path.parent.parent.parent / "elsewhere")


def folder(path: Path, rng: np.random.Generator) -> None:
    path.unlink()
    path.mkdir()


def remove(path: Path, rng: np.random.Generator) -> None:
    path.unlink()


#: What may be done to an object, and what it is then called.
DAMAGES: Mapping[str, tuple[Callable[[Path, np.random.Generator], None], set[str]]] = {
    "flip": (flip, {"changed"}),
    "cut": (cut, {"changed", "truncated"}),
    "empty": (empty, {"empty"}),
    "grow": (grow, {"changed"}),
    "link": (link, {"no file"}),
    "folder": (folder, {"no file"}),
    "remove": (remove, {"missing"}),
}


def heads_of(cid: str) -> tuple[set[str], set[str]]:
    """The heads that lead to an object, and those that stand on it; by the blocks, not by the store."""
    holding = [n for n, block in enumerate(BLOCKS) if cid == block.id or cid in block.manifest()[1]]
    heads = {"production/digits"} if {0, 1, 2} & set(holding) else set()
    heads |= {"staging/team/other"} if 0 in holding else set()
    standing = ({"production/digits"} if 2 in holding else set()) | ({"staging/team/other"} if 0 in holding else set())
    return heads, standing


def test_a_whole_store_is_whole(sample: Sample, tmp_path: Path) -> None:
    check = sample.check()
    assert check.is_whole
    assert (check.objects, check.packs, check.heads, check.notes) == (4 + 9 + 5, 1, 2, ())
    assert check_store(MemoryFiles(), tmp_path / "none", tmp_path / "keys").is_whole
    seen: list[tuple[int, int]] = []
    sample.check(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 18) for number in range(19)]


def objects(sample: Sample) -> list[str]:
    return BlockStore(FILES, sample.root / "store").list_objects()


@pytest.mark.parametrize("how", sorted(DAMAGES))
def test_every_damage_of_an_object_is_named_with_its_heads(
    made: Path, tmp_path: Path, how: str, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    rng = np.random.default_rng(sorted(DAMAGES).index(how))
    act, kinds = DAMAGES[how]
    linked = {cid for block in BLOCKS for cid in (*block.manifest()[1],)} | {block.id for block in BLOCKS[:3]}
    for number in range(count := scaled(25)):
        sample = Sample(Path(shutil.copytree(made, tmp_path / str(number))))
        cid = str(rng.choice(objects(sample)))
        act(sample.path(cid), rng)
        found = sample.found()
        if how == "remove" and cid not in linked:
            assert not found  # nobody needs it: it cannot be missed
            continue
        assert set(found) == {cid}, (how, cid)
        assert found[cid].kind in kinds
        assert (set(found[cid].heads), set(found[cid].standing)) == heads_of(cid)
        shutil.rmtree(sample.root)
    told(f"{count} objects damaged by {how}, all found, nothing else called damaged")


@pytest.mark.slow
def test_many_damages_at_once_are_all_named(
    made: Path, tmp_path: Path, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    rng, damages = np.random.default_rng(7), 0
    for number in range(scaled(300)):
        sample = Sample(Path(shutil.copytree(made, tmp_path / str(number))))
        drawn = [str(cid) for cid in rng.choice(objects(sample), int(rng.integers(0, 6)), replace=False)]
        for cid in drawn:
            DAMAGES[str(rng.choice(sorted(set(DAMAGES) - {"remove"})))][0](sample.path(cid), rng)
        assert set(sample.found()) == set(drawn)
        damages += len(drawn)
        shutil.rmtree(sample.root)
    told(f"{damages} damages in {scaled(300)} stores, all found, 0 false alarms")


def test_two_objects_that_changed_places_are_called_so(sample: Sample) -> None:
    first, second = (sample.path(cid) for cid in sorted(BLOCKS[0].manifest()[1])[:2])
    one, other = first.read_bytes(), second.read_bytes()
    write(first, other)
    write(second, one)
    assert {name: each.kind for name, each in sample.found().items()} == {first.name: "swapped", second.name: "swapped"}


def test_what_lies_where_nobody_looks_is_damage_and_what_a_killed_writer_left_is_not(sample: Sample) -> None:
    shard = next((sample.root / "store" / "objects").iterdir())
    (shard / ".tmp-12-ab").write_bytes(b"half")
    assert sample.check().is_whole
    (shard / "notes\x1b[2J.txt").write_bytes(b"mine")
    (shard.parent / "file").write_bytes(b"mine")
    cid = sorted(BLOCKS[3].manifest()[1])[0]
    (shard.parent / "zz").mkdir()
    sample.path(cid).rename(shard.parent / "zz" / cid)
    (sample.root / "store" / "packs" / "notes").write_bytes(b"mine")
    found = {(each.object, each.kind) for each in sample.check().damaged}
    assert found == {
        ("notes\\x1b[2J.txt", "foreign"),
        ("file", "foreign"),
        ("notes", "foreign"),
        (cid, "misplaced"),
        (cid, "missing"),
    }


def test_a_manifest_that_is_sound_and_means_nothing_is_named(sample: Sample) -> None:
    store = BlockStore(FILES, sample.root / "store")
    cids = {store.put_object(b"\xff\xff", "dag-cbor"), store.put_object(b"\xa0", "dag-cbor")}

    def build(value: Any, read: Callable[[str], bytes]) -> object:
        from population.errors import FormatError

        if not value:
            raise FormatError("nothing in it")
        return PlainBlock.from_manifest(value, read)

    check = check_store(FILES, sample.root, sample.root / "keys", build=build)
    assert {each.object for each in check.damaged} == cids
    assert {each.kind for each in check.damaged} == {"manifest"}


@pytest.mark.parametrize("how", ["flip", "cut", "empty", "grow"])
def test_every_damage_of_a_pack_is_named(made: Path, tmp_path: Path, how: str, scaled: Callable[[int], int]) -> None:
    rng = np.random.default_rng(3)
    for number in range(scaled(10)):
        sample = Sample(Path(shutil.copytree(made, tmp_path / str(number))))
        folder = sample.root / "store" / "packs"
        path = sorted(folder.iterdir())[number % 2]
        DAMAGES[how][0](path, rng)
        assert {(each.object, each.kind) for each in sample.check().damaged} == {(path.stem, "pack")}
        shutil.rmtree(sample.root)


def test_rows_without_an_index_are_a_leftover_and_an_index_without_rows_is_damage(sample: Sample) -> None:
    index, rows = sorted((sample.root / "store" / "packs").iterdir())
    kept = index.read_bytes()
    index.unlink()
    check = sample.check()
    assert (check.is_whole, len(check.notes)) == (True, 1)
    index.write_bytes(kept)
    rows.unlink()
    assert {(each.object, each.kind) for each in sample.check().damaged} == {(index.stem, "pack")}


def test_every_flipped_byte_of_a_heads_log_is_named(sample: Sample, scaled: Callable[[int], int]) -> None:
    rng = np.random.default_rng(5)
    paths = sorted((sample.root / "store" / "reflog" / "production" / "digits").iterdir())
    for _ in range(scaled(25)):
        path = paths[rng.integers(len(paths))]
        kept = path.read_bytes()
        flip(path, rng)
        assert {(each.object, each.kind, each.standing) for each in sample.check().damaged} == {
            ("production/digits", "head", ("production/digits",))
        }
        write(path, kept)
    assert sample.check().is_whole


@pytest.mark.parametrize("number", range(3))
def test_an_entry_that_vanished_is_named_and_so_is_a_block_that_a_head_points_to(sample: Sample, number: int) -> None:
    path = sorted((sample.root / "store" / "reflog" / "production" / "digits").iterdir())[number]
    kept = path.read_bytes()
    path.unlink()
    assert {(each.object, each.kind) for each in sample.check().damaged} == {("production/digits", "head")}
    write(path, kept)
    sample.path(BLOCKS[number].id).unlink()
    (found,) = sample.check().damaged
    assert (found.object, found.kind, "production/digits" in found.heads) == (BLOCKS[number].id, "missing", True)
    assert ("production/digits" in found.standing) == (number == 2)


def test_a_log_that_vanished_whole_and_lost_keys_are_named(sample: Sample) -> None:
    shutil.rmtree(sample.root / "store" / "reflog" / "staging")
    assert {each.object for each in sample.check().damaged} == {"staging/team/other"}
    (sample.root / "keys" / "trusted.json").unlink()
    assert {each.object for each in sample.check().damaged} == {"staging/team/other", "production/digits"}


def test_what_others_need_is_looked_for_also_in_packs(sample: Sample) -> None:
    from population.encoding.cid import cid_of

    in_pack, nowhere = cid_of(ROWS[20], "raw"), cid_of(b"nowhere", "raw")
    check = sample.check(needed={in_pack: "fork a", nowhere: "fork a", BLOCKS[3].id: "campaign b"})
    assert [(each.object, each.kind, each.needed_by) for each in check.damaged] == [(nowhere, "missing", ("fork a",))]
    sample.path(BLOCKS[3].id).unlink()
    assert {each.object for each in sample.check(needed={BLOCKS[3].id: "campaign b"}).damaged} == {BLOCKS[3].id}


def test_what_may_not_be_read_is_told_and_is_not_called_damage(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    cid, real = BLOCKS[2].id, os.open

    def refuse(path: Any, *arguments: Any, **named: Any) -> int:
        if str(path).endswith((f"/{cid}", ".rows")):
            raise OSError(errno.EACCES, "denied", str(path))
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    check = sample.check()
    assert (check.damaged, check.is_whole) == ((), False)
    assert {path.name.rpartition(".")[2] for path, _ in check.unreadable} == {cid, "rows"}
    assert all("no permission" in what for _, what in check.unreadable)


def test_a_folder_that_may_not_be_listed_lacks_nothing(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, real = sample.path(sorted(BLOCKS[2].manifest()[1])[0]).parent, os.listdir

    def refuse(path: Any = ".") -> list[str]:
        if Path(path) == folder:
            raise OSError(errno.EACCES, "denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "listdir", refuse)
    check = sample.check()
    assert (check.damaged, [path for path, _ in check.unreadable]) == ((), [folder])


def test_format_is_checked(sample: Sample) -> None:
    path = sample.root / "store" / "FORMAT"
    write(path, b"{")
    assert {each.object for each in sample.check().damaged} == {"FORMAT"}
    path.unlink()
    assert {each.object for each in sample.check().damaged} == {"FORMAT"}
    write(path, b'{"version": 99}')
    with pytest.raises(NewerHome):
        sample.check()


def test_what_is_put_and_removed_meanwhile_is_no_damage(sample: Sample) -> None:
    store, new = BlockStore(FILES, sample.root / "store"), PlainBlock("new", (b"new" * 20,))
    leaves, whole_id = list(BLOCKS[3].manifest()[1]), BLOCKS[3].id

    def meanwhile(done: int, total: int) -> None:
        if done == total // 2:
            store.put(new)
            for cid in (*leaves[2:], whole_id):
                sample.path(cid).unlink(missing_ok=True)

    assert sample.check(progress=meanwhile).is_whole
