"""A real file system that is full in the midst of a campaign: it waits, or is paused; nothing is lost, nothing differs."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from evolve.home.home import Home
from tests.evolve import whole


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], capture_output=True, check=True)


def _fill(place: Path) -> Path:
    """Takes all the space that is left."""
    path = place / "somebody-elses"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return path


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The hashes of the campaign on a disk with space."""
    return whole.hashes(whole.run_in(tmp_path_factory.mktemp("reference") / "home"))


@pytest.mark.parametrize("wait_s", ["120", pytest.param("0", marks=pytest.mark.slow)])
def test_a_full_disk_is_waited_for_or_pauses_the_campaign_and_the_hashes_stay(
    small_disk: Path, reference: dict[str, Any], wait_s: str
) -> None:
    home = small_disk / "home"
    with whole.Driver(whole.run_command(home, "--disk-wait", wait_s)) as driver:
        assert driver.wait_for(lambda: whole.num_commits(home) >= 3)
        filler = _fill(small_disk)
        if wait_s == "0":
            code, out, err = driver.finish()
            assert (code, out) == (3, ""), err
            assert "is paused" in err
            assert "the disk is full" in err
            assert "Traceback" not in err
            filler.unlink()
            assert Home.open(home).state_of(whole.HANDLE) == "paused"
            resumed = whole.call(whole.command("resume", "--json", "--home", home))
            code, out, err = resumed.returncode, resumed.stdout, resumed.stderr
        else:
            time.sleep(6.0)
            assert driver.process.poll() is None
            filler.unlink()
            code, out, err = driver.finish()
            assert "Waiting for space" in err
    assert code == 0, err
    assert whole.hashes(json.loads(out.splitlines()[-1])) == reference
