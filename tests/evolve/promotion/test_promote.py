from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evolve.config.campaign import CampaignConfig, check_config
from evolve.home.home import Home
from evolve.planning.plan import Plan, make_plan
from evolve.promotion.promote import Decision, catch_up, promote, rollback
from evolve.recipes.recipe import individual_id
from fitness.judges.judge import InlineJudge, SubprocessJudge
from fitness.measures.heldout_tests import alpha_of_look
from population.blocks.block import TensorBlock
from population.clock import ManualClock
from population.errors import EvaluatorFailed, InputError, Locked, NotFound
from population.graphs.graph import Channel, Node, OpGraph
from population.lineage.format.records import Births, Commit, Measure
from population.lineage.journal.writer import LineageWriter
from population.lineage.sql.query import run_query
from population.stacks.stack import Stack

GRAPH = OpGraph.build(
    inputs=(Channel("image", (1, 8, 8), "float32"),),
    nodes=(
        Node("flat", "flatten", ("image",), {}, {}),
        Node("scores", "linear", ("flat",), {"weight": "w", "bias": "b"}, {"out": 10}),
    ),
    outputs=(("logits", "scores"),),
    symbols={},
)

TIERED = OpGraph.build(
    inputs=GRAPH.inputs,
    nodes=(
        Node("flat", "flatten", ("image",), {}, {}),
        Node("hidden", "linear", ("flat",), {"weight": "w1", "bias": "b1"}, {"out": "h"}),
        Node("scores", "linear", ("hidden",), {"weight": "w2", "bias": "b2"}, {"out": 10}),
    ),
    outputs=(("logits", "scores"),),
    symbols={"h": 20},
)
TIERS = {"lite": {"h": 10}, "ultimate": {"h": 20}}
#: what the campaigns of the scene were judged at.
LEVEL = "full"
HELDOUT_ACCURACY = "split = 'heldout' AND objective = 'accuracy'"


def config_of(name: str, **others: Any) -> CampaignConfig:
    values = {
        "name": name,
        "benchmark": {"dataset": "digits"},
        "graph": GRAPH.to_value(),
        "operators": {"gaussian": {}},
        "stop": {"generations": 1},
        "tiers": None,
    }
    return check_config({**values, **others})


