from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import yaml

from evolve.config.campaign import check_config
from evolve.home import home as homes
from evolve.home.home import Home
from evolve.home.origins import campaign_by_key
from population.errors import DamageError, InputError, NewerHome, NotFound, StorageError
from population.files.local_files import LocalFiles
from tests.evolve import small


def test_an_explicit_path_wins_over_the_environment_and_that_over_the_search(tmp_path: Path) -> None:
    Home.create(tmp_path / ".evolve")
    assert Home.find(tmp_path, tmp_path / "a", str(tmp_path / "b")) == tmp_path / "a"
    assert Home.find(tmp_path, None, str(tmp_path / "b")) == tmp_path / "b"
    assert Home.find(tmp_path, None, "") == tmp_path / ".evolve"


def test_the_nearest_home_upwards_is_found(tmp_path: Path) -> None:
    Home.create(tmp_path / ".evolve")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "a" / ".evolve").mkdir()  # somebody else's folder of that name
    assert Home.find(below) == tmp_path / ".evolve"


def test_without_a_home_it_would_lie_here(tmp_path: Path) -> None:
    assert Home.find(tmp_path / "x") == tmp_path / "x" / ".evolve"


def test_creating_is_idempotent_and_opening_finds_it(tmp_path: Path) -> None:
    first = Home.create(tmp_path / "h")
    before = {path: path.stat().st_mtime_ns for path in first.root.rglob("*")}
    assert Home.create(tmp_path / "h") == first == Home.open(tmp_path / "h")
    assert {path: path.stat().st_mtime_ns for path in first.root.rglob("*")} == before
    assert json.loads((first.root / "VERSION").read_text()) == {"version": 2}
    assert stat.S_IMODE(first.keys_root.stat().st_mode) & 0o077 == 0


def test_opening_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for name, why in (("none", "no such folder"), ("file", "it is a file"), ("folder", "no VERSION file")):
        with pytest.raises(NotFound, match=why):
            Home.open(tmp_path / name)


@pytest.mark.parametrize("text", ["", "1", "[]", '{"version": "1"}', '{"version": true}', '{"version": 0}', "\xff{"])
def test_a_damaged_version_is_damage(tmp_path: Path, text: str) -> None:
    Home.create(tmp_path / "h")
    os.chmod(tmp_path / "h" / "VERSION", 0o644)
    (tmp_path / "h" / "VERSION").write_text(text, encoding="latin-1")
    with pytest.raises(DamageError, match="VERSION"):
        Home.open(tmp_path / "h")


def test_a_newer_home_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "VERSION").write_text('{"version": 3}')
    for action in (Home.open, Home.create):
        with pytest.raises(NewerHome, match="up to 2"):
            action(tmp_path / "h")


def test_a_folder_with_files_does_not_become_a_home(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="not empty"):
        Home.create(tmp_path / "deep")


def test_a_home_that_cannot_be_written_is_not_half_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(LocalFiles, "write_atomic", refuse)
    with pytest.raises(StorageError):
        Home.create(tmp_path / "a" / "h")
    assert os.listdir(tmp_path) == []


def test_handles_are_unique_and_numbered(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    assert [home.new_handle("digits") for _ in range(3)] == ["digits", "digits-2", "digits-3"]
    (home.lineage_root / "other").mkdir()
    assert home.new_handle("other") == "other-2"


def test_a_campaign_is_found_by_its_key_with_its_state(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    configs = {seed: check_config(small.values(seed=seed)) for seed in (1, 2)}
    for seed, config in configs.items():
        folder = home.campaign_dir(home.new_handle(f"c{seed}"))
        (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    key = configs[1].key.hex()
    assert campaign_by_key(home, key) == [("c1", "interrupted")]
    home.write_summary("c1", {"state": "done"})
    assert campaign_by_key(home, key) == [("c1", "done")]
    with home.files.lock(home.campaign_dir("c1") / "lineage.lock"):
        assert campaign_by_key(home, key) == [("c1", "running")]
    assert campaign_by_key(home, "00") == []
    assert home.campaigns() == ["c1", "c2"]


def test_a_campaign_that_is_purged_while_they_are_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its missing folder once ended the command of somebody else."""
    home = Home.create(tmp_path / "h")
    for handle in ("gone", "kept"):
        home.files.write_atomic(home.campaign_dir(home.new_handle(handle)) / "config.yaml", b"")

    def purge_meanwhile(folder: Path) -> bool:
        if folder.name == "gone":
            home.files.remove_tree(folder, tmp_path / "aside")
        return True

    monkeypatch.setattr(homes, "_is_campaign", purge_meanwhile)
    assert home.campaigns() == ["kept"]


def test_a_damaged_summary_names_its_file_and_the_remedy(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    folder = home.campaign_dir(home.new_handle("c"))
    for text in ("{", "[]"):
        (folder / "summary.json").write_text(text)
        with pytest.raises(DamageError, match=r"summary\.json.*resume 'c'"):
            home.summary_of("c")


def test_mlflow_lies_in_the_home_unless_a_server_is_named(tmp_path: Path) -> None:
    assert Home(tmp_path).mlflow_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert Home(tmp_path, "http://x:5000").mlflow_uri == "http://x:5000"
