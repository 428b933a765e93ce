"""Laws and goldens of recipes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.recipes.recipe import Recipe, canonical_settings, individual_id
from population.errors import FormatError

ids = st.binary(min_size=16, max_size=16).map(bytes.hex)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
recipes = st.builds(
    Recipe,
    operator=st.sampled_from(["init@1", "gaussian@1", "mean@1"]),
    parents=st.lists(ids, max_size=4).map(tuple),
    inputs=st.lists(digests, max_size=2).map(tuple),
    seed=st.integers(0, 2**64 - 1),
    settings=st.dictionaries(st.sampled_from(["rate", "low"]), st.floats(0, 1)).map(canonical_settings),
)


@given(recipes)
def test_decoding_gives_back_what_was_encoded(recipe: Recipe) -> None:
    assert Recipe.decode(recipe.encode()) == recipe


@given(recipes, recipes)
def test_recipes_have_equal_digests_exactly_when_they_are_equal(first: Recipe, second: Recipe) -> None:
    assert (first.digest == second.digest) == (first == second)


@given(recipes, st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_names_another_recipe(recipe: Recipe, place: int, byte: int) -> None:
    data = bytearray(recipe.encode())
    data[place % len(data)] = byte
    try:
        read = Recipe.decode(bytes(data))
    except FormatError:
        return
    assert (read == recipe) == (bytes(data) == recipe.encode())


def test_the_bytes_of_a_recipe_are_pinned() -> None:
    recipe = Recipe("gaussian@1", ("00" * 16,), (), 7, canonical_settings({"rate": 0.02}))
    assert recipe.encode().hex() == (
        "86016a676175737369616e40318150" + "00" * 16 + "8048" + "0000000000000007" + "6d7b2272617465223a302e30327d"
    )


def test_settings_text_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_settings({"b": 1, "a": 0.1}) == canonical_settings({"a": 0.1, "b": 1}) == '{"a":0.1,"b":1}'


def test_settings_refuse_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_settings({"rate": float("nan")})


def test_an_individual_is_named_by_campaign_and_event() -> None:
    assert individual_id(b"k" * 32, 1) != individual_id(b"k" * 32, 2)
    assert individual_id(b"k" * 32, 1) != individual_id(b"l" * 32, 1)
    assert len(individual_id(b"k" * 32, 1)) == 32