def weights_by_ridge(plan: Plan, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias of a least-squares classifier, fitted on the training rows."""
    rows = plan.benchmark.inputs_of("train")["image"].reshape(-1, 64).astype(np.float64)
    x = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    y = np.eye(10)[plan.benchmark.targets_of("train")[0]]
    solved = np.linalg.solve(x.T @ x + penalty * np.eye(65), x.T @ y)
    return solved[:64].T.astype(np.float32), solved[64].astype(np.float32)


def block_of(weights: tuple[np.ndarray, np.ndarray]) -> TensorBlock:
    stack = Stack.zeros(GRAPH, 1)
    tensors = {"w": torch.from_numpy(weights[0])[None], "b": torch.from_numpy(weights[1])[None]}
    return TensorBlock.from_stack(replace(stack, tensors=tensors), 0)


def tiered_block(weights: tuple[np.ndarray, np.ndarray], first_unit: int, tiers: Any = TIERS) -> TensorBlock:
    """A block whose hidden units from ``first_unit`` on are the class scores: its lite tier sees units 0 to 9 only."""
    units = slice(first_unit, first_unit + 10)
    w1, b1, w2 = torch.zeros(1, 20, 64), torch.zeros(1, 20), torch.zeros(1, 10, 20)
    w1[0, units], b1[0, units] = torch.from_numpy(weights[0]), torch.from_numpy(weights[1])
    w2[0, :, units] = torch.eye(10)
    tensors = {"w1": w1, "b1": b1, "w2": w2, "b2": torch.zeros(1, 10)}
    return TensorBlock.from_stack(replace(Stack.zeros(TIERED, 1), tensors=tensors), 0, tiers)


class Scene:
    """A home with one campaign: an individual that was initialised, its child, and the child's block."""

    def __init__(self, root: Path) -> None:
        self.home = Home.create(root)
        self.clock = ManualClock(now_s=1_800_000_000.0)
        self.num_campaigns = 0

    def campaign(
        self, block: TensorBlock, *, with_root: bool = True, root_operator: str = "init@1", **config: Any
    ) -> str:
        """Writes a campaign whose champion is this block; returns the block's id."""
        self.num_campaigns += 1
        handle = f"digits-{self.num_campaigns}"
        plan = make_plan(config_of(handle, seed=self.num_campaigns, **config))
        cid = self.home.block_store().put(block)
        events = [0, 1] if with_root else [1]
        names = {0: individual_id(plan.key, 0), 1: individual_id(plan.key, 1)}
        rows = {
            "campaigns": [campaign_row(plan)],
            "blocks": [{"block": cid, "individual": names[1], "tiers": {}, "bytes": 2600}],
        }
        with LineageWriter(self.home.files, self.home.root, handle, self.clock) as log:
            log.commit(Commit(0, (births_of(plan, events, names, root_operator),), rows=rows))
        return cid

    def query(self, sql: str) -> list[dict[str, Any]]:
        return run_query(self.home.lineage_reader(), sql).to_pylist()

    def promote(self, cid: str, name: str = "digits", **others: Any) -> Decision:
        settings: dict[str, Any] = {"floors": {"ultimate": 0.9}, "margin": 0.02, "clock": self.clock, **others}
        return promote(self.home, cid, name, **settings)


def campaign_row(plan: Plan) -> dict[str, Any]:
    config = plan.config.model_dump(mode="json")
    return {"campaign_key": plan.key.hex(), "seed": plan.config.seed, "state": "done", "config": config}


def births_of(plan: Plan, events: list[int], names: Mapping[int, str], root_operator: str) -> Births:
    count = len(events)
    return Births(
        measures=(Measure(plan.benchmark_name, "validation", "ultimate", "accuracy"),),
        skill_measures=(),
        tiers=("ultimate",),
        num_samples=100,
        sandbox_level=LEVEL,
        environment=plan.environment,
        event=np.array(events, dtype=np.int64),
        individual=[names[event] for event in events],
        operator=[root_operator if event == 0 else "gaussian@1" for event in events],
        seed=np.arange(count, dtype=np.uint64),
        settings=["{}"] * count,
        inputs=[()] * count,
        parents=[() if event == 0 else (names[0],) for event in events],
        roles=[() if event == 0 else ("parent",) for event in events],
        generation=np.array(events, dtype=np.int64),
        species=[plan.species] * count,
        coordinate=["L0_G0_N2_0:0:0"] * count,
        weights_digest=[None] * count,
        status=["active"] * count,
        verdict=["ok"] * count,
        detail=[""] * count,
        repeat_of=[""] * count,
        flops=np.full((count, 1), 1280, dtype=np.int64),
        scores=np.full((count, 1), 0.5),
        skills=np.zeros((count, 0)),
    )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "home")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(config_of("digits"))


@pytest.fixture(scope="module")
def good(plan: Plan) -> TensorBlock:
    return block_of(weights_by_ridge(plan, 1.0))


@pytest.fixture(scope="module")
def as_good(plan: Plan) -> TensorBlock:
    weights, bias = weights_by_ridge(plan, 1.0)
    return block_of((weights * 2, bias * 2))


@pytest.fixture(scope="module")
def poor(plan: Plan) -> TensorBlock:
    weights, bias = weights_by_ridge(plan, 1.0)
    weights = weights.copy()
    weights[3] = 0
    return block_of((weights, bias))


@pytest.fixture(scope="module")
def judge() -> Iterator[SubprocessJudge]:
    """One real judge process for most tests: starting it costs seconds."""
    process = SubprocessJudge()
    yield process
    process.close()


