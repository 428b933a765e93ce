from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest

from fitness.benchmarks.arrays import ArraySettings, ArrayTarget, benchmark_of_arrays
from population.errors import BenchmarkError, InputError
from population.inputs.archives import joined, read_npz

ROWS = np.random.Generator(np.random.Philox(3)).normal(size=(90, 4)).astype(np.float32)
ARRAYS = {
    "image": (np.arange(90 * 6) % 251).astype(np.uint8).reshape(90, 1, 2, 3),
    "tokens": np.arange(180).reshape(90, 2),
    "kind": np.array(["cat", "dog", "eel"] * 30),
    "size": ROWS[:, 0].astype(np.float64),
    "place": ROWS[:, :2],
}


def archive_of(arrays: dict[str, np.ndarray]) -> bytes:
    stream = BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def test_several_inputs_and_targets_become_channels() -> None:
    settings = ArraySettings(
        {"kind": ArrayTarget(class_weights="balanced"), "place": ArrayTarget(loss="huber", weight=0.5)},
        inputs=["image", "tokens"],
    )
    benchmark = benchmark_of_arrays(read_npz(archive_of(ARRAYS)), settings)
    assert {name: (array.dtype.name, array.shape[1:]) for name, array in benchmark.inputs.items()} == {
        "image": ("float32", (1, 2, 3)),
        "tokens": ("int64", (2,)),
    }
    kind, place = benchmark.targets
    assert (kind.name, kind.kind, kind.classes, kind.class_weights) == (
        "kind",
        "classes",
        ("cat", "dog", "eel"),
        "balanced",
    )
    assert kind.values.tolist() == [0, 1, 2] * 30
    assert (place.name, place.kind, place.size, place.loss, place.weight) == ("place", "numbers", 2, "huber", 0.5)


def test_a_single_target_answers_the_usual_channel_and_all_else_is_input() -> None:
    arrays = {"size": ARRAYS["size"], "x": ROWS, "flat": ROWS[:, 3]}
    benchmark = benchmark_of_arrays(arrays, ArraySettings({"size": ArrayTarget()}))
    assert [target.name for target in benchmark.targets] == ["prediction"]
    assert {name: array.shape[1:] for name, array in benchmark.inputs.items()} == {"flat": (1,), "x": (4,)}


def test_two_files_are_one_archive_of_equal_bytes() -> None:
    files = [BytesIO(), BytesIO()]
    for file, array in zip(files, (ROWS, np.arange(90) % 3), strict=True):
        np.save(file, array)
    inputs, targets = (file.getvalue() for file in files)
    assert joined(inputs, targets) == joined(inputs, targets)
    benchmark = benchmark_of_arrays(read_npz(joined(inputs, targets)), ArraySettings({"target": ArrayTarget()}))
    assert benchmark.inputs["input"].tolist() == ROWS.tolist()
    assert benchmark.skills == ("0", "1", "2")


WRONG = {
    "a missing array": ({}, {"kinds": ArrayTarget()}, "no array 'kinds'.*image, kind"),
    "text as input": ({"inputs": ["kind"]}, {"size": ArrayTarget()}, "encode text"),
    "both": ({"inputs": ["size"]}, {"size": ArrayTarget()}, "not both"),
    "numbers that may be classes": ({"inputs": ["image"]}, {"many": ArrayTarget()}, "1,500 different.*task"),
    "images as target": ({"inputs": ["place"]}, {"image": ArrayTarget()}, "R, D"),
    "another loss": ({"inputs": ["place"]}, {"kind": ArrayTarget(loss="huber")}, "cross_entropy"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_with_a_reason(case: str) -> None:
    keywords, targets, message = WRONG[case]
    arrays = {**ARRAYS, "many": np.arange(1500)}
    with pytest.raises((InputError, BenchmarkError), match=message):
        benchmark_of_arrays(arrays, ArraySettings(targets, **keywords))


@pytest.mark.parametrize(
    "data", [b"", b"PK", archive_of(ARRAYS)[:500], archive_of({"a": np.array([{}], dtype=object)})]
)
def test_bytes_that_are_no_plain_arrays_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"not readable as \.npz|Python objects"):
        read_npz(data)
