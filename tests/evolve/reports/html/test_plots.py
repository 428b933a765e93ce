from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.reports.html import plots

SPANS = st.tuples(
    st.floats(-1e15, 1e15, allow_nan=False), st.floats(0, 1e15, allow_nan=False), st.booleans()
)  # fmt: skip


@given(SPANS)
def test_ticks_lie_on_the_axis_and_there_are_few_of_them(span: tuple[float, float, bool]) -> None:
    low, width, is_log = span
    low = max(abs(low), 1e-6) if is_log else low
    axis = plots.across(low, low + width, is_log=is_log)
    ticks = axis.ticks
    assert len(ticks) <= 8
    assert all(axis.begin - 0.1 <= at <= axis.end + 0.1 for at, _ in ticks)
    assert [at for at, _ in ticks] == sorted(at for at, _ in ticks)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.95, 0.99, ["0.95", "0.96", "0.97", "0.98", "0.99"]),
        (32_074, 180_298, ["50 k", "100 k", "150 k"]),
        (1, 12, ["2", "4", "6", "8", "10", "12"]),
    ],
)
def test_ticks_are_round(low: float, high: float, labels: list[str]) -> None:
    assert [text for _, text in plots.across(low, high).ticks] == labels


def test_generations_are_whole() -> None:
    assert [text for _, text in plots.across(1, 3, is_whole=True).ticks] == ["1", "2", "3"]
    assert [text for _, text in plots.across(1, 1, is_whole=True).ticks] == ["1"]


def test_places_in_sql_are_those_on_paper() -> None:
    import duckdb

    for axis in (plots.across(3.0, 5000.0, is_log=True), plots.upwards(-4.5, 0.25)):
        for value in (axis.low, axis.high, math.sqrt(abs(axis.low * axis.high)) * (1 if axis.is_log else -1)):
            ((found,),) = duckdb.sql(f"SELECT {axis.sql('v')} FROM (SELECT {value!r}::DOUBLE AS v)").limit(1).fetchall()
            assert found == pytest.approx(axis.place(value), abs=0.051)


def test_an_axis_begins_where_it_gets_interesting_only_where_little_lies_far_below() -> None:
    assert plots.begin_of_interest([0.1, 0.93, 0.99], 0.93) == 0.93
    assert plots.begin_of_interest([0.5, 0.6, 0.99], 0.6) == 0.5
