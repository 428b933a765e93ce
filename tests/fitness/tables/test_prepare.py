from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.benchmarks.benchmark import Benchmark
from fitness.measures.splits import SPLITS
from fitness.tables.fit import fit_scaling
from fitness.tables.kinds import find_kind
from fitness.tables.target import find_target
from population.errors import BenchmarkError, InputError
from population.inputs.cells import MISSING, cells_of

RNG = np.random.default_rng(5)
N = 200


def frame(num_rows=N, seed=5, **more):
    """A small table of every kind of column, with gaps, and two classes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=num_rows)
    made = {
        "size": np.where(rng.random(num_rows) < 0.1, "", [f"{v:.3f}" for v in x]).tolist(),
        "town": rng.choice(["Bern", "Oslo", "Rome", ""], num_rows).tolist(),
        "when": [f"2024-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(num_rows)],
        "new": rng.choice(["yes", "no"], num_rows).tolist(),
        "kind": np.where(x + rng.normal(size=num_rows) / 4 > 0, "a", "b").tolist(),
    }
    return {**made, **more}


def kind(values, wish=None, name="x"):
    return find_kind(name, cells_of(values), frozenset(MISSING), wish)


KINDS = {
    "numbers": (["1", "2.5", "", "3"] * 9, "number", ""),
    "whole": ([1, 2, 5, None] * 9, "number", ""),
    "words among numbers": (["1", "2", "3", "4"] * 20 + ["none yet"], "number", "'none yet' among numbers (row 81)"),
    "decimal comma": (["1,5", "2,25", "3"] * 9, "number", "decimal comma"),
    "mixed": (["1", "2", "x", "y"] * 9, "category", "50% numbers"),
    "truths": (["Yes", "no", ""] * 9, "boolean", ""),
    "dates": (["2024-01-31", "2024-02-01 10:00"] * 9, "date", ""),
    "day first": (["31.01.2024", "01.02.2024"] * 9, "date", ""),
    "which first": (["01/02/2024", "03/04/2024"] * 9, "date", "taken as day first"),
    "categories": (["a", "b", "c"] * 9, "category", ""),
    "one and gaps": (["a", ""] * 9, "category", ""),
    "constant": (["a"] * 9, "dropped", "one value only"),
    "constant number": ([2.0] * 9, "dropped", "one value only"),
    "empty": (["", "NA", None] * 9, "dropped", "holds no value"),
    "numbers of rows": (list(range(7, 40)), "dropped", "numbers the rows"),
    "free text": ([f"text {i}" for i in range(40)], "dropped", "an identifier, or free text"),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_a_column_holds_is_told_from_its_cells(name):
    values, wanted, says = KINDS[name]
    found = kind(values)
    assert found.kind == wanted
    assert says in found.note


def test_a_column_of_different_whole_numbers_is_an_identifier_where_its_name_says_so():
    values = [3 * i + 1 for i in range(40)]
    assert [kind(values, name=name).kind for name in ("user_id", "id", "weight")] == ["dropped", "dropped", "number"]


def test_a_wish_is_granted_where_the_cells_allow_it():
    assert kind([1, 2, 3] * 9, "category").cells.tolist()[:3] == ["1", "2", "3"]
    assert kind(list(range(40)), "number").kind == "number"
    assert kind(["01/13/2024"] * 3 + ["01/14/2024"], "date-mdy").order == "mdy"
    assert kind(["a"], "drop").kind == "dropped"
    with pytest.raises(BenchmarkError, match=r"data\.columns\.x: row 2 is no number: 'b'"):
        kind(["1", "b"], "number")


TARGETS = {
    "text": (["a", "b"] * 10, "auto", "classification", ("a", "b")),
    "truths": ([True, False] * 10, "auto", "classification", ("false", "true")),
    "few whole numbers": ([3, 1, 2] * 10, "auto", "classification", ("1", "2", "3")),
    "two numbers": ([0.5, 1.5] * 10, "auto", "classification", ("0.5", "1.5")),
    "numbers": ([i / 3 for i in range(40)], "auto", "regression", ()),
    "many whole numbers": (list(range(40)), "auto", "regression", ()),
    "as asked": ([3, 1, 2] * 10, "regression", "regression", ()),
    "classes as asked": ([0.5, 1.5, 2.5] * 10, "classification", "classification", ("0.5", "1.5", "2.5")),
}


@pytest.mark.parametrize("name", TARGETS)
def test_the_task_is_told_from_the_target(name):
    values, wish, task, classes = TARGETS[name]
    found = find_target("y", cells_of(values), frozenset(MISSING), wish)
    assert (found.task, found.classes) == (task, classes)
    if classes:
        assert [found.classes[k] for k in found.values] == [str(v).lower() for v in values]


def test_the_scaling_is_of_what_is_there_and_outliers_do_not_hide_the_rest():
    column = np.append(np.linspace(-1, 1, 999), 1e6)
    numbers = np.stack([column, np.where(np.arange(1000) % 2, np.nan, 3.0)], axis=1).astype(np.float32)
    found = fit_scaling(numbers)
    assert found.deviations[0] < 1
    assert found.fills[1] == 3.0
    assert found.deviations[1] == 1.0
    assert found.gaps == (1,)


def test_a_table_becomes_channels_and_a_report():
    made = Benchmark.from_table(frame(), "kind")
    assert made.inputs["numbers"].shape == (N, 5)  # size, when (days, and the year's two), new
    assert made.inputs["categories"].shape == (N, 2)  # the town, and the day of the week
    report = made.preparation.report
    assert [column["kind"] for column in report["columns"]] == ["number", "category", "date", "boolean"]
    assert report["target"]["classes"] == {"a": frame()["kind"].count("a"), "b": frame()["kind"].count("b")}
    assert made.skills == ("a", "b")


def test_what_is_fitted_follows_from_training_rows_alone():
    first = frame()
    made = Benchmark.from_table(first, "kind")
    other = made.rows("heldout")
    changed = {name: list(values) for name, values in first.items()}
    swapped = dict(zip(other.tolist(), other[::-1].tolist(), strict=True))
    for name in ("town", "size", "when", "new", "kind"):
        changed[name] = [first[name][swapped.get(row, row)] for row in range(N)]
    again = Benchmark.from_table(changed, "kind")
    assert again.preparation.decoder == made.preparation.decoder
    assert again.preparation.scaling == made.preparation.scaling


@given(st.permutations(range(40)))
def test_a_row_s_split_follows_from_its_cells_whatever_the_order_and_the_target(order):
    first = frame(40)
    made = Benchmark.from_table(first, "kind")
    side = {row: split for split in SPLITS for row in made.rows(split)}
    names = [*reversed(first)]
    again = Benchmark.from_table({name: [first[name][row] for row in order] for name in names}, "kind")
    for split in SPLITS:
        assert all(side[order[row]] == split for row in again.rows(split))


def test_equal_rows_fall_on_one_side_though_an_identifier_tells_them_apart():
    first = frame(60)
    double = {name: values * 2 for name, values in first.items()}
    double["id"] = [f"row {i}" for i in range(120)]
    made = Benchmark.from_table(double, "kind")
    for split in SPLITS:
        rows = set(made.rows(split).tolist())
        assert {(row + 60) % 120 for row in rows} == rows


def test_rows_without_a_target_are_left_out_and_told():
    first = frame()
    first["kind"] = ["" if row < 7 else value for row, value in enumerate(first["kind"])]
    made = Benchmark.from_table(first, "kind")
    assert made.num_rows == N - 7
    assert "7 rows have no target: left out" in made.preparation.report["notes"]


def test_a_benchmark_of_a_table_crosses_the_wire_with_its_splits():
    made = Benchmark.from_table(frame(), "kind")
    again = Benchmark.from_parts(*made.to_parts())
    for split in SPLITS:
        assert again.digest(split) == made.digest(split)
        np.testing.assert_array_equal(again.rows(split), made.rows(split))
    np.testing.assert_array_equal(made.training_only().inputs["numbers"], made.inputs_of("train")["numbers"])


def leaks(**more):
    return Benchmark.from_table(frame(**more), "kind").preparation.report


def test_a_column_that_is_or_determines_the_target_is_left_out_and_told():
    first = frame()
    found = leaks(twin=["x" if v == "a" else "y" for v in first["kind"]], code=[i % 40 * 2 + (v == "a") for i, v in
                                                                                enumerate(first["kind"])])  # fmt: skip
    kinds = {column["name"]: column["kind"] for column in found["columns"]}
    assert kinds["twin"] == kinds["code"] == "dropped"
    assert any("'twin' is the target under another name: left out" in note for note in found["notes"])
    assert any("'code' determines the target" in note for note in found["notes"])


def test_a_leak_is_kept_where_somebody_says_so():
    first = frame(twin=frame()["kind"])
    made = Benchmark.from_table(first, "kind", columns={"twin": "category"})
    assert {c["name"]: c["kind"] for c in made.preparation.report["columns"]}["twin"] == "category"
    assert any("kept, as asked" in note for note in made.preparation.report["notes"])


def test_a_number_that_tells_the_classes_apart_is_kept_and_told():
    first = frame()
    rng = np.random.default_rng(1)
    found = leaks(score=[float(v == "a") + rng.random() / 2 for v in first["kind"]])
    assert {column["name"]: column["kind"] for column in found["columns"]}["score"] == "number"
    assert any("'score' alone tells the classes apart" in note for note in found["notes"])


BAD = {
    "no such target": ({}, {"target": "knd"}, r"there is no column 'knd'; did you mean 'kind'"),
    "one class": ({"kind": ["a"] * N}, {}, "is 'a' in every row"),
    "no target": ({"kind": [""] * N}, {}, "0 rows with a value in 'kind'"),
    "a class a row": ({"kind": [f"t{i}" for i in range(N)]}, {}, "too many to be classes"),
    "dates": ({"kind": [f"2024-01-{1 + i % 28:02}" for i in range(N)]}, {}, "holds dates"),
    "text as a number": ({}, {"task": "regression"}, r"row 1 .*is no number.*data\.task=classification"),
    "unknown column": (
        {},
        {"columns": {"twn": "drop"}},
        "data.columns.twn: there is no such column; did you mean 'town'",
    ),
    "nothing left": ({}, {"columns": dict.fromkeys(("size", "town", "when", "new"), "drop")}, "nothing is left"),
    "target as a column": ({}, {"columns": {"kind": "number"}}, "it is the target"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_table_that_nobody_can_learn_from_is_refused_with_the_remedy(name):
    changed, settings, says = BAD[name]
    with pytest.raises(BenchmarkError, match=says):
        Benchmark.from_table(frame(**changed), **{"target": "kind", **settings})


@pytest.mark.parametrize("num_rows", [0, 1, 5, 19])
def test_too_few_rows_are_told(num_rows):
    with pytest.raises(InputError, match="at least 20 are needed"):
        Benchmark.from_table({name: values[:num_rows] for name, values in frame().items()}, "kind")


def test_a_column_without_a_value_is_dropped_and_told():
    found = leaks(blank=[""] * N, text=[f"n {i}" for i in range(N)])
    dropped = {column["name"]: column["note"] for column in found["columns"] if column["kind"] == "dropped"}
    assert dropped["blank"] == "holds no value"
    assert "identifier" in dropped["text"]


def test_a_table_of_ten_thousand_columns_is_prepared():
    many = {f"c{i}": RNG.normal(size=60) for i in range(10_000)}
    made = Benchmark.from_table({**many, "y": ["a", "b"] * 30}, "y")
    assert made.inputs["numbers"].shape == (60, 10_000)
    assert len(made.preparation.decoder.encoded) < 1 << 20