def test_a_first_head_needs_its_floors_and_is_recorded_with_its_look_and_its_scores(
    scene: Scene, good: TensorBlock, plan: Plan, judge: SubprocessJudge
) -> None:
    cid = scene.campaign(good)
    decision = scene.promote(cid)
    assert (decision.decision, decision.exit_code, decision.sequence) == ("promoted", 0, 1)
    assert (decision.look, decision.alpha) == (1, alpha_of_look(1))
    accuracy = decision.heldout["ultimate"]["accuracy"]
    assert 0.9 < accuracy < 0.97
    head = scene.home.heads().current("digits")
    assert head is not None
    assert head.block == cid
    assert head.evidence["heldout"]["ultimate"]["accuracy"] == accuracy
    rows = scene.query("SELECT decision, sequence, look, block FROM promotions ORDER BY decided, sequence")
    assert [(row["decision"], row["sequence"], row["look"]) for row in rows] == [("looked", 0, 1), ("promoted", 1, 1)]
    (shown,) = scene.query(
        "SELECT value, sandbox_level, num_samples, repeat FROM scores WHERE split = 'heldout' AND objective = 'accuracy'"
    )
    rows_judged = len(plan.benchmark.rows("heldout"))
    assert shown == {"value": accuracy, "sandbox_level": judge.level, "num_samples": rows_judged, "repeat": 0}
    assert len(scene.query("SELECT skill FROM skills WHERE split = 'heldout'")) == 10
    assert [row["status"] for row in scene.query("SELECT status FROM individuals WHERE block IS NOT NULL")] == [
        "promoted"
    ]


def test_a_block_below_a_floor_is_refused_and_the_look_counts(
    scene: Scene, poor: TensorBlock, judge: SubprocessJudge
) -> None:
    cid = scene.campaign(poor)
    decision = scene.promote(cid, judge=judge)
    assert (decision.decision, decision.exit_code, decision.sequence) == ("refused", 1, 0)
    assert "misses the floor 0.9000" in decision.reasons[0]
    assert scene.home.heads().current("digits") is None
    assert len(scene.query("SELECT 1 FROM promotions WHERE decision = 'refused' AND look = 1")) == 1
    assert len(scene.query(f"SELECT 1 FROM scores WHERE {HELDOUT_ACCURACY}")) == 1
    again = scene.promote(cid, judge=judge, floors={"ultimate": 0.91})
    assert (again.look, again.alpha) == (2, alpha_of_look(2))
    shown = scene.query(f"SELECT repeat FROM scores WHERE {HELDOUT_ACCURACY} ORDER BY 1")
    assert [row["repeat"] for row in shown] == [0, 1]


def test_the_standing_head_again_is_already_there_and_costs_no_look(
    scene: Scene, good: TensorBlock, judge: SubprocessJudge
) -> None:
    cid = scene.campaign(good)
    first = scene.promote(cid, judge=judge)
    again = scene.promote(cid[:12], judge=judge)
    assert (again.decision, again.exit_code, again.sequence, again.look) == ("already there", 0, 1, None)
    assert again.heldout == first.heldout
    assert len(scene.query("SELECT 1 FROM promotions")) == 2


def test_a_later_head_is_compared_with_the_one_that_stands_on_the_same_rows(
    scene: Scene, good: TensorBlock, as_good: TensorBlock, poor: TensorBlock, judge: SubprocessJudge
) -> None:
    first = scene.campaign(good)
    scene.promote(first, judge=judge)
    refused = scene.promote(scene.campaign(poor), judge=judge)
    assert (refused.decision, refused.sequence, refused.look) == ("refused", 1, 2)
    assert "is below zero" in refused.reasons[0]
    accepted = scene.promote(scene.campaign(as_good), judge=judge)
    assert (accepted.decision, accepted.sequence, accepted.look) == ("promoted", 2, 3)
    assert "difference +0.0000" in accepted.reasons[0]
    assert accepted.alpha == alpha_of_look(3)
    head = scene.home.heads().current("digits")
    assert head is not None
    assert head.evidence["compared_with"] == first


