"""Flipped bits and cuts over everything a lineage keeps on disk: found, or harmless, never another content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from population.clock import ManualClock
from population.errors import DamageError, InfrastructureError
from population.files import MemoryFiles
from population.lineage import LineageReader, LineageWriter
from population.lineage.schema import SEALED
from tests.population.lineage.lineage_samples import flat, sample_commit

HANDLE, HOME, STEPS = "digits-1", Path("/home"), 6


def _lineage() -> dict[Path, bytes]:
    """Returns every file of a lineage that is sealed in part."""
    files = MemoryFiles()
    with LineageWriter(files, HOME, HANDLE, ManualClock()) as writer:
        for step in range(STEPS):
            writer.commit(sample_commit(step, births=6))
            if step in (1, 3):
                writer.seal()
    folders = (HOME / "campaigns" / HANDLE, HOME / "lineage" / HANDLE)
    paths = [
        folder / name
        for folder in folders
        for name in files.list(folder)
        if name.startswith(("journal-", "MANIFEST", *SEALED))
    ]
    return {path: files.read_bytes(path) for path in paths}


FILES = _lineage()
WHOLE = flat(sample_commit(step, births=6) for step in range(STEPS))


def _outcome(path: Path, data: bytes) -> str:
    """Returns "found", "torn" or "same"; fails where a reader is shown anything but a prefix of what was committed."""
    files = MemoryFiles()
    for other, content in FILES.items():
        files.append(other, data if other == path else content)
    reader = LineageReader(files, HOME)
    try:
        snapshot = reader.snapshot(HANDLE)
        found = flat(reader.commits(HANDLE))
    except (DamageError, InfrastructureError):
        return "found"
    assert found == WHOLE[: len(found)], path
    if len(found) < STEPS:
        assert path.name.startswith("journal")
        return "torn" if snapshot.torn_bytes else "cut"
    return "same"


def test_there_is_a_file_of_every_kind():
    names = sorted(path.name for path in FILES)
    assert names[:2] == ["MANIFEST", "births-0-1.parquet"]
    assert "journal-2.log" in names


def test_every_flipped_bit_is_found_or_harmless(scaled):
    generator = np.random.Generator(np.random.Philox(7))
    paths = sorted(FILES)
    for _ in range(scaled(1600)):
        path = paths[generator.integers(len(paths))]
        data = bytearray(FILES[path])
        data[generator.integers(len(data))] ^= 1 << int(generator.integers(8))
        assert _outcome(path, bytes(data)) == "found", path


def test_every_cut_is_found_or_leaves_whole_commits(scaled):
    generator = np.random.Generator(np.random.Philox(8))
    paths = sorted(FILES)
    for _ in range(scaled(400)):
        path = paths[generator.integers(len(paths))]
        size = int(generator.integers(len(FILES[path])))
        outcome = _outcome(path, FILES[path][:size])
        assert outcome == "found" or (path.name.startswith("journal") and outcome in ("torn", "cut")), path


@pytest.mark.parametrize(
    "path", [path for path in sorted(FILES) if path.name != "MANIFEST"], ids=lambda path: path.name
)
def test_a_missing_file_is_found(path):
    files = MemoryFiles()
    for other, content in FILES.items():
        if other != path:
            files.append(other, content)
    reader = LineageReader(files, HOME)
    with pytest.raises(DamageError, match=path.name):
        list(reader.commits(HANDLE))


def test_a_missing_manifest_is_found():
    files = MemoryFiles()
    for path, content in FILES.items():
        if path.name != "MANIFEST":
            files.append(path, content)
    with pytest.raises(DamageError, match="MANIFEST"):
        LineageReader(files, HOME).next_step(HANDLE)
    with pytest.raises(DamageError, match="MANIFEST"):
        LineageWriter(files, HOME, HANDLE, ManualClock())
    assert files.exists(HOME / "campaigns" / HANDLE / "journal-2.log")
