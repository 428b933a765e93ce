"""Campaigns whose blocks answer with numbers, or with several things at once."""

from __future__ import annotations

import math

import numpy as np
import torch

import evolve
from evolve.operators.training.losses import training_loss
from fitness.benchmarks.benchmark import Benchmark
from fitness.judges.judge import InlineJudge, SubprocessJudge
from fitness.measures.metrics import ClassAnswers
from fitness.measures.targets import Scale, Target, loss_of
from fitness.scoring.judge_rows import judge_stack
from fitness.work.work_unit import Judging
from population.graphs.graph import OpGraph
from population.stacks.interpreters import run_block
from population.stacks.stack import Stack
from tests.evolve import small


def rows() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.Generator(np.random.Philox(11))
    inputs = generator.normal(size=(300, 6)).astype(np.float32)
    return inputs, 40.0 + 25.0 * (inputs[:, 0] - inputs[:, 1]) + generator.normal(size=300)


def graph_of(outputs: dict[str, int]) -> dict[str, object]:
    heads = [{"name": f"to_{name}", "op": "linear", "inputs": ["act"], "out": size} for name, size in outputs.items()]
    first = {"name": "fc", "op": "linear", "inputs": ["input"], "out": "hidden"}
    nodes = [first, {"name": "act", "op": "relu", "inputs": ["fc"]}]
    return {
        "inputs": {"input": {"shape": [6], "dtype": "float32"}},
        "symbols": {"hidden": 16},
        "nodes": [*nodes, *heads],
        "outputs": {name: f"to_{name}" for name in outputs},
    }


SETTINGS = {"steps": 60, "batch": 64, "learning_rate": 0.05}
CHANGES = {
    "operators": {"burst": {"settings": SETTINGS}},
    "widths": {"hidden": [16]},
    "stop": {"generations": 6},
    "tiers": {"fractions": {"lite": 0.5, "ultimate": 1.0}, "distil": {**SETTINGS, "steps": 200}, "finalists": 1},
}


def test_a_campaign_learns_numbers_in_their_own_unit() -> None:
    inputs, targets = rows()
    benchmark = Benchmark.from_arrays(inputs, targets)
    values = small.values(graph=graph_of({"prediction": 1}), objectives=["r2", "flops"], **CHANGES)
    result = evolve.run(values, benchmark)
    assert result.champion is not None
    assert result.summary["metric"] == "r2"
    for tier in ("lite", "ultimate"):
        scores = result.summary["scores"][tier]
        assert scores["r2"] > 0.9
        held = torch.from_numpy(benchmark.inputs_of("heldout")["input"])
        errors = (
            run_block(result.champion, {"input": held}, tier)["prediction"].numpy() - benchmark.targets_of("heldout")[0]
        )
        assert math.sqrt(float(np.mean(errors**2))) < 0.4 * float(targets.std())
    skills = [measure.name for measure in result.commits[1].births[0].skill_measures]
    assert skills[:4] == ["lowest", "lower", "higher", "highest"]


def two() -> Benchmark:
    inputs, numbers = rows()
    kinds = (inputs[:, 2] > 0).astype(np.int64)
    return Benchmark.from_arrays(
        inputs, [Target("kind", "classes", kinds), Target("size", "numbers", numbers, weight=0.5)]
    )


def test_a_campaign_learns_two_things_at_once() -> None:
    graph = graph_of({"size": 1, "kind": 2})
    result = evolve.run(small.values(graph=graph, objectives=["loss", "kind.accuracy", "size.r2"], **CHANGES), two())
    scores = result.summary["scores"]["ultimate"]
    assert scores["kind.accuracy"] > 0.9
    assert scores["size.r2"] > 0.9
    assert scores["loss"] < 0.5


def stack_of(graph: OpGraph, count: int) -> Stack:
    generator = torch.Generator().manual_seed(3)
    tensors = {
        name: torch.randn(count, *graph.parameter_shape(name, graph.symbols), generator=generator)
        for name in graph.parameters
    }
    return Stack(graph, tensors, torch.full((count, 1), 16))


def test_two_outputs_are_the_same_bits_in_the_jail() -> None:
    stack = stack_of(OpGraph.from_value(graph_of({"size": 1, "kind": 2})), 5)
    judges = InlineJudge(), SubprocessJudge()
    try:
        inside, outside = (judge_stack(stack, two(), judge, Judging("validation", {"u": {}})) for judge in judges)
    finally:
        for judge in judges:
            judge.close()
    assert inside.verdicts == ["ok"] * 5
    assert inside.scores.tobytes() == outside.scores.tobytes()
    assert inside.merits.tobytes() == outside.merits.tobytes()


def test_training_makes_smaller_what_is_measured() -> None:
    """The loss of the optimiser, in torch, is the loss of the judge, in numpy."""
    generator = np.random.Generator(np.random.Philox(5))
    kinds, numbers = generator.integers(0, 3, 90), generator.normal(size=(90, 2)) * [1.0, 30.0]
    for loss in ("squared", "absolute", "huber"):
        targets = [
            Target("kind", "classes", kinds, class_weights="balanced"),
            Target("size", "numbers", numbers.astype(np.float32), loss=loss, weight=3.0),
        ]
        benchmark = Benchmark.from_arrays(generator.normal(size=(90, 2)), targets)
        outputs = generator.normal(size=(4, 5, 90)).astype(np.float32) * 3
        found = training_loss(benchmark, ["size", "kind"])(
            {"kind": torch.from_numpy(outputs[:, :3]), "size": torch.from_numpy(outputs[:, 3:])},
            [torch.tensor(target.values).expand(4, *target.values.shape) for target in benchmark.targets],
        )
        parts = zip(benchmark.targets, benchmark.scales, (outputs[:, :3], outputs[:, 3:]), strict=True)
        expected = sum(
            target.weight * loss_of(target, scale, _answers(target, scale, part)) for target, scale, part in parts
        )
        assert np.allclose(found.numpy(), expected, rtol=1e-4)


def _answers(target: Target, scale: Scale, outputs: np.ndarray) -> object:
    from fitness.measures.targets import answers_of

    return answers_of(target, scale, outputs, target.values)


def test_balanced_weights_count_every_class_alike() -> None:
    target = Target("kind", "classes", np.array([0] * 8 + [1] * 2), class_weights="balanced")
    scale = Scale.of(target, target.values)
    assert scale.class_weights.tolist() == [10 / 16, 10 / 4]
    wrong = ClassAnswers(np.zeros((1, 2, 10)), target.values)
    assert loss_of(target, scale, wrong)[0] == np.log(2) * 1.0