def test_a_tier_that_became_worse_or_vanished_refuses_a_later_head(
    scene: Scene, plan: Plan, judge: SubprocessJudge
) -> None:
    weights, config = weights_by_ridge(plan, 1.0), {"graph": TIERED.to_value()}
    first = scene.promote(scene.campaign(tiered_block(weights, 0), **config), judge=judge)
    assert first.decision == "promoted"
    assert set(first.heldout) == {"lite", "ultimate"}
    worse = scene.promote(scene.campaign(tiered_block(weights, 10), **config), judge=judge)
    assert worse.decision == "refused"
    assert worse.heldout["ultimate"] == first.heldout["ultimate"]
    assert next(reason for reason in worse.reasons if "below zero" in reason and "not below" not in reason).startswith(
        "lite: "
    )
    without = scene.promote(scene.campaign(tiered_block(weights, 0, tiers=None), **config), judge=judge)
    assert (without.decision, without.look) == ("refused", None)
    assert "it lacks the tier lite" in without.reasons[0]


def test_a_block_that_cannot_be_judged_is_refused_with_the_verdict(scene: Scene, judge: SubprocessJudge) -> None:
    huge = block_of((np.full((10, 64), 3e38, np.float32), np.zeros(10, np.float32)))
    decision = scene.promote(scene.campaign(huge), judge=judge)
    assert (decision.decision, decision.look, decision.heldout) == ("refused", 1, {})
    assert "could not be judged on held-out rows: nan" in decision.reasons[0]


def test_a_margin_that_the_bound_does_not_reach_refuses(
    scene: Scene, good: TensorBlock, as_good: TensorBlock, judge: SubprocessJudge
) -> None:
    scene.promote(scene.campaign(good), judge=judge)
    decision = scene.promote(scene.campaign(as_good), judge=judge, margin=0.0)
    assert decision.decision == "refused"
    assert "lower bound" in decision.reasons[-1]


def test_looks_are_counted_for_each_set_of_heldout_rows_across_names(
    scene: Scene, good: TensorBlock, judge: SubprocessJudge
) -> None:
    cid = scene.campaign(good)
    assert scene.promote(cid, "one", judge=judge).look == 1
    assert scene.promote(cid, "two", judge=judge).look == 2
    other = scene.campaign(
        block_of((np.zeros((10, 64), np.float32), np.zeros(10, np.float32))),
        benchmark={"dataset": "digits", "split_seed": 5},
    )
    assert scene.promote(other, "three", judge=judge).look == 1


def test_a_look_counts_when_the_judge_dies(scene: Scene, good: TensorBlock, judge: SubprocessJudge) -> None:
    class Dead(InlineJudge):
        def run(self, *_: Any, **__: Any) -> Any:
            raise EvaluatorFailed("no judge")

    cid = scene.campaign(good)
    with pytest.raises(EvaluatorFailed):
        scene.promote(cid, judge=Dead())
    assert scene.promote(cid, "another", judge=judge).look == 2
    assert scene.promote(cid, judge=judge).look == 1  # the same promotion goes on with its own


def test_what_was_judged_without_isolation_is_never_promoted(scene: Scene, good: TensorBlock) -> None:
    decision = scene.promote(scene.campaign(good), judge=InlineJudge())
    assert decision.decision == "refused"
    assert "isolation level 'none'" in decision.reasons[0]


def test_scores_made_below_the_accepted_level_are_refused_unseen(
    scene: Scene, good: TensorBlock, judge: SubprocessJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "LEVEL", "reduced")
    cid = scene.campaign(good)
    refused = scene.promote(cid, judge=judge)
    assert (refused.decision, refused.look) == ("refused", None)
    assert "--accept-level reduced" in refused.reasons[0]
    assert scene.promote(cid, judge=judge, accept_level="reduced").decision == "promoted"


def test_floors_and_margin_default_to_those_of_the_campaigns_config(
    scene: Scene, good: TensorBlock, judge: SubprocessJudge
) -> None:
    cid = scene.campaign(good, promote={"name": "digits", "floors": {"ultimate": 0.999}})
    decision = scene.promote(cid, judge=judge, floors=None, margin=None)
    assert decision.decision == "refused"
    assert "misses the floor 0.9990" in decision.reasons[0]


