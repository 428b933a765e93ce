from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitness.measure import measure_classes


def draw(seed: int, num_candidates: int, num_classes: int, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.Generator(np.random.Philox(seed))
    logits = generator.normal(size=(num_candidates, num_classes, num_rows)).astype(np.float32) * 8
    return logits, generator.integers(0, num_classes, size=num_rows)


@given(seed=st.integers(0, 2**32), num=st.integers(1, 9), classes=st.integers(2, 7), rows=st.integers(1, 70))
@settings(max_examples=60, deadline=None)
def test_a_candidates_bits_depend_on_itself_alone(seed: int, num: int, classes: int, rows: int) -> None:
    logits, targets = draw(seed, num, classes, rows)
    together = measure_classes(logits, targets)
    for row in range(num):
        alone = measure_classes(logits[row : row + 1], targets)
        assert alone.accuracy[0] == together.accuracy[row]
        assert alone.cross_entropy[0].tobytes() == together.cross_entropy[row].tobytes()
        assert np.array_equal(alone.skills[0], together.skills[row], equal_nan=True)
        assert np.array_equal(alone.correct[0], together.correct[row])


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_scores_are_those_of_the_formulas(seed: int) -> None:
    logits, targets = draw(seed, 3, 5, 40)
    measured = measure_classes(logits, targets)
    for row in range(3):
        wide = logits[row].astype(np.float64).T
        probabilities = np.exp(wide) / np.exp(wide).sum(axis=1, keepdims=True)
        expected = -np.log(probabilities[np.arange(40), targets]).mean()
        assert measured.cross_entropy[row] == pytest.approx(expected, rel=1e-9)
        assert measured.accuracy[row] == np.mean(wide.argmax(axis=1) == targets)


def test_a_skill_is_the_accuracy_within_a_class_and_nan_without_rows() -> None:
    logits = np.array([[[3, 0, 0, 3], [0, 3, 3, 0], [0, 0, 0, 0]]], dtype=np.float32)
    measured = measure_classes(logits, np.array([0, 1, 0, 0]))
    assert measured.skills[0, 0] == pytest.approx(2 / 3)
    assert measured.skills[0, 1] == 1.0
    assert np.isnan(measured.skills[0, 2])
    assert measured.correct.tolist() == [[True, True, False, True]]


def test_huge_logits_do_not_overflow() -> None:
    logits = np.array([[[3e38], [-3e38]]], dtype=np.float32)
    assert measure_classes(logits, np.array([0])).cross_entropy[0] == 0.0
    assert np.isfinite(measure_classes(logits, np.array([1])).cross_entropy[0])


def test_equal_logits_count_for_the_first_class_only() -> None:
    measured = measure_classes(np.zeros((1, 3, 3), dtype=np.float32), np.array([0, 1, 2]))
    assert measured.correct.tolist() == [[True, False, False]]


def test_rows_and_targets_must_match() -> None:
    with pytest.raises(ValueError, match="as many targets"):
        measure_classes(np.zeros((1, 2, 3), dtype=np.float32), np.zeros(2, dtype=np.int64))
