from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitness.benchmarks.benchmark import Benchmark
from fitness.measures.metrics import objective_of
from fitness.measures.splits import SPLITS
from fitness.measures.targets import Target
from population.errors import BenchmarkError


def make(num_rows: int = 120, **keywords: object) -> Benchmark:
    rows = np.arange(num_rows * 3, dtype=np.float64).reshape(num_rows, 3)
    return Benchmark.from_arrays({"x": rows}, np.arange(num_rows) % 4, **keywords)  # type: ignore[arg-type]


def test_the_splits_share_out_every_row_once() -> None:
    benchmark = make()
    rows = np.concatenate([benchmark.rows(split) for split in SPLITS])
    assert sorted(rows.tolist()) == list(range(120))


def test_shares_are_reached_about() -> None:
    benchmark = make(4000)
    assert [round(len(benchmark.rows(split)) / 4000, 1) for split in SPLITS] == [0.6, 0.2, 0.2]


@given(split_seed=st.integers(0, 2**32), copies=st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_duplicates_fall_on_one_side(split_seed: int, copies: int) -> None:
    once = np.arange(60, dtype=np.float32)[:, None]
    benchmark = Benchmark.from_arrays(
        {"x": np.concatenate([once] * copies)}, np.arange(60 * copies) % 3, split_seed=split_seed
    )
    for split in SPLITS:
        rows = benchmark.rows(split)
        counts = np.bincount(rows % 60, minlength=60)
        assert set(counts.tolist()) <= {0, copies}


def test_negative_zero_and_zero_are_the_same_row() -> None:
    rows = np.arange(100, dtype=np.float32)[:, None].repeat(2, axis=1)
    rows[:, 1] = 0.0
    other = rows.copy()
    other[:, 1] = -0.0
    targets = np.arange(100) % 2
    assert Benchmark.from_arrays(rows, targets).digest("train") == Benchmark.from_arrays(other, targets).digest("train")


@given(seed=st.integers(0, 2**40))
@settings(max_examples=20, deadline=None)
def test_relabelling_moves_no_row(seed: int) -> None:
    benchmark = make()
    shuffled = benchmark.with_shuffled_labels(seed)
    for split in SPLITS:
        assert np.array_equal(benchmark.rows(split), shuffled.rows(split))
    assert sorted(shuffled.targets[0].values.tolist()) == sorted(benchmark.targets[0].values.tolist())


def test_shuffled_labels_are_others_and_the_same_for_the_same_seed() -> None:
    benchmark = make()
    first, again, other = (benchmark.with_shuffled_labels(seed).targets[0].values for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, benchmark.targets[0].values)


def test_the_order_of_rows_does_not_decide_a_rows_side() -> None:
    rows = np.arange(200, dtype=np.float32)[:, None]
    forward = Benchmark.from_arrays(rows, np.arange(200) % 2)
    backward = Benchmark.from_arrays(rows[::-1], np.arange(200) % 2)
    assert set(forward.inputs_of("heldout")["input"].ravel()) == set(backward.inputs_of("heldout")["input"].ravel())


def test_another_split_seed_gives_another_split_and_the_same_data() -> None:
    first, second = make(), make(split_seed=1)
    assert not np.array_equal(first.rows("train"), second.rows("train"))
    assert first.digest_of_data == second.digest_of_data


def test_a_digest_covers_inputs_and_targets() -> None:
    benchmark = make()
    targets = benchmark.targets[0].values.copy()
    targets[benchmark.rows("train")[0]] += 1
    relabelled = Benchmark.from_arrays(dict(benchmark.inputs), targets % 4)
    assert benchmark.digest("train") != relabelled.digest("train")
    assert benchmark.digest("heldout") == relabelled.digest("heldout")
    assert len(benchmark.digest("train")) == 32


def test_parts_make_an_equal_benchmark() -> None:
    benchmark = make(split_seed=3, objectives=("flops", "accuracy"))
    value, parts = benchmark.to_parts()
    found = Benchmark.from_parts(value, parts)
    assert found.digest_of_data == benchmark.digest_of_data
    assert found.objectives == benchmark.objectives
    assert all(np.array_equal(found.rows(split), benchmark.rows(split)) for split in SPLITS)


def test_arrays_cannot_be_changed_from_outside() -> None:
    rows = np.arange(120.0).reshape(40, 3)
    benchmark = Benchmark.from_arrays({"x": rows}, np.arange(40) % 2)
    rows[:] = 0.0
    assert benchmark.inputs["x"].max() == 119.0
    with pytest.raises(ValueError, match="read-only"):
        benchmark.inputs["x"][0] = 1.0


def test_signed_values_are_larger_where_better() -> None:
    accuracy, flops = objective_of("accuracy"), objective_of("flops")
    assert accuracy is not None
    assert flops is not None
    assert accuracy.signed(0.9) > accuracy.signed(0.8)
    assert flops.signed(10.0) > flops.signed(20.0)
    assert flops.signed(flops.signed(7.0)) == 7.0


def test_numbers_are_measured_as_numbers() -> None:
    rows = np.arange(200.0)[:, None]
    benchmark = Benchmark.from_arrays({"x": rows}, 3.0 * np.arange(200.0))
    assert [objective.name for objective in benchmark.objectives] == ["r2", "rmse", "flops", "bytes"]
    assert benchmark.skills == ("lowest", "lower", "higher", "highest")
    assert (benchmark.principal, benchmark.num_outputs, benchmark.targets[0].name) == ("r2", 1, "prediction")
    train = benchmark.targets_of("train")[0]
    assert benchmark.scales[0].deviation == pytest.approx(train.astype(np.float64).std(axis=0))


def two_targets() -> Benchmark:
    rows = np.random.Generator(np.random.Philox(2)).normal(size=(200, 3))
    digit = Target("digit", "classes", np.arange(200) % 3, class_weights="balanced")
    place = Target("place", "numbers", rows[:, :2].astype(np.float32), loss="huber", weight=0.5)
    return Benchmark.from_arrays({"x": rows}, [digit, place])


def test_several_targets_have_objectives_and_skills_of_their_own() -> None:
    benchmark = two_targets()
    names = [objective.name for objective in benchmark.objectives]
    assert names == ["loss", "digit.accuracy", "digit.cross_entropy", "place.r2", "place.rmse", "flops", "bytes"]
    assert benchmark.skills == ("digit.0", "digit.1", "digit.2", "place.0", "place.1")
    assert benchmark.num_outputs == 5
    assert benchmark.measuring(["place.mae", "flops"]).objectives[-1].name == "place.mae"
    assert benchmark.channels_of(["place", "other", "digit"]) == ("digit", "place")
    with pytest.raises(BenchmarkError, match="digit, place"):
        benchmark.channels_of(["digit"])
    found = Benchmark.from_parts(*benchmark.to_parts())
    assert found.digest_of_data == benchmark.digest_of_data
    assert [target.header for target in found.targets] == [target.header for target in benchmark.targets]


def test_a_digest_covers_what_training_makes_of_a_target() -> None:
    rows = np.random.Generator(np.random.Philox(2)).normal(size=(200, 3))
    plain, weighted = (
        Benchmark.from_arrays({"x": rows}, Target("logits", "classes", np.arange(200) % 3, class_weights=weights))
        for weights in ((), "balanced")
    )
    assert plain.digest_of_data == Benchmark.from_arrays({"x": rows}, np.arange(200) % 3).digest_of_data
    assert plain.digest_of_data != weighted.digest_of_data


WRONG = {
    "rows of inputs and targets differ": ({"x": np.zeros((5, 2))}, np.arange(4), {}, "5, 2.*4 rows"),
    "NaN": ({"x": np.array([[0.0], [np.nan], [1.0]])}, np.arange(3), {}, "NaN.*row 1"),
    "beyond float32": ({"x": np.array([[0.0], [1e300], [1.0]])}, np.arange(3), {}, "beyond float32"),
    "text": ({"x": np.array([["a"], ["b"]])}, np.arange(2), {}, "numbers"),
    "targets of text": ({"x": np.zeros((4, 1))}, np.array(list("abcd")), {}, "integers"),
    "targets that are not finite": ({"x": np.zeros((3, 1))}, np.array([0.0, np.inf, 1.0]), {}, "infinity.*row 1"),
    "one value": ({"x": np.arange(90.0)[:, None]}, np.ones(90), {}, "one value"),
    "a metric of numbers": ({"x": np.zeros((4, 1))}, np.arange(4), {"objectives": ("r2",)}, "r2"),
    "the same channel twice": (
        {"x": np.zeros((4, 1))},
        [Target("a", "classes", np.arange(4)), Target("a", "classes", np.arange(4))],
        {},
        "same",
    ),
    "targets of different lengths": (
        {"x": np.zeros((4, 1))},
        [Target("a", "classes", np.arange(4)), Target("b", "classes", np.arange(5))],
        {},
        "4, 5",
    ),
    "targets below zero": ({"x": np.zeros((4, 1))}, np.arange(4) - 1, {}, "from 0"),
    "targets in two axes": ({"x": np.zeros((4, 1))}, np.zeros((4, 2), dtype=int), {}, "shape"),
    "one class": ({"x": np.arange(90.0)[:, None]}, np.zeros(90, dtype=int), {}, "one class"),
    "no rows": ({"x": np.zeros((0, 1))}, np.zeros(0, dtype=int), {}, "R > 0"),
    "an empty split": ({"x": np.zeros((50, 1))}, np.arange(50) % 2, {}, "has no rows"),
    "shares": ({"x": np.zeros((4, 1))}, np.arange(4), {"shares": (0.5, 0.5, 0.5)}, "sum to 1"),
    "an unknown objective": ({"x": np.zeros((4, 1))}, np.arange(4), {"objectives": ("speed",)}, "speed"),
    "too few names": ({"x": np.arange(90.0)[:, None]}, np.arange(90) % 3, {"skills": ("a", "b")}, "skills"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_data_is_refused_with_a_reason(case: str) -> None:
    inputs, targets, keywords, message = WRONG[case]
    with pytest.raises(BenchmarkError, match=message):
        Benchmark.from_arrays(inputs, targets, **keywords)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="test"):
        make().rows("test")
    with pytest.raises(BenchmarkError, match="test"):
        make().digest("test")


def test_training_rows_alone_are_what_operators_may_learn_from() -> None:
    generator = np.random.Generator(np.random.Philox(3))
    whole = Benchmark.from_arrays({"x": generator.normal(size=(200, 3))}, np.arange(200) % 3)
    training = whole.training_only()
    assert training.inputs_of("train")["x"].tobytes() == whole.inputs_of("train")["x"].tobytes()
    assert training.targets_of("train")[0].tobytes() == whole.targets_of("train")[0].tobytes()
    assert training.num_rows == len(whole.rows("train"))
    assert [training.digest(split) for split in SPLITS] == [whole.digest(split) for split in SPLITS]
    for split in ("validation", "heldout"):
        with pytest.raises(BenchmarkError, match="training rows only"):
            training.rows(split)
    again = Benchmark.from_parts(*training.to_parts())
    assert again.digest("heldout") == whole.digest("heldout")
    assert again.inputs_of("train")["x"].tobytes() == training.inputs_of("train")["x"].tobytes()
    assert training.training_only() is training