def test_a_block_with_another_interface_than_the_standing_head_is_refused_unseen(
    scene: Scene, good: TensorBlock, judge: SubprocessJudge
) -> None:
    scene.promote(scene.campaign(good), judge=judge)
    graph = OpGraph.build(GRAPH.inputs, GRAPH.nodes, (("other", "scores"),), {})
    renamed = replace(good, graph=graph)
    decision = scene.promote(scene.campaign(renamed, graph=graph.to_value()), judge=judge)
    assert (decision.decision, decision.look) == ("refused", None)
    assert "other [10] float32" in decision.reasons[0]
    assert len(scene.query("SELECT 1 FROM promotions WHERE decision = 'refused' AND look IS NULL")) == 1


def test_a_block_that_lacks_ancestors_is_refused_unseen(scene: Scene, good: TensorBlock, as_good: TensorBlock) -> None:
    orphan = scene.promote(scene.campaign(good, with_root=False))
    assert (orphan.decision, orphan.look) == ("refused", None)
    assert "1 ancestors are missing" in orphan.reasons[0]
    foundling = scene.promote(scene.campaign(as_good, root_operator="uniform@1"))
    assert foundling.decision == "refused"
    assert "which needs parents" in foundling.reasons[0]


def test_a_block_that_no_lineage_knows_is_refused(scene: Scene, good: TensorBlock) -> None:
    decision = scene.promote(scene.home.block_store().put(good))
    assert (decision.decision, decision.look) == ("refused", None)
    assert "no lineage" in decision.reasons[0]


def test_an_unknown_block_and_an_impossible_name_are_wrong_usage(scene: Scene, good: TensorBlock) -> None:
    with pytest.raises(NotFound):
        scene.promote("bafyr4inobody")
    with pytest.raises(InputError, match="not a name for a head"):
        scene.promote(scene.home.block_store().put(good), name="No Good")


def test_two_promotions_at_once_exclude_each_other(scene: Scene, good: TensorBlock) -> None:
    cid = scene.campaign(good)
    with LineageWriter(scene.home.files, scene.home.root, "_home", scene.clock), pytest.raises(Locked):
        scene.promote(cid)


# ---- the way back ----------------------------------------------------------------------------------------------------


def test_a_rollback_restores_the_head_before_and_is_recorded(
    scene: Scene, good: TensorBlock, as_good: TensorBlock, judge: SubprocessJudge
) -> None:
    first, second = scene.campaign(good), scene.campaign(as_good)
    scene.promote(first, judge=judge)
    scene.promote(second, judge=judge)
    decision = rollback(scene.home, "digits", clock=scene.clock)
    assert (decision.decision, decision.block, decision.sequence, decision.exit_code) == ("rolled_back", first, 3, 0)
    head = scene.home.heads().current("digits")
    assert head is not None
    assert (head.block, head.kind) == (first, "rollback")
    assert head.evidence["heldout"] == decision.heldout
    (row,) = scene.query("SELECT block, sequence, look FROM promotions WHERE decision = 'rolled_back'")
    assert row == {"block": first, "sequence": 3, "look": None}
    status = {
        row["block"]: row["status"]
        for row in scene.query("SELECT block, status FROM individuals WHERE block IS NOT NULL")
    }
    assert status == {first: "promoted", second: "active"}
    with pytest.raises(InputError, match="cannot be rolled back"):
        rollback(scene.home, "digits", clock=scene.clock)
    with pytest.raises(NotFound):
        rollback(scene.home, "nobody", clock=scene.clock)


# ---- crashes ---------------------------------------------------------------------------------------------------------


