"""Individuals drawn from a lineage, discarded ones among them, come out of their pedigrees with the same digest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evolve.recovery.rebuild import read_records, rebuild_rows
from population.errors import LineageCorrupt, NotFound
from tests.evolve import small
from tests.evolve.campaign.test_transition import KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_individuals_drawn_at_random_are_rebuilt_to_the_same_digest(kind: str, scaled: Callable[[int], int]) -> None:
    plan = small.plan_of(**{**KINDS[kind], "stop": {"generations": 8}})
    _, commits, _ = small.play(plan)
    records = read_records(plan, commits)
    statuses = {status for commit in commits for births in commit.births for status in births.status}
    assert "archived" in statuses
    count = min(len(records), scaled(60))
    drawn = sorted(np.random.default_rng(1).choice(sorted(records), count, replace=False).tolist())
    rebuilt = rebuild_rows(plan, records, drawn)
    assert {event: rebuilt.digests[event] for event in drawn} == {event: records[event].digest for event in drawn}


def test_a_keyframe_stands_for_everything_above_it() -> None:
    plan = small.plan_of()
    _, commits, _ = small.play(plan)
    records = read_records(plan, commits)
    last = max(records)
    whole = rebuild_rows(plan, records, [last])
    parents = records[last].recipe.parents
    rows = rebuild_rows(plan, records, list(parents)).rows
    kept = {records[event].digest: row for event, row in rows.items()}
    short = rebuild_rows(plan, records, [last], kept.get)
    assert short.digests == whole.digests
    assert short.steps == 1 < whole.steps


def test_an_unknown_event_and_a_missing_parent_are_told() -> None:
    plan = small.plan_of()
    _, commits, _ = small.play(plan)
    records = read_records(plan, commits)
    with pytest.raises(NotFound, match="not in the lineage"):
        rebuild_rows(plan, records, [10**6])
    with pytest.raises(LineageCorrupt, match="is not in the lineage"):
        read_records(plan, commits[2:])


def test_a_changed_score_breaks_the_update_that_read_it() -> None:
    plan = small.plan_of(**KINDS["openai_es"])
    _, commits, _ = small.play(plan)
    forged: list[Any] = []
    for commit in commits:
        births = [replace(b, scores=b.scores + 1e-9) if b.operator[0] == "perturb@1" else b for b in commit.births]
        forged.append(replace(commit, births=tuple(births)))
    records = read_records(plan, forged)
    update = next(event for event, record in records.items() if record.recipe.operator == "openai_es@1")
    with pytest.raises(LineageCorrupt, match="are not those"):
        rebuild_rows(plan, records, [update])
