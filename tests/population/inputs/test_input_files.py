from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from population.errors import InputError, NotFound
from population.inputs import archives
from population.inputs.input_files import read_inputs


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"--input .*a\.npz: there is no such file"):
        read_inputs(tmp_path / "a.npz")
    (tmp_path / "b.npy").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        read_inputs(tmp_path / "b.npy")
    with pytest.raises(InputError, match=r"must end in \.npz, \.npy, \.csv, \.json"):
        read_inputs(tmp_path / "a.txt")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        read_inputs(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.npz", b"no archive", "not readable as .npz"),
        ("a.npy", b"\x93NUMPY", "not readable as .npy"),
        ("a.json", b"{", "not readable as .json"),
        ("a.json", b'{"x": [[1, 2], [3]]}', "channel 'x'"),
        ("a.json", b'["a"]', "nested lists of numbers"),
        ("a.json", b"[" * 100_000, "not readable as .json"),
        ("a.csv", b"a,b\n1,2\n3\n", "different numbers of columns"),
        ("a.csv", b"a,b\n", "no rows"),
        ("a.csv", b"1,2\n3,x\n", "must be a number"),
    ],
)
def test_what_is_not_in_its_format_is_refused(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=words):
        read_inputs(tmp_path / name)


def test_an_archive_that_would_unfold_beyond_the_bound_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\0" * 1_000_000)
    with pytest.raises(InputError, match="split it"):
        read_inputs(tmp_path / "bomb.npz")


def test_a_csv_may_have_a_header_or_none(tmp_path: Path) -> None:
    for text in ("1,2\n3,4\n", "a,b\n1,2\n3,4\n", "\ufeffa,b\n1,2\n\n3,4\n"):
        (tmp_path / "a.csv").write_text(text, encoding="utf-8")
        array = read_inputs(tmp_path / "a.csv")
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, [[1, 2], [3, 4]])
