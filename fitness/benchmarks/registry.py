"""Named benchmarks: one function and one registration each, also from other packages.

Another package registers a loader under the entry point group ``evolve.benchmarks``; the name of the entry point is the
name of the benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from fitness.benchmarks.benchmark import Benchmark
from fitness.benchmarks.token_order import which_comes_first
from fitness.measures.splits import DEFAULT_SHARES
from population.errors import BenchmarkError
from population.registry import Registry

ENTRY_POINT_GROUP = "evolve.benchmarks"


class Loader(Protocol):
    """Makes a benchmark that measures these objectives, or the usual ones of its targets.

    Must return equal data on every call: campaigns are keyed by its digest.
    """

    def __call__(self, *, objectives: Sequence[str] | None, split_seed: int) -> Benchmark: ...


_loaders: Registry[Loader] = Registry(
    "benchmark", ENTRY_POINT_GROUP, offers_members=True, error=BenchmarkError, verb="named"
)


def register(name: str) -> Callable[[Loader], Loader]:
    """Returns a decorator that makes a loader known under a name."""

    def add(loader: Loader) -> Loader:
        if name in _loaders.members:
            raise BenchmarkError(f"a benchmark named {name!r} is registered already; choose another name")
        return _loaders.add(name, loader)

    return add


def names() -> tuple[str, ...]:
    """Returns the names of all benchmarks, sorted."""
    return _loaders.names()


def load(
    name: str,
    *,
    objectives: Sequence[str] | None = None,
    split_seed: int = 0,
    shares: tuple[float, float, float] = DEFAULT_SHARES,
) -> Benchmark:
    """Returns a benchmark by its name.

    Raises:
        BenchmarkError: no benchmark has this name.
    """
    loader = _loaders.get(name)
    return replace(loader(objectives=objectives, split_seed=split_seed), name=name, shares=shares)


@register("digits")
def digits(*, objectives: Sequence[str] | None, split_seed: int) -> Benchmark:
    """Returns scikit-learn's 1,797 handwritten digits as channel "image" ``[1, 8, 8]``, float32 from 0 to 16.

    Source: Alpaydin and Kaynak 1998, https://archive.ics.uci.edu/dataset/80 (the test part, shipped with scikit-learn).
    """
    from sklearn.datasets import load_digits  # heavy: only where it is needed

    bunch = load_digits()
    images = np.asarray(bunch.images, dtype=np.float32)[:, None]  # [R, 1, 8, 8]
    return Benchmark.from_arrays(
        {"image": images}, np.asarray(bunch.target), objectives=objectives, split_seed=split_seed
    )


@register("nothing")
def nothing(*, objectives: Sequence[str] | None, split_seed: int) -> Benchmark:
    """Returns a benchmark without meaning, for searches whose fitness function takes stacks and no data."""
    places = np.arange(64)
    return Benchmark.from_arrays({"nothing": places[:, None]}, places % 2, objectives=objectives, split_seed=split_seed)


@register("token_order")
def token_order(*, objectives: Sequence[str] | None, split_seed: int) -> Benchmark:
    """Returns 3,600 generated sequences as channel "tokens" int64 ``[12]`` (0 is padding); the answer is which of the
    tokens 1, 2 and 3 comes first, which no count of tokens tells: see `fitness.benchmarks.token_order`.
    """
    tokens, answers = which_comes_first()
    return Benchmark.from_arrays(
        {"tokens": tokens},
        answers,
        skills=("token 1 first", "token 2 first", "token 3 first"),
        objectives=objectives,
        split_seed=split_seed,
    )
