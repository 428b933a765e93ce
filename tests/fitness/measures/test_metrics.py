"""Metrics against scikit-learn's, and that a candidate's bits depend on itself alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
import sklearn.metrics as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from fitness.benchmarks.benchmark import Benchmark
from fitness.measures.metrics import METRICS, ClassAnswers, NumberAnswers
from fitness.measures.targets import Target
from fitness.scoring.measure import measure


def draw(seed: int, num_candidates: int, num_classes: int, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.Generator(np.random.Philox(seed))
    logits = generator.normal(size=(num_candidates, num_classes, num_rows)).astype(np.float32) * 8
    return logits, generator.integers(0, num_classes, size=num_rows)


@given(seed=st.integers(0, 2**32), num=st.integers(1, 9), classes=st.integers(2, 7), rows=st.integers(1, 70))
@settings(max_examples=60, deadline=None)
def test_a_candidates_bits_depend_on_itself_alone(seed: int, num: int, classes: int, rows: int) -> None:
    logits, targets = draw(seed, num, classes, rows)
    together = ClassAnswers(logits, targets)
    for row in range(num):
        alone = ClassAnswers(logits[row : row + 1], targets)
        for name, metric in METRICS.items():
            if metric.fits("classes"):
                assert alone.measure(name)[0].tobytes() == together.measure(name)[row].tobytes(), name
        assert np.array_equal(alone.skills[0], together.skills[row], equal_nan=True)
        assert np.array_equal(alone.merits[0], together.merits[row])


def _softmax(logits: np.ndarray) -> np.ndarray:
    wide = np.exp(logits.astype(np.float64).T - logits.max(axis=0)[:, None])
    return wide / wide.sum(axis=1, keepdims=True)


def _auc(targets: np.ndarray, logits: np.ndarray) -> float:
    shares = _softmax(logits)
    return float(theirs.roc_auc_score(targets, shares[:, 1] if len(logits) == 2 else shares, multi_class="ovr"))


OF_CLASSES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": lambda targets, logits: theirs.accuracy_score(targets, logits.argmax(axis=0)),
    "balanced_accuracy": lambda targets, logits: theirs.balanced_accuracy_score(targets, logits.argmax(axis=0)),
    "cross_entropy": lambda targets, logits: theirs.log_loss(targets, _softmax(logits), labels=range(len(logits))),
    "f1": lambda targets, logits: theirs.f1_score(
        targets, logits.argmax(axis=0), average="binary" if len(logits) == 2 else "macro", zero_division=0
    ),
    "roc_auc": _auc,
}
OF_NUMBERS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "r2": theirs.r2_score,
    "rmse": theirs.root_mean_squared_error,
    "mae": theirs.mean_absolute_error,
}


def test_every_metric_is_compared() -> None:
    assert {name for name, metric in METRICS.items() if metric.fits("classes")} == set(OF_CLASSES)
    assert {name for name, metric in METRICS.items() if metric.fits("numbers")} == set(OF_NUMBERS)


@pytest.mark.parametrize("name", OF_CLASSES)
@pytest.mark.parametrize("num_classes", [2, 5])
def test_metrics_of_classes_are_those_of_scikit_learn(name: str, num_classes: int) -> None:
    for seed in range(12):
        logits, targets = draw(seed, 3, num_classes, 60)
        logits = np.round(logits / 8) * 2 if name == "roc_auc" and num_classes == 2 else logits / 4  # with ties
        targets[:num_classes] = range(num_classes)
        found = ClassAnswers(logits, targets).measure(name)
        for row in range(3):
            assert found[row] == pytest.approx(OF_CLASSES[name](targets, logits[row]), rel=1e-9), (name, seed)


def test_metrics_where_a_class_is_missing_are_those_of_scikit_learn() -> None:
    logits, targets = draw(5, 4, 5, 40)
    targets[targets == 4] = 0
    logits[:2, 3] = -100.0
    answers = ClassAnswers(logits, targets)
    for name in ("accuracy", "balanced_accuracy", "f1"):
        with pytest.warns(UserWarning, match="classes not in y_true") if name == "balanced_accuracy" else nullcontext():
            expected = [OF_CLASSES[name](targets, row) for row in logits]
        assert answers.measure(name) == pytest.approx(expected), name


@pytest.mark.parametrize("name", OF_NUMBERS)
@pytest.mark.parametrize("size", [1, 3])
def test_metrics_of_numbers_are_those_of_scikit_learn(name: str, size: int) -> None:
    for seed in range(12):
        generator = np.random.Generator(np.random.Philox(seed))
        targets = generator.normal(size=(50, size)).astype(np.float32) * [1.0, 10.0, 0.1][:size]
        outputs = (targets.T + generator.normal(size=(3, size, 50))).astype(np.float32)
        found = NumberAnswers(outputs, targets, np.ones(size), np.zeros(3)).measure(name)
        for row in range(3):
            assert found[row] == pytest.approx(OF_NUMBERS[name](targets, outputs[row].T), rel=1e-9), (name, seed)


def test_r2_of_a_constant_is_one_where_it_is_met_and_else_zero() -> None:
    outputs = np.array([[[2.0, 2.0]], [[2.0, 3.0]]], dtype=np.float32)
    found = NumberAnswers(outputs, np.full((2, 1), 2.0), np.ones(1), np.zeros(3))
    assert found.measure("r2").tolist() == [1.0, 0.0]


def test_a_skill_is_the_accuracy_within_a_class_and_nan_without_rows() -> None:
    logits = np.array([[[3, 0, 0, 3], [0, 3, 3, 0], [0, 0, 0, 0]]], dtype=np.float32)
    answers = ClassAnswers(logits, np.array([0, 1, 0, 0]))
    assert answers.skills[0, 0] == pytest.approx(2 / 3)
    assert answers.skills[0, 1] == 1.0
    assert np.isnan(answers.skills[0, 2])
    assert answers.merits.tolist() == [[1.0, 1.0, 0.0, 1.0]]


def test_the_skills_of_a_number_are_its_quarters() -> None:
    targets = np.arange(8, dtype=np.float32)[:, None]
    outputs = targets.T[None] + np.array([0, 0, 1, 1, 0, 0, 2, 2], dtype=np.float32)
    answers = NumberAnswers(outputs, targets, np.array([2.0]), np.array([2.0, 4.0, 6.0]))
    assert answers.skills.tolist() == [[1.0, 0.5, 1.0, -1.0]]
    assert answers.merits.tolist() == [[0.0, 0.0, -0.5, -0.5, 0.0, 0.0, -2.0, -2.0]]


def test_huge_logits_do_not_overflow() -> None:
    logits = np.array([[[3e38], [-3e38]]], dtype=np.float32)
    assert ClassAnswers(logits, np.array([0])).measure("cross_entropy")[0] == 0.0
    assert np.isfinite(ClassAnswers(logits, np.array([1])).measure("cross_entropy")[0])


def test_equal_logits_count_for_the_first_class_only() -> None:
    assert ClassAnswers(np.zeros((1, 3, 3)), np.array([0, 1, 2])).merits.tolist() == [[1.0, 0.0, 0.0]]


def test_rows_and_targets_must_match() -> None:
    with pytest.raises(ValueError, match="as many targets"):
        ClassAnswers(np.zeros((1, 2, 3)), np.zeros(2, dtype=np.int64))


def test_several_targets_add_up_to_one_loss() -> None:
    generator = np.random.Generator(np.random.Philox(4))
    rows = generator.normal(size=(400, 2)).astype(np.float32)
    kinds = generator.integers(0, 3, 400)
    targets = [
        Target("kind", "classes", kinds, weight=2.0, class_weights=(1.0, 2.0, 3.0)),
        Target("place", "numbers", rows * [1.0, 5.0], loss="absolute", weight=0.25),
    ]
    benchmark = Benchmark.from_arrays({"x": rows}, targets, objectives=["loss", "kind.accuracy", "place.r2", "flops"])
    values = benchmark.targets_of("validation")
    outputs = generator.normal(size=(2, 5, len(values[0]))).astype(np.float32)
    found = measure(outputs, values, benchmark)
    deviation = benchmark.targets_of("train")[1].astype(np.float64).std(axis=0)
    for row in range(2):
        entropy = -np.log(_softmax(outputs[row, :3])[np.arange(len(values[0])), values[0]])
        weighted = (entropy * np.array([1.0, 2.0, 3.0])[values[0]]).mean()
        absolute = np.abs((outputs[row, 3:].T - values[1]) / deviation).mean()
        assert found.scores["loss"][row] == pytest.approx(2.0 * weighted + 0.25 * absolute, rel=1e-6)
        assert found.scores["kind.accuracy"][row] == theirs.accuracy_score(values[0], outputs[row, :3].argmax(axis=0))
        assert found.scores["place.r2"][row] == pytest.approx(theirs.r2_score(values[1], outputs[row, 3:].T))
    assert set(found.scores) == {"loss", "kind.accuracy", "place.r2"}
    assert found.merits.shape == (2, len(values[0]))
