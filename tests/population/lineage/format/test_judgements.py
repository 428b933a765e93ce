from __future__ import annotations

from pathlib import Path
from typing import Any

from population.clock import ManualClock
from population.files.local_files import LocalFiles
from population.lineage.format.records import Commit
from population.lineage.format.schema import HOME_HANDLE
from population.lineage.journal.reader import LineageReader
from population.lineage.journal.writer import LineageWriter
from population.lineage.sql.query import run_query

JUDGED: dict[str, Any] = {
    "individual": "a" * 32,
    "benchmark": "digits@0",
    "split": "heldout",
    "tier": "lite",
    "repeat": 1,
    "num_samples": 351,
    "flops": 900,
    "sandbox_level": "reduced",
    "environment": "here",
    "scores": {"accuracy": 0.5, "bytes": 3.0},
    "skills": {"0": 1.0, "1": None},
}


def test_a_later_judgement_is_shown_among_scores_and_skills_and_comes_back_before_and_after_sealing(
    tmp_path: Path,
) -> None:
    reader = LineageReader(LocalFiles(), tmp_path)
    hashes = set()
    with LineageWriter(LocalFiles(), tmp_path, HOME_HANDLE, ManualClock()) as log:
        log.commit(Commit(0, rows={"judgements": [JUDGED]}))
        for _ in range(2):
            common = {name: JUDGED[name] for name in ("individual", "benchmark", "split", "tier", "repeat")}
            rest = {name: JUDGED[name] for name in ("num_samples", "flops", "sandbox_level", "environment")}
            assert run_query(reader, "SELECT * FROM scores ORDER BY objective").to_pylist() == [
                {**common, "objective": "accuracy", "value": 0.5, **rest},
                {**common, "objective": "bytes", "value": 3.0, **rest},
            ]
            assert run_query(reader, "SELECT * FROM skills ORDER BY skill").to_pylist() == [
                {**common, "skill": "0", "value": 1.0},
                {**common, "skill": "1", "value": None},
            ]
            assert [commit.rows for commit in reader.commits(HOME_HANDLE)] == [{"judgements": [JUDGED]}]
            hashes.add(reader.content_hash(HOME_HANDLE))
            log.seal()
    assert len(hashes) == 1


def test_a_later_judgement_counts_for_the_content_hash(tmp_path: Path) -> None:
    reader = LineageReader(LocalFiles(), tmp_path)
    for handle, value in (("one", 0.5), ("two", 0.25)):
        with LineageWriter(LocalFiles(), tmp_path, handle, ManualClock()) as log:
            log.commit(Commit(0, rows={"judgements": [{**JUDGED, "scores": {"accuracy": value}}]}))
    assert reader.content_hash("one") != reader.content_hash("two")
