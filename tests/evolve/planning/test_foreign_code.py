"""Code of other packages needs the jail that was accepted, wherever a command would run it; what is ours needs none."""

from __future__ import annotations

import mmap
from types import SimpleNamespace

import pytest
import torch

import evolve
from evolve.models.importer_answer import read_answer
from evolve.planning.foreign_code import foreign_operations, modules_to_import, running
from evolve.planning.plan import Plan
from evolve.promotion.heldout import judge_for
from evolve.recipes.recipe import Recipe
from evolve.recovery.rebuild import Record, rebuild_rows
from evolve.reports.baselines import compute
from fitness.evaluators.child_processes import ProcessEvaluator
from fitness.evaluators.maker import JailedMaker
from fitness.judges.judge import SubprocessJudge
from fitness.judges.runner import JailedRunner
from fitness.judges.runner_process import _write
from fitness.processes.verdicts import WrongOutput
from population.blocks.block import TensorBlock
from population.encoding.cbor import encode
from population.errors import ConfigError, FormatError, InputError
from population.operations import Call, get
from population.operations.registry import Operation, _operations, register
from population.stacks.interpreters import run_block
from population.stacks.stack import Stack
from tests.evolve import small

PLUGIN = "tests.plugins.gentle"
WEAK = property(lambda self: SimpleNamespace(level="reduced"))
WORDS = "has level 'reduced'"


def plan_with_plugin() -> Plan:
    graph = dict(small.values()["graph"])
    nodes = [{**node, "op": "gentle"} if node["name"] == "act" else node for node in graph["nodes"]]
    return small.plan_of(graph={**graph, "nodes": nodes}, plugins=[PLUGIN], tiers=None)


def block_of(plan: Plan) -> TensorBlock:
    return TensorBlock.from_stack(Stack.zeros(plan.graph, 1), 0)


def test_a_block_with_operations_of_ours_is_run_here() -> None:
    with running(block_of(small.plan_of())) as run:
        assert run is run_block


def test_a_block_with_anothers_operation_is_run_in_a_jail_that_was_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    block = block_of(plan_with_plugin())
    assert [operation.key for operation in foreign_operations(block.graph)] == ["gentle"]
    monkeypatch.setattr(JailedRunner, "report", WEAK)
    with (
        pytest.raises(InputError, match=r"'gentle' is code of another package.*--accept-level reduced"),
        running(block),
    ):
        pass
    with running(block, "reduced") as run:
        assert run.__self__.__class__ is JailedRunner  # type: ignore[attr-defined]


def test_what_fails_in_the_jail_is_told_in_words() -> None:
    graph = dict(small.values()["graph"])
    nodes = [{**node, "op": "hostile"} if node["name"] == "act" else node for node in graph["nodes"]]
    block = block_of(small.plan_of(graph={**graph, "nodes": nodes}, plugins=["tests.plugins.hostile"], tiers=None))
    with (
        running(block, "none") as run,
        pytest.raises(InputError, match=r"the block fails in its jail \(crash\): IndexError"),
    ):
        run(block, {"input": torch.zeros(2, 6)})


@pytest.mark.parametrize("found", [torch.zeros(2, 4), torch.zeros(3, 3), torch.zeros(2, 3, dtype=torch.float64)])
def test_an_answer_of_another_shape_or_dtype_is_refused(found: torch.Tensor) -> None:
    graph, taken = block_of(small.plan_of()).graph, mmap.mmap(-1, 4096)
    fields = {"outputs": ["logits"], "num_rows": 2}
    assert _write({"logits": torch.ones(2, 3)}, graph, fields, taken) == 24
    with pytest.raises(WrongOutput, match=r"output 'logits' must be \[2, 3\] float32, got"):
        _write({"logits": found}, graph, fields, taken)


def test_rows_are_made_again_in_a_jail_that_was_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JailedMaker, "report", WEAK)
    plan = plan_with_plugin()
    record = Record(0, "", Recipe("init@1", (), (), 1, "{}"), None, 0.0)
    with pytest.raises(ConfigError, match=WORDS):
        rebuild_rows(plan, {0: record}, [0])
    assert rebuild_rows(small.plan_of(), {0: record}, [0]).steps == 1


def test_what_is_made_again_here_sees_training_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was given the whole benchmark, with all labels."""
    plan, seen = small.plan_of(), []
    monkeypatch.setattr("evolve.recipes.materialise.materialise", lambda unit, read, benchmark: seen.append(benchmark))
    record = Record(0, "", Recipe("init@1", (), (), 1, "{}"), None, 0.0)
    with pytest.raises(AttributeError):
        rebuild_rows(plan, {0: record}, [0])
    assert [benchmark.num_samples("train") for benchmark in seen] == [len(plan.benchmark.rows("train"))]
    assert len(seen[0].targets[0].values) == len(plan.benchmark.rows("train"))


def test_baselines_promotions_and_the_library_ask_for_the_level_too(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_with_plugin()
    monkeypatch.setattr(JailedMaker, "report", WEAK)
    monkeypatch.setattr(SubprocessJudge, "level", property(lambda self: "reduced"))
    monkeypatch.setattr(ProcessEvaluator, "sandbox_level", property(lambda self: "reduced"))
    assert WORDS in compute(plan)[0].missing
    with pytest.raises(ConfigError, match=WORDS), judge_for(plan, None, "full"):
        pass
    with judge_for(plan, None, "reduced") as judge:
        assert judge.level == "reduced"
    with pytest.raises(ConfigError, match=WORDS):
        evolve.run(plan.config, small.rows())


def test_an_operation_is_a_plugins_if_any_of_its_functions_is() -> None:
    """One that was ours on stacks and another's on a single block passed for ours, and was run wherever blocks are."""

    def other(call: Call) -> torch.Tensor:
        return call.inputs[0]

    ours = get("relu")
    try:
        made = register(Operation("half_relu", ours.infer, ours.flops, ours.run, other))
        assert (made.is_plugin, made.module, ours.is_plugin) == (True, __name__, False)
        assert modules_to_import("evolve.operations", made.module) == [__name__]
    finally:
        _operations.members.pop("half_relu", None)


def test_a_block_that_names_anothers_operation_is_no_answer_of_an_importers_jail() -> None:
    """It would have been run here, to be compared with its module."""
    value, leaves = block_of(plan_with_plugin()).manifest()
    sizes = [[cid, len(data)] for cid, data in leaves.items()]
    index = encode({"module": "Net", "manifest": value, "leaves": sizes, "answers": []})
    data = len(index).to_bytes(8, "little") + index + b"".join(leaves.values())
    memory = mmap.mmap(-1, len(data))
    memory[:] = data
    with pytest.raises(FormatError, match="operations of other packages"):
        read_answer(memory, len(data), "net.py")
