from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evolve.cli.home.store import LINE_EVERY_S
from evolve.home.home import Home
from evolve.home.store_fsck import check_home
from population.store.objects import object_path
from tests.evolve.cli.conftest import Answer, Done, Program


def damage(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_a_whole_store_is_told_in_one_line(program: Program, finished: Done) -> None:
    answer = program("store", "fsck", "--home", finished.home)
    assert (answer.code, answer.out.startswith("whole: "), answer.out.count("\n")) == (0, True, 1)
    value = json.loads(program("store", "fsck", "--json", "--home", finished.home).out)
    assert (value["ok"], value["damaged"], value["heads"]) == (True, [], 1)
    assert value["objects"] == len(Home.open(finished.home).block_store().list_objects())


def test_damage_is_named_with_its_head_and_its_campaign(program: Program, own_home: Path, finished: Done) -> None:
    champion = finished.summary["champion"]
    damage(object_path(own_home / "store", champion))
    answer = program("store", "fsck", "--json", "--home", own_home)
    (found,) = json.loads(answer.out)["damaged"]
    assert answer.code == 1
    assert (found["object"], found["kind"], found["heads"]) == (champion, "changed", ["production/tiny"])
    assert found["needed_by"] == ["campaign tiny"]
    told = program("store", "fsck", "--home", own_home)
    assert (told.code, "production/tiny" in told.out, champion in told.out) == (1, True, True)


def test_temporary_files_are_told_and_are_no_damage(program: Program, own_home: Path) -> None:
    (own_home / "store" / "objects" / ".tmp-1-ab").write_bytes(b"half")
    answer = program("store", "fsck", "--home", own_home)
    assert (answer.code, "1 temporary files" in answer.out) == (0, True)


def test_a_lineage_that_cannot_be_read_hides_no_damage_of_the_store(own_home: Path, finished: Done) -> None:
    (own_home / "campaigns" / "tiny" / "fork.json").write_text("{")
    damage(object_path(own_home / "store", finished.summary["champion"]))
    check = check_home(Home.open(own_home))
    assert [each.object for each in check.damaged] == [finished.summary["champion"]]
    assert any("fork.json" in note for note in check.notes)


def test_files_that_cannot_be_read_are_notes_and_no_fault_of_ours(own_home: Path) -> None:
    """A tombstone without its list of objects ended with exit code 70, an unreadable record of a fork with 3."""
    stone = {"campaign": "gone", "campaign_key": "ab" * 32, "purged": None}
    (own_home / "tombstones" / "gone.json").write_text(json.dumps(stone))
    (own_home / "campaigns" / "tiny" / "fork.json").mkdir()
    check = check_home(Home.open(own_home))
    (own_home / "campaigns" / "tiny" / "fork.json").rmdir()
    (own_home / "campaigns" / "tiny" / "config.yaml").write_text("{")
    assert any("config.yaml" in note for note in check_home(Home.open(own_home)).notes)
    assert check.is_whole
    assert [word for word in ("purge of gone", "fork.json") if any(word in note for note in check.notes)] == [
        "purge of gone", "fork.json"
    ]  # fmt: skip


def test_progress_is_told_on_standard_error(program: Program, finished: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evolve.cli.home.store.LINE_EVERY_S", 0.0)
    assert LINE_EVERY_S > 0
    assert "objects read" in program("store", "fsck", "--home", finished.home).err


#: Commands that use a home with their exit codes where what they use is damaged.
USES = (
    ("infer", "tiny", "--input", "rows.npz", "--json"),
    ("promote", "{champion}", "--name", "other", "--floor", "ultimate=0.1"),
    ("blocks", "export", "tiny", "--format", "safetensors", "-o", "out.safetensors"),
    ("blocks", "show", "tiny"),
    ("rebuild", "tiny", "--json"),
    ("fork", "tiny", "name=forked", "stop.generations=1"),
    ("resume", "tiny", "--evaluations", "+4"),
    ("heads",),
    ("lineage", "tiny"),
    ("report", "tiny", "--out", "report.html"),
    ("status",),
    ("rollback", "tiny"),
)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    found = np.load(Path(__file__).parents[4] / "experiments" / "digits" / "samples.npz")
    np.savez(tmp_path / "rows.npz", **{name: found[name] for name in found.files})
    return tmp_path / "rows.npz"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_damage_of_any_object_is_an_error_in_words_or_makes_no_difference(
    program: Program, finished: Done, tmp_path: Path, rows: Path, told: Callable[[str], None]
) -> None:
    """Every object of a home is damaged in turn, and every command used on it: no exit code 70, and no wrong answer."""
    straight = {uses: used(program, finished, tmp_path, uses)[0] for uses in USES}
    assert {found.code for found in straight.values()} == {0, 2}, straight  # there is nothing to roll back to
    refused = 0
    objects = Home.open(finished.home).block_store().list_objects()
    for cid in objects:
        for uses in USES:
            found, damaged = used(program, finished, tmp_path, uses, cid)
            is_refused = found.code != straight[uses].code
            assert not is_refused or (found.code in (1, 3) and cid in found.err), (cid, uses, found)
            assert is_refused or answer_of(uses, found) == answer_of(uses, straight[uses]), (cid, uses)
            assert damaged == [cid]
            refused += is_refused
    assert refused
    told(
        f"{len(objects) * len(USES)} uses of {len(objects)} damaged objects: {refused} refused, the others not concerned"
    )


@pytest.mark.parametrize("uses", [USES[0], USES[1], USES[2]], ids=lambda uses: uses[0])
def test_a_damaged_champion_is_refused_by_name(
    program: Program, finished: Done, tmp_path: Path, rows: Path, uses: tuple[str, ...]
) -> None:
    champion = finished.summary["champion"]
    found, _ = used(program, finished, tmp_path, uses, champion)
    assert (found.code, champion in found.err) == (1, True), found


def used(
    program: Program, finished: Done, folder: Path, uses: tuple[str, ...], cid: str | None = None
) -> tuple[Answer, list[str]]:
    """Uses a copy of the home, one object of it damaged; returns what came of it, and what a check finds damaged then."""
    home = Path(shutil.copytree(finished.home, folder / "used"))
    if cid is not None:
        damage(object_path(home / "store", cid))
    words = [word.format(champion=finished.summary["champion"]) if "{" in word else word for word in uses]
    found = program(*words, "--home", home)
    damaged = [each.object for each in check_home(Home.open(home)).damaged]
    shutil.rmtree(home)
    return found, damaged


def answer_of(uses: tuple[str, ...], found: Answer) -> object:
    """What an answer must not differ in: the outputs of an inference, the digest of a rebuild."""
    if uses[0] in ("infer", "rebuild"):
        value = json.loads(found.out)
        return value.get("outputs", value.get("rebuilt"))
    return None
