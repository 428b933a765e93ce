from __future__ import annotations

from fitness.benchmarks import registry as datasets
from fitness.benchmarks.baselines import baseline_scores


def test_plain_methods_reach_what_is_known_of_them() -> None:
    found = baseline_scores(datasets.load("digits"))
    assert set(found) == {"logistic_regression", "svc"}
    assert 0.93 < found["logistic_regression"] < found["svc"] < 1.0


def test_on_shuffled_labels_they_stay_at_chance() -> None:
    found = baseline_scores(datasets.load("digits").with_shuffled_labels(1))
    assert max(found.values()) < 0.17
