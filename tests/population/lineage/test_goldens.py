"""A small lineage pinned: its content hash, the bytes of its first frame, and a journal that every later version reads."""

from __future__ import annotations

import json
from pathlib import Path

from population.clock import ManualClock
from population.files.local_files import MemoryFiles
from population.lineage import LineageReader, LineageWriter
from population.lineage.format.frames import GENESIS, scan
from population.lineage.journal.segments import journal_path
from tests.population.lineage.lineage_samples import flat, sample_commit

GOLDEN = Path(__file__).parents[2] / "goldens" / "lineage.json"
HANDLE, HOME = "digits-1", Path("/home")
COMMITS = [sample_commit(step, births=3) for step in range(2)]


def _journal() -> bytes:
    files = MemoryFiles()
    with LineageWriter(files, HOME, HANDLE, ManualClock(1_700_000_000.0)) as writer:
        for commit in COMMITS:
            writer.commit(commit)
    return files.read_bytes(journal_path(HOME, HANDLE, 0))


def _reader_of(journal: bytes) -> LineageReader:
    files = MemoryFiles()
    files.append(journal_path(HOME, HANDLE, 0), journal)
    return LineageReader(files, HOME)


def test_a_small_lineage_is_what_it_was(regen_goldens):
    journal = _journal()
    first = scan(journal, "journal", GENESIS, 0).frames[0]
    found = {
        "content_hash": _reader_of(journal).content_hash(HANDLE),
        "first_frame": journal[: first.end].hex(),
        "journal": journal.hex(),
    }
    if regen_goldens:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert found["content_hash"] == golden["content_hash"]
    assert found["first_frame"] == golden["first_frame"]


def test_the_pinned_journal_is_read():
    golden = json.loads(GOLDEN.read_text())
    reader = _reader_of(bytes.fromhex(golden["journal"]))
    assert flat(reader.commits(HANDLE)) == flat(COMMITS)
    assert reader.content_hash(HANDLE) == golden["content_hash"]