def test_a_decision_whose_head_did_not_move_is_completed_at_the_next_opening(
    scene: Scene, good: TensorBlock, as_good: TensorBlock, judge: SubprocessJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = scene.campaign(good), scene.campaign(as_good)
    scene.promote(first, judge=judge)
    with monkeypatch.context() as crash:
        crash.setattr("population.store.heads.Heads.advance", power_cut)
        with pytest.raises(KeyboardInterrupt):
            scene.promote(second, judge=judge)
    assert current_block(scene) == first
    catch_up(scene.home, clock=scene.clock)
    assert current_block(scene) == second
    with monkeypatch.context() as crash:
        crash.setattr("population.store.heads.Heads.advance", power_cut)
        with pytest.raises(KeyboardInterrupt):
            rollback(scene.home, "digits", clock=scene.clock)
    assert scene.promote(first, judge=judge).decision == "already there"
    assert [head.kind for head in scene.home.heads().history("digits")] == ["promote", "promote", "rollback"]


def test_a_head_without_a_row_gets_one_at_the_next_opening(scene: Scene, good: TensorBlock) -> None:
    cid = scene.campaign(good)
    scene.home.heads().advance("digits", cid, {"heldout": {}}, 0, decided="2027-01-01T00:00:00+00:00")
    for _ in range(2):
        catch_up(scene.home, clock=scene.clock)
    (row,) = scene.query("SELECT name, sequence, block, decision FROM promotions")
    assert row == {"name": "digits", "sequence": 1, "block": cid, "decision": "promoted"}


def test_catching_up_in_a_new_home_writes_nothing(scene: Scene) -> None:
    before = sorted(path for path in scene.home.root.rglob("*"))
    catch_up(scene.home, clock=scene.clock)
    assert sorted(path for path in scene.home.root.rglob("*")) == before


def power_cut(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def current_block(scene: Scene) -> str:
    head = scene.home.heads().current("digits")
    assert head is not None
    return head.block


# ---- MLflow follows --------------------------------------------------------------------------------------------------


def test_the_alias_follows_promotion_and_rollback_and_a_missed_move_is_made_up_for(
    scene: Scene,
    good: TensorBlock,
    as_good: TensorBlock,
    judge: SubprocessJudge,
    caplog: pytest.LogCaptureFixture,
    plan: Plan,
) -> None:
    from evolve.tracking.mlflow_tracker import MlflowTracker

    home = scene.home
    uri = home.mlflow_uri
    first, second = scene.campaign(good), scene.campaign(as_good)
    missed = MlflowTracker("http://127.0.0.1:9", home.artifacts_root)
    scene.promote(first, judge=judge, tracker=missed)
    missed.close(20)
    assert missed.problem is not None

    tracker = MlflowTracker(uri, home.artifacts_root)
    assert scene.promote(first, judge=judge, tracker=tracker).decision == "already there"
    tracker.close(120)
    assert tracker.problem is None
    from mlflow import MlflowClient, pyfunc, set_tracking_uri

    client = MlflowClient(uri, uri)
    assert tags_of_production(client) == ("1", {"block_id": first, "sequence": "1"})

    scene.promote(second, judge=judge, tracker=tracker)
    tracker.close(60)
    assert tags_of_production(client) == ("2", {"block_id": second, "sequence": "2"})
    rollback(home, "digits", clock=scene.clock, tracker=tracker)
    tracker.close(60)
    assert tracker.problem is None
    assert tags_of_production(client) == ("1", {"block_id": first, "sequence": "3"})

    set_tracking_uri(uri)
    for name in ("mlflow", "mlflow.pyfunc", "mlflow.utils.requirements_utils"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    with caplog.at_level(logging.WARNING):
        model = pyfunc.load_model("models:/digits@production")
        images = plan.benchmark.inputs_of("heldout")["image"]
        answers = model.predict(images).argmax(axis=1)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("mlflow")] == []
    head = home.heads().current("digits")
    assert head is not None
    accuracy = float(np.mean(answers == plan.benchmark.targets_of("heldout")[0]))
    assert accuracy == pytest.approx(head.evidence["heldout"]["ultimate"]["accuracy"], abs=1e-12)


def tags_of_production(client: Any) -> tuple[str, dict[str, str]]:
    version = client.get_model_version_by_alias("digits", "production")
    return str(version.version), {key: version.tags[key] for key in ("block_id", "sequence")}


def test_the_evidence_of_a_head_is_plain_and_complete(scene: Scene, good: TensorBlock, judge: SubprocessJudge) -> None:
    scene.promote(scene.campaign(good), judge=judge)
    head = scene.home.heads().current("digits")
    assert head is not None
    evidence = json.loads(json.dumps(head.evidence))
    assert set(evidence) >= {
        "benchmark",
        "look",
        "alpha",
        "floors",
        "heldout",
        "reasons",
        "sandbox_level",
        "environment",
    }
