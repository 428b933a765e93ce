"""A user's fitness function beside the judge: its numbers are objectives, and what it breaks is its own."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from fitness.benchmarks.benchmark import Benchmark
from fitness.judges.judge import InlineJudge, SubprocessJudge
from fitness.judges.scorer import Scorer
from fitness.judges.tile_plan import KernelPlan, PlanTable
from fitness.judges.tiles import Samples, Tile, forward
from fitness.measures.targets import Target
from fitness.measures.user_function import Scoring
from fitness.processes import verdicts
from fitness.processes.limits import Failure, Limits
from fitness.scoring.judge_rows import judge_stack
from fitness.scoring.measure import measure
from fitness.scoring.score_sheet import ScoreSheet
from fitness.work.work_unit import Judging
from population.errors import BenchmarkError, EvaluatorFailed
from population.stacks.stack import Stack
from tests.fitness.judges.test_judge import make_stack
from tests.fitness.toys import toy_benchmark, toy_graph

JUDGING = Judging("validation", {"lite": {"hidden": 4}, "ultimate": {}})
SMALL = PlanTable((), KernelPlan(4, 32))
LIMITS = Limits(cpu_s=5, wall_s=20.0, memory_bytes=256 << 20)
MARGIN = '''
import numpy as np

def fitness(outputs, targets):
    """How sure it is of what is right, and how many classes it names."""
    right = outputs[targets, np.arange(len(targets))]
    return {"margin": float(right.mean()), "named": len(set(outputs.argmax(axis=0).tolist()))}
'''
CHOOSY = '''
def fitness(outputs, targets):
    """Fails for whoever names the second class in its first row."""
    if outputs[:, 0].argmax() == 1:
        raise ValueError("the second class")
    return {"score": float(outputs[0, 0])}
'''
NORMS = """
def norms(stack):
    return {"norm": (stack.tensors["hidden.weight"] ** 2).sum(dim=(1, 2)), "width": stack.widths[:, 0]}
"""


def slow(*values: str) -> ParameterSet:
    return pytest.param(*values, marks=pytest.mark.slow)


def scored(source: str, names: dict[str, str], function: str = "fitness", takes: str = "outputs") -> Benchmark:
    return toy_benchmark().scored_by(Scoring.of(source, function, names, takes))


def judged(stack: Stack, benchmark: Benchmark, plans: PlanTable = SMALL, scorer: Scorer | None = None) -> ScoreSheet:
    return judge_stack(stack, benchmark, InlineJudge(), JUDGING, plans, scorer=scorer)


def column(found: ScoreSheet, benchmark: Benchmark, name: str) -> np.ndarray:
    return found.scores[:, :, [objective.name for objective in benchmark.objectives].index(name)]


@functools.cache
def stack() -> Stack:
    return make_stack(toy_graph(), range(6))


def test_its_numbers_are_those_of_a_call_by_hand_beside_our_metrics() -> None:
    benchmark = scored(MARGIN, {"margin": "max", "named": "min"})
    found = judged(stack(), benchmark)
    assert found.verdicts == ["ok"] * 6
    targets = benchmark.targets_of("validation")[0]
    tile = Tile(b"", toy_graph().encoded, stack(), (("ultimate", {}),), KernelPlan(4, 32), (("logits", 3),))
    (outputs,) = forward(tile, Samples(benchmark.inputs_of("validation")))
    for row in range(6):
        right = outputs[row][targets, np.arange(len(targets))]
        assert column(found, benchmark, "margin")[row, 1] == float(right.mean())
        assert column(found, benchmark, "named")[row, 1] == len(set(outputs[row].argmax(axis=0)))
    plain = judged(stack(), toy_benchmark())
    assert np.array_equal(column(found, benchmark, "accuracy"), column(plain, toy_benchmark(), "accuracy"))
    assert [objective.direction for objective in benchmark.objectives][-2:] == ["max", "min"]
    assert "margin" not in measure(outputs, benchmark.targets_of("validation"), benchmark).scores


def test_who_it_fails_for_is_quarantined_and_the_others_keep_their_numbers() -> None:
    benchmark = scored(CHOOSY, {"score": "max"})
    found, plain = judged(stack(), benchmark), judged(stack(), scored(CHOOSY.replace("== 1", "== 9"), {"score": "max"}))
    failed = [row for row in range(6) if found.verdicts[row] != "ok"]
    assert 0 < len(failed) < 6
    for row in range(6):
        if row in failed:
            assert (found.verdicts[row], found.details[row]) == (
                verdicts.CRASH, "the fitness function: ValueError: the second class",
            )  # fmt: skip
            assert np.isnan(found.scores[row]).all()
        else:
            assert np.array_equal(found.scores[row], plain.scores[row])


def test_a_function_of_stacks_scores_every_row_whatever_the_tile_and_sees_no_data() -> None:
    benchmark = scored(NORMS, {"norm": "min", "width": "max"}, "norms", "stack")
    assert [objective.name for objective in benchmark.objectives] == ["flops", "bytes", "norm", "width"]
    assert benchmark.scoring is not None
    scorer = Scorer.of(benchmark.scoring)
    found, larger = (judged(stack(), benchmark, plans, scorer) for plans in (SMALL, PlanTable((), KernelPlan(16, 128))))
    scorer.close()
    wanted = (stack().tensors["hidden.weight"] ** 2).sum(dim=(1, 2)).numpy()
    assert np.array_equal(column(found, benchmark, "norm")[:, 1], wanted)
    assert column(found, benchmark, "width").tolist() == [[4, 16]] * 6
    assert np.array_equal(found.scores, larger.scores)
    assert np.isnan(found.skills).all()


@pytest.mark.parametrize(
    ("body", "cause", "words"),
    [
        ("x = stack.tensors['out.bias'][:, 0]; x[1] = float('nan'); return x", verdicts.NAN, "NaN or infinity"),
        slow("return [1.0]", verdicts.OUTPUT, "[4] numbers for score, one a row, got (1,)"),
        slow("return {'other': 1}", verdicts.OUTPUT, "exactly score"),
        slow("return open('/etc/hostname').read()", verdicts.CRASH, "Error"),
        slow("while True: pass", verdicts.TIMEOUT, verdicts.TIMEOUT_DETAIL),
    ],
    ids=["nan", "shape", "names", "file", "hang"],
)
def test_what_a_function_of_stacks_does_wrong_is_its_rows_verdict(body: str, cause: str, words: str) -> None:
    benchmark = scored(f"def norms(stack):\n    {body}\n", {"score": "max"}, "norms", "stack")
    assert benchmark.scoring is not None
    scorer = Scorer.of(benchmark.scoring, limits=Limits(cpu_s=1, wall_s=3.0, memory_bytes=256 << 20))
    some = stack().gather([0, 1])
    found = judge_stack(some, benchmark, InlineJudge(), JUDGING, SMALL, scorer=scorer)
    scorer.close()
    lost = [row for row in range(2) if found.verdicts[row] != "ok"]
    assert lost == ([1] if cause == verdicts.NAN else [0, 1])
    assert all(found.verdicts[row] == cause and words in found.details[row] for row in lost)


@pytest.fixture(scope="module")
def jailed() -> Iterator[SubprocessJudge]:
    found = SubprocessJudge(limits=LIMITS)
    yield found
    found.close()


def test_in_jails_the_numbers_are_the_same(jailed: SubprocessJudge) -> None:
    benchmark = scored(MARGIN, {"margin": "max", "named": "min"})
    found = judge_stack(stack(), benchmark, jailed, JUDGING, SMALL)
    assert np.array_equal(found.scores, judged(stack(), benchmark).scores)


def test_several_outputs_come_as_dictionaries_by_channel() -> None:
    source = """
