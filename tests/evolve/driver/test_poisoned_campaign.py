"""Half of the candidates crash, hang, return NaN or eat memory: each is quarantined with its reason, nobody else suffers."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from evolve.planning.plan import Plan
from evolve.recovery.rebuild import read_records, rebuild_rows
from fitness.evaluators.child_processes import ProcessEvaluator
from fitness.judges.judge import InlineJudge, Limits
from fitness.judges.tile_plan import DEFAULT_PLANS
from fitness.scoring.judge_rows import judge_stack
from fitness.work.work_unit import Judging
from population.lineage.format.records import Births, Commit
from population.stacks.row_format import decode_rows
from tests.evolve import small

VERDICTS = {0: "ok", 1: "nan", 2: "crash", 3: "timeout", 4: "memory"}


@pytest.fixture(scope="module")
def poisoned() -> tuple[Plan, list[Commit]]:
    """A campaign of which half of the children misbehave, judged in child processes."""
    graph = dict(small.values()["graph"])
    nodes = [node for node in graph["nodes"] if node["name"] != "head"]
    nodes += [
        {"name": "trap", "op": "hostile", "inputs": ["act"]},
        {"name": "head", "op": "linear", "inputs": ["trap"], "out": 3},
    ]
    plan = small.plan_of(
        graph={**graph, "nodes": nodes},
        plugins=["tests.plugins.sabotage"],
        operators={"sabotage": {}},
        init={"gain": 0.1},
        widths={},
        strategy={"kind": "ga", "population": 26, "settings": {"elites": 2}},
        stop={"generations": 2},
        tiers=None,
        seed=1,
    )
    evaluator = ProcessEvaluator(
        plan.benchmark,
        small.MATERIALISE,
        num_workers=2,
        plugins=plan.config.plugins,
        limits=Limits(cpu_s=1, wall_s=5.0, memory_bytes=256 << 20),
    )
    _, commits, _ = small.play(plan, evaluator=evaluator)
    return plan, commits


def _children(commits: list[Commit]) -> Births:
    (births,) = (births for commit in commits for births in commit.births if births.operator[0] == "sabotage@1")
    return births


def test_every_misbehaving_child_is_quarantined_with_the_verdict_it_earned(poisoned: tuple[Plan, list[Commit]]) -> None:
    plan, commits = poisoned
    births = _children(commits)
    rebuilt = rebuild_rows(plan, read_records(plan, commits), [int(event) for event in births.event])
    for row, event in enumerate(births.event):
        trigger = int(decode_rows(plan.graph, [rebuilt.rows[int(event)]]).tensors["trap.trigger"][0, 0])
        assert births.verdict[row] == VERDICTS[trigger]
        assert (births.status[row] == "quarantined") == (trigger != 0)
        assert bool(births.detail[row]) == (trigger != 0)
    assert set(Counter(births.verdict)) == set(VERDICTS.values())


def test_the_scores_of_the_others_are_what_they_are_alone_to_the_bit(poisoned: tuple[Plan, list[Commit]]) -> None:
    plan, commits = poisoned
    births = _children(commits)
    innocent = [row for row, verdict in enumerate(births.verdict) if verdict == "ok"]
    rebuilt = rebuild_rows(plan, read_records(plan, commits), [int(births.event[row]) for row in innocent])
    judge = InlineJudge()
    for row in innocent:
        alone = decode_rows(plan.graph, [rebuilt.rows[int(births.event[row])]])
        judged = judge_stack(alone, plan.benchmark, judge, Judging("validation", {"ultimate": {}}), DEFAULT_PLANS)
        assert np.array_equal(judged.scores[0].ravel(), births.scores[row])
        assert np.array_equal(judged.skills[0].ravel(), births.skills[row], equal_nan=True)


def test_the_campaign_ends_and_its_champion_behaves(poisoned: tuple[Plan, list[Commit]]) -> None:
    _, commits = poisoned
    assert commits[-1].rows["campaigns"][0]["state"] == "done"
