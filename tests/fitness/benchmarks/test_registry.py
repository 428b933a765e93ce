from __future__ import annotations

import numpy as np
import pytest

from fitness.benchmarks import registry as datasets
from population.errors import BenchmarkError


def test_digits_are_one_channel_of_raw_pixels() -> None:
    benchmark = datasets.load("digits")
    image = benchmark.inputs["image"]
    assert image.shape == (1797, 1, 8, 8)
    assert image.dtype == np.float32
    assert (image.min(), image.max()) == (0.0, 16.0)
    assert benchmark.skills == tuple("0123456789")


def test_the_digits_and_their_split_are_pinned() -> None:
    benchmark = datasets.load("digits")
    assert [len(benchmark.rows(split)) for split in ("train", "validation", "heldout")] == [1093, 353, 351]
    assert benchmark.digest_of_data.hex()[:16] == "adb4c55a4955f720"


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(BenchmarkError, match="digits"):
        datasets.load("digit")


def test_a_name_is_taken_once() -> None:
    with pytest.raises(BenchmarkError, match="already"):
        datasets.register("digits")(datasets.digits)


def test_shares_and_objectives_are_passed_on() -> None:
    benchmark = datasets.load("digits", objectives=("accuracy",), shares=(0.8, 0.1, 0.1), split_seed=4)
    assert [objective.name for objective in benchmark.objectives] == ["accuracy"]
    assert len(benchmark.rows("train")) > 1350
