"""Files that a user names: what is no file is refused in words, and what counts is what is read."""

from __future__ import annotations

import os
import socket
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from population.errors import ConfigError, InputError, NotFound
from population.files.user_file import read_user_file


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Path]:
    """A folder with one of each kind of thing that is no file."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    server = socket.socket(socket.AF_UNIX)
    here = os.open(tmp_path, os.O_RDONLY)
    server.bind(f"/proc/self/fd/{here}/socket")
    for name, to in (("zero", "/dev/zero"), ("dangling", "nowhere"), ("loop", "loop"), ("to_folder", "folder")):
        (tmp_path / name).symlink_to(to)
    (tmp_path / "plain").write_bytes(b"content")
    yield tmp_path
    server.close()
    os.close(here)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "it is a folder: name a file"),
        ("to_folder", "it is a folder"),
        ("pipe", "it is a named pipe"),
        ("socket", "it is a socket"),
        ("zero", "it is a device"),
        ("loop", "links go round in a circle"),
        ("plain/x", "a part of its path is a file"),
        ("x" * 5000, "name is too long"),
        ("a\0b", "no file can have such a name"),
    ],
)
def test_what_is_no_file_is_refused_in_words(odd: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_user_file(odd / name, 100, f"--input {name}", error=ConfigError)


def test_a_missing_file_is_named_and_so_is_what_a_link_stands_for(odd: Path) -> None:
    with pytest.raises(NotFound, match=r"--input x: there is no such file$"):
        read_user_file(odd / "x", 100, "--input x")
    with pytest.raises(NotFound, match="it is a link to nowhere"):
        read_user_file(odd / "dangling", 100, "--input dangling")


def test_links_to_a_file_are_followed(odd: Path) -> None:
    for place in range(3):
        (odd / f"link{place}").symlink_to(f"link{place - 1}" if place else "plain")
    assert read_user_file(odd / "link2", 7, "x") == b"content"


def test_a_file_beyond_the_bound_is_refused_before_it_is_read(odd: Path) -> None:
    with open(odd / "large", "wb") as file:
        file.truncate(1 << 40)
    tracemalloc.start()
    with pytest.raises(InputError, match="at most 6 are read: split it"):
        read_user_file(odd / "plain", 6, "x", remedy="split it")
    with pytest.raises(InputError, match=r"has 1,099,511,627,776 bytes, at most 1,000,000 are read"):
        read_user_file(odd / "large", 1_000_000, "x")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_what_is_read_counts_not_the_size_that_a_file_claims() -> None:
    """Files of /proc say that they have no bytes."""
    assert os.stat("/proc/cpuinfo").st_size == 0
    assert len(read_user_file("/proc/cpuinfo", 1 << 20, "x")) > 100
    with pytest.raises(InputError, match="has more than the 100 bytes that are read"):
        read_user_file("/proc/cpuinfo", 100, "x")


def test_a_look_at_the_beginning_ends_the_reading(odd: Path) -> None:
    with open(odd / "large", "wb") as file:
        file.truncate(1 << 29)
    seen = []

    def look(piece: bytes) -> None:
        seen.append(len(piece))
        raise InputError("enough")

    with pytest.raises(InputError, match="enough"):
        read_user_file(odd / "large", 1 << 30, "x", look=look)
    assert len(seen) == 1
    whole: list[bytes] = []
    assert read_user_file(odd / "plain", 100, "x", look=whole.append) == b"content" == b"".join(whole)


def test_a_file_without_permission_is_the_callers_to_mend(odd: Path) -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(InputError, match=r"no permission; change the owner or mode of the file, .* above it$"):
            read_user_file("/proc/1/environ", 1000, "x")
    finally:
        os.seteuid(os.getuid())