def fitness(outputs, targets):
    right = outputs["kind"].argmax(axis=0) == targets["kind"]
    return float(right.mean() - abs(outputs["size"] - targets["size"].T).mean())
"""
    scorer = Scorer.of(Scoring.of(source, "fitness", {"score": "max"}))
    kinds, sizes = np.array([0, 1, 1]), np.array([[0.5], [1.5], [2.0]], dtype=np.float32)
    logits = np.array([[1, 0, 1], [0, 1, 0]], dtype=np.float32)
    found = scorer.score_channels({"kind": logits, "size": sizes.T + 1}, {"kind": kinds, "size": sizes})
    scorer.close()
    assert found == {"score": pytest.approx(2 / 3 - 1)}
    targets = [Target("kind", "classes", np.arange(60) % 2), Target("size", "numbers", np.arange(60.0))]
    both = Benchmark.from_arrays(np.arange(60.0)[:, None], targets).scored_by(
        Scoring.of(source, "fitness", {"score": "max"})
    )
    assert [objective.name for objective in both.objectives][-1] == "score"


def test_a_text_that_cannot_be_imported_is_told_with_its_reason() -> None:
    scorer = Scorer.of(Scoring.of("import no_such_module\ndef fitness(a, b): return 1", "fitness", {"score": "max"}))
    with pytest.raises(EvaluatorFailed, match="fitness function's file: ModuleNotFoundError: No module named 'no_such"):
        scorer.score(np.zeros((2, 3), dtype=np.float32), np.zeros(3, dtype=np.int64))
    scorer.close()


def test_it_travels_with_the_benchmark() -> None:
    benchmark = scored(MARGIN, {"margin": "max", "named": "min"})
    again = Benchmark.from_parts(*benchmark.to_parts())
    assert again.scoring == benchmark.scoring
    assert again.objectives == benchmark.objectives
    assert again.training_only().objectives == benchmark.objectives
    assert again.measuring(["margin", "f1"]).objectives[-1].name == "f1"


@pytest.mark.parametrize(
    ("names", "takes", "words"),
    [
        ({}, "outputs", "at least one number"),
        ({"a b": "max"}, "outputs", "an identifier"),
        ({"score": "up"}, "outputs", "max or min"),
        ({"score": "max"}, "rows", "takes outputs or stack"),
        ({"accuracy": "max"}, "outputs", "'accuracy' is the name of a metric of ours"),
        ({"flops": "min"}, "stack", "'flops' is the name of a metric of ours"),
    ],
)
def test_names_that_cannot_be_are_refused(names: dict[str, str], takes: str, words: str) -> None:
    with pytest.raises(BenchmarkError, match=words):
        scored(MARGIN, names, takes=takes)


def test_a_failure_of_the_function_is_told_as_such() -> None:
    scorer = Scorer.of(Scoring.of(CHOOSY, "fitness", {"score": "max"}))
    found = scorer.score(np.array([[0.0], [1.0]], dtype=np.float32), np.array([0]))
    scorer.close()
    assert isinstance(found, Failure)
    assert found.detail == "ValueError: the second class"


def test_a_child_that_is_killed_from_outside_costs_no_candidate_its_score(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer.of(Scoring.of(MARGIN, "fitness", {"margin": "max", "named": "min"}))
    outputs, targets = np.eye(3, dtype=np.float32), np.arange(3)
    wanted, ask = scorer.score(outputs, targets), scorer._cell.ask
    shots = [Failure(verdicts.CRASH, "ended by SIGKILL", is_doubtful=True)]
    monkeypatch.setattr(scorer._cell, "ask", lambda *given: shots.pop() if shots else ask(*given))
    assert scorer.score(outputs, targets) == wanted
    assert shots == []
    scorer.close()
