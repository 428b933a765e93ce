from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from evolve.cli.store import LINE_EVERY_S
from evolve.home import Home
from evolve.store_fsck import check_home
from population.cid import parse_cid
from population.store import object_path
from tests.evolve.cli.conftest import Done, Program


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


def test_progress_is_told_on_standard_error(program: Program, finished: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evolve.cli.store.LINE_EVERY_S", 0.0)
    assert LINE_EVERY_S > 0
    assert "objects read" in program("store", "fsck", "--home", finished.home).err


#: Commands that use a home with their exit codes where what they use is damaged.
USES = (
    ("infer", "tiny", "--input", "rows.npz"),
    ("promote", "{champion}", "--name", "other", "--floor", "ultimate=0.1"),
    ("blocks", "export", "tiny", "--format", "safetensors", "-o", "out.safetensors"),
    ("blocks", "show", "tiny"),
    ("rebuild", "tiny"),
    ("fork", "tiny", "name=forked", "stop.generations=1"),
    ("resume", "tiny", "--evaluations", "+4"),
    ("heads",),
    ("lineage", "tiny"),
    ("report", "tiny", "--out", "report.html"),
    ("status",),
    ("rollback", "tiny"),
)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_damage_of_any_object_is_an_error_in_words_or_makes_no_difference(
    program: Program, finished: Done, tmp_path: Path, told: object
) -> None:
    """Every object of a home is damaged in turn, and every command used on it: no exit code 70, and no wrong answer."""
    rows = np.load(Path(__file__).parents[3] / "experiments" / "digits" / "samples.npz")
    np.savez(tmp_path / "rows.npz", **{name: rows[name] for name in rows.files})
    champion = finished.summary["champion"]
    straight = {}
    for uses in USES:
        home = Path(shutil.copytree(finished.home, tmp_path / "straight"))
        straight[uses] = run(program, home, champion, uses)
        shutil.rmtree(home)
    store = Home.open(finished.home).block_store()
    leaves = {cid for cid in store.list_objects() if parse_cid(cid)[0] == "raw"}
    assert leaves
    refused = 0
    for cid in store.list_objects():
        for uses in USES:
            home = Path(shutil.copytree(finished.home, tmp_path / "damaged"))
            damage(object_path(home / "store", cid))
            code, out, err = run(program, home, champion, uses)
            if code != straight[uses][0] or code in (1, 3):
                assert code in (1, 3), (cid, uses, code, err)
                assert cid in err or cid in out or code == straight[uses][0], (cid, uses, err)
                refused += 1
            elif uses[0] == "infer":
                assert out == straight[uses][1], (cid, uses)
            shutil.rmtree(home)
    assert refused


def run(program: Program, home: Path, champion: str, uses: tuple[str, ...]) -> tuple[int, str, str]:
    answer = program(*(word.format(champion=champion) if "{" in word else word for word in uses), "--home", home)
    return answer.code, answer.out, answer.err
