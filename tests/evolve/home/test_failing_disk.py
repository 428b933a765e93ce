"""A home on a disk that fails or loses power: it is made whole or not at all, and a handle is given once."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evolve.home.home import FOLDERS, Home
from population.errors import StorageError
from population.files.local_files import LocalFiles
from tests.population.faulty_files import FaultyCalls, FaultyFiles, system_calls
from tests.population.simulated_disk import Killed, SimulatedOs, simulated

WHOLE = sorted([*FOLDERS, ".gitignore", "VERSION"])


def names_below(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir()) if path.exists() else []


def check_is_old_or_new_and_is_completed(place: Path) -> bool:
    """Whether the home was there already."""
    found = names_below(place / "a" / "h")
    assert found in ([], WHOLE)
    assert found or names_below(place) == []  # not even a folder above it is left
    home = Home.create(place / "a" / "h")
    assert names_below(home.root) == WHOLE
    assert stat.S_IMODE(home.keys_root.stat().st_mode) == 0o700
    assert Home.open(home.root).new_handle("digits") == "digits"
    return bool(found)


@pytest.mark.parametrize("is_after", [False, True])
def test_a_home_whose_making_is_refused_anywhere_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    number = 0
    while True:
        place = tmp_path / str(number)
        place.mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(Home, "files", FaultyFiles(LocalFiles(), number, is_after=is_after, only_changes=True))
            try:
                Home.create(place / "a" / "h")
            except StorageError:
                refused = True
            else:
                refused = False
        was_there = check_is_old_or_new_and_is_completed(place)
        if not refused:
            assert (was_there, number) == (True, len(WHOLE))
            return
        assert was_there == (is_after and number == len(WHOLE) - 1)  # its last change took effect
        number += 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_home_on_a_disk_whose_calls_fail_anywhere_is_whole_or_not_there(tmp_path: Path, code: int) -> None:
    number = 0
    while True:
        place = tmp_path / str(number)
        place.mkdir()
        try:
            with system_calls(FaultyCalls(number, code)):
                Home.create(place / "a" / "h")
        except StorageError:
            check_is_old_or_new_and_is_completed(place)
            number += 1
            continue
        assert number > 20
        return


@pytest.mark.parametrize("is_after", [False, True])
def test_a_handle_whose_making_is_refused_is_free_or_taken_and_never_given_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    home = Home.create(tmp_path / "h")
    home.new_handle("digits")
    with monkeypatch.context() as patch:
        patch.setattr(Home, "files", FaultyFiles(LocalFiles(), 0, is_after=is_after, only_changes=True))
        with pytest.raises(StorageError):
            home.new_handle("other")
        patch.setattr(Home, "files", FaultyFiles(LocalFiles(), 1, is_after=is_after, only_changes=True))
        with pytest.raises(StorageError):
            home.new_handle("digits")  # the first one is tried and found taken; the second is refused
    given = [home.new_handle(name) for name in ("other", "digits")]
    assert given == (["other-2", "digits-3"] if is_after else ["other", "digits-2"])


class Homes:
    """A home is made, and handles are asked for, by processes that are killed or lose power."""

    ROOT = Path("/people/ana/.evolve")

    def __init__(self, seed: int) -> None:
        self._rng = np.random.Generator(np.random.Philox(seed))
        self._calls_left, self.num_crashes = 0, 0
        self._disk = SimulatedOs(self._rng, self._before)
        self._disk.restore({Path("/people"): None})
        self._is_made, self._given = False, list[str]()

    def run(self) -> int:
        while len(self._given) < 5:
            self._calls_left = int(self._rng.integers(1, 60))
            try:
                with simulated(self._disk):
                    self._live()
            except Killed:
                self.num_crashes += 1
                if self._rng.integers(2):
                    self._disk.restore(self._disk.crash_state())
        return self.num_crashes

    def _live(self) -> None:
        if self._is_made:
            assert Home(self.ROOT).version == 2
        home = Home.create(self.ROOT)
        self._is_made = True
        taken = LocalFiles().list(home.campaigns_root)
        assert set(self._given) <= set(taken)
        self._given.append(home.new_handle("digits"))
        assert self._given[-1] not in taken

    def _before(self, name: str) -> None:
        if self._calls_left == 0:
            raise Killed
        self._calls_left -= 1


def test_after_power_loss_a_home_that_was_made_is_there_and_so_are_its_handles(
    scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    told(f"{sum(Homes(seed).run() for seed in range(scaled(60)))} crashes, 0 homes or handles lost")
