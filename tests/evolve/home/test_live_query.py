"""Queries beside a running campaign, from another process: each answer is a whole number of committed steps."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

from evolve.home.home import Home
from population.lineage.sql.query import run_query
from tests.evolve import whole

SQL = """
SELECT (SELECT count(*) FROM individuals) AS born,
       (SELECT coalesce(sum(births), 0) FROM generations) AS told,
       (SELECT count(*) FROM generations) AS steps,
       (SELECT count(DISTINCT individual) FROM scores) AS judged,
       (SELECT count(*) FROM campaigns) AS campaigns
"""


def test_every_answer_is_a_whole_number_of_committed_steps(tmp_path: Path) -> None:
    home = tmp_path / "h"
    answers: list[dict[str, int]] = []
    with whole.Driver(whole.run_command(home, "stop.generations=12")) as driver:
        assert driver.wait_for(lambda: whole.num_commits(home) >= 1)
        assert Home.open(home).state_of(whole.HANDLE) == "running"
        reader = Home.open(home).lineage_reader()
        while driver.process.poll() is None:  # to its end, so also while the journal is sealed into segments
            answers += run_query(reader, SQL).to_pylist()
            time.sleep(0.02)
        code, out, err = driver.finish()
    assert code == 0, err
    answers += run_query(Home.open(home).lineage_reader(), SQL).to_pylist()

    reader = Home.open(home).lineage_reader()
    batches = [sum(len(b.event) for b in commit.births) for commit in reader.commits(whole.HANDLE)]
    judged = [
        sum(not all(map(_is_nan, row)) for b in commit.births for row in b.scores.tolist())
        for commit in reader.commits(whole.HANDLE)
    ]
    whole_counts = list(zip(itertools.accumulate(batches), itertools.accumulate(judged), strict=True))
    for answer in answers:
        assert answer["told"] == answer["born"]
        assert answer["campaigns"] == 1
        assert (answer["born"], answer["judged"]) in whole_counts
        assert answer["steps"] == sum(size > 0 for size in batches[: answer["steps"] + 1])
    born = [answer["born"] for answer in answers]
    assert born == sorted(born)
    assert len(set(born)) >= 4, "too few different moments were seen to say anything"
    assert born[-1] == sum(batches)
    assert json.loads(out)["lineage"] == reader.content_hash(whole.HANDLE)


def _is_nan(value: float) -> bool:
    return value != value
