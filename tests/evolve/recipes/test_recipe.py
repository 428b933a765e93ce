"""Laws of recipes: what a work unit carries and what the lineage keeps are the recipe itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from evolve.recipes.batch import Batch
from evolve.recipes.recipe import Recipe, canonical_settings, individual_id
from evolve.recipes.work_units import MAX_PARENTS, cut_batch
from fitness.work.work_unit import NO_PARENT
from population.lineage.format.records import Births
from tests.population.lineage.lineage_samples import sample_births

recipes = st.builds(
    Recipe,
    operator=st.sampled_from(["init@1", "gaussian@1", "mean@1"]),
    parents=st.lists(st.integers(-3, 60), max_size=MAX_PARENTS).map(tuple),
    roles=st.lists(st.sampled_from(["parent", "centre"]), max_size=2).map(tuple),
    seed=st.integers(0, 2**64 - 1),
    settings=st.dictionaries(st.sampled_from(["rate", "low"]), st.floats(0, 1)).map(canonical_settings),
    inputs=st.lists(st.binary(min_size=32, max_size=32), max_size=2).map(tuple),
)


def _digest(event: int) -> bytes:
    return blake3(str(event).encode()).digest()


@given(st.lists(recipes, min_size=1, max_size=12), st.integers(1, 5))
def test_work_units_carry_recipes_whole(wanted: list[Recipe], tile: int) -> None:
    """Everything but the roles, which no operator reads, comes out of the columns of the units again."""
    digests = {event: _digest(event) for recipe in wanted for event in recipe.parents}
    events = {digest: event for event, digest in digests.items()}
    cuts = cut_batch(Batch(100, tuple(wanted)), [{}] * len(wanted), range(len(wanted)), digests, {}, tile, 0)
    found = {}
    for cut in cuts:
        unit = cut.unit
        for position, row in zip(cut.positions, unit.candidates, strict=True):
            assert row["event"] == 100 + position
            places = [int(place) for place in row["parents"] if place != NO_PARENT]
            inputs = {unit.inputs[bit] for bit in range(len(unit.inputs)) if int(row["inputs"]) >> bit & 1}
            found[position] = (
                unit.operators[int(row["operator"])],
                tuple(events[unit.parents[place]] for place in places),
                int(row["seed"]),
                unit.settings[int(row["settings"])],
                inputs,
            )
    assert found == {
        position: (recipe.operator, recipe.parents, recipe.seed, recipe.settings, set(recipe.inputs))
        for position, recipe in enumerate(wanted)
    }


def births_with(wanted: list[Recipe], name: Callable[[int], str]) -> Births:
    """Returns births that hold these recipes; ``name`` gives the individual of an event."""
    return sample_births(
        0,
        len(wanted),
        operator=tuple(recipe.operator for recipe in wanted),
        seed=np.array([recipe.seed for recipe in wanted], dtype=np.uint64),
        settings=tuple(recipe.settings for recipe in wanted),
        inputs=tuple(tuple(digest.hex() for digest in recipe.inputs) for recipe in wanted),
        parents=tuple(tuple(map(name, recipe.parents)) for recipe in wanted),
        roles=tuple(recipe.roles for recipe in wanted),
    )


@given(st.lists(recipes, min_size=1, max_size=5))
def test_the_lineage_gives_recipes_back(wanted: list[Recipe]) -> None:
    births = births_with(wanted, name=lambda event: individual_id(b"k" * 32, event + 3))
    events = {individual_id(b"k" * 32, event + 3): event for recipe in wanted for event in recipe.parents}
    assert [Recipe.of_birth(births, row, events) for row in range(len(wanted))] == wanted


def test_a_parent_that_is_not_in_the_lineage_is_named() -> None:
    births = births_with([Recipe("mean@1", (1, 2), (), 0, "{}")], name=str)
    with pytest.raises(KeyError, match="2"):
        Recipe.of_birth(births, 0, {"1": 1})


@given(recipes, recipes)
def test_unseeded_recipes_are_equal_where_nothing_but_seed_and_roles_differs(first: Recipe, second: Recipe) -> None:
    same = replace(first, seed=second.seed, roles=second.roles)
    assert same.unseeded == first.unseeded
    parts = [(r.operator, r.parents, r.settings, r.inputs) for r in (first, second)]
    assert (first.unseeded == second.unseeded) == (parts[0] == parts[1])


def test_settings_text_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_settings({"b": 1, "a": 0.1}) == canonical_settings({"a": 0.1, "b": 1}) == '{"a":0.1,"b":1}'


def test_settings_refuse_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_settings({"rate": float("nan")})


def test_an_individual_is_named_by_campaign_and_event() -> None:
    assert individual_id(b"k" * 32, 1) != individual_id(b"k" * 32, 2)
    assert individual_id(b"k" * 32, 1) != individual_id(b"l" * 32, 1)
    assert len(individual_id(b"k" * 32, 1)) == 32
