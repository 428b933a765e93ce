"""Bounds of a query that are none are refused before anything is started."""

from __future__ import annotations

import math

import pytest

from population.errors import InputError
from population.lineage.sql.limits import QueryLimits


@pytest.mark.parametrize("timeout_s", [math.nan, math.inf, -math.inf, 0.0, -1.0, 1e308])
def test_a_time_that_never_comes_is_no_limit(timeout_s: float) -> None:
    with pytest.raises(InputError, match="timeout"):
        QueryLimits(timeout_s=timeout_s)


@pytest.mark.parametrize("rows", [-1, 2**64, 10**400])
def test_rows_that_nobody_counts_are_no_limit(rows: int) -> None:
    with pytest.raises(InputError, match="rows"):
        QueryLimits(rows=rows)


@pytest.mark.parametrize("memory", ["9" * 400, "0", "0.1B", "1e3", "x", "", "2000TiB"])
def test_memory_that_no_machine_has_is_no_limit(memory: str) -> None:
    """Four hundred digits ended with exit code 70."""
    with pytest.raises(InputError, match="memory"):
        QueryLimits(memory=memory).memory_bytes  # noqa: B018 -- raises where it is no size
