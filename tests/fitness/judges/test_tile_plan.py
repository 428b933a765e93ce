from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.judges.tile_plan import DEFAULT_PLANS, KernelPlan, PlanRow, PlanTable, num_values
from population.errors import ConfigError
from tests.fitness.toys import toy_graph


def test_a_small_graph_gets_the_largest_tile() -> None:
    assert DEFAULT_PLANS.plan_for(toy_graph()) == KernelPlan(128, 128)


def test_values_are_counted_at_full_width() -> None:
    assert num_values(toy_graph()) == 4 + 16 + 16 + 3


def test_a_graph_beyond_the_table_gets_the_smallest_tile() -> None:
    table = PlanTable((PlanRow(10, 10, KernelPlan(8, 16)),), KernelPlan(1, 16))
    assert table.plan_for(toy_graph()) == KernelPlan(1, 16)


def test_the_table_survives_its_value() -> None:
    assert PlanTable.from_value(DEFAULT_PLANS.to_value()) == DEFAULT_PLANS


@given(num=st.integers(1, 10_000), steps=st.integers(1, 40))
def test_samples_are_padded_to_whole_tiles(num: int, steps: int) -> None:
    plan = KernelPlan(1, 16 * steps)
    assert plan.padded(num) % plan.samples == 0
    assert 0 <= plan.padded(num) - num < plan.samples


@pytest.mark.parametrize(("candidates", "samples"), [(0, 16), (1, 0), (1, 8), (1, 24)])
def test_tiles_that_cannot_be_are_refused(candidates: int, samples: int) -> None:
    with pytest.raises(ConfigError):
        KernelPlan(candidates, samples)
