from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from evolve.reports.pedigree import Book, distances
from evolve.reports.pedigree_text import tree_text
from population.errors import InputError, NotFound

Edges = Sequence[tuple[str, str, str]]


def name(number: int) -> str:
    return f"{number:04x}" * 8


def book_of(parents: Mapping[int, Sequence[int]]) -> Book:
    """A book over views that hold these births and nothing else."""
    connection = duckdb.connect(":memory:")
    connection.execute("CREATE TABLE parents(child TEXT, parent TEXT, role TEXT, position INT)")
    connection.execute(
        "CREATE TABLE individuals(individual TEXT, operator TEXT, generation INT, campaign TEXT, status TEXT, block TEXT, "
        "weights_digest TEXT)"
    )
    connection.execute("CREATE TABLE scores(individual TEXT, objective TEXT, split TEXT, tier TEXT, value DOUBLE)")
    connection.execute("CREATE TABLE campaigns(campaign TEXT, config TEXT)")
    connection.execute("INSERT INTO campaigns VALUES ('c', '{\"objectives\": [\"accuracy\"]}')")
    connection.execute("CREATE TABLE blocks(block TEXT, individual TEXT)")
    connection.execute("CREATE TABLE promotions(block TEXT, individual TEXT, campaign TEXT, decided TIMESTAMP)")
    connection.execute(
        "CREATE TABLE recipes(individual TEXT, operator TEXT, version TEXT, inputs TEXT[], seed UBIGINT, settings TEXT)"
    )
    for child, above in parents.items():
        connection.execute("INSERT INTO individuals VALUES (?, 'op', 0, 'c', 'active', NULL, 'd')", [name(child)])
        connection.execute("INSERT INTO recipes VALUES (?, 'op', '1', ['aa'], 7, '{\"rate\": 0.5}')", [name(child)])
        for position, parent in enumerate(above):
            values = [name(child), name(parent), "parent" if position == 0 else "mate", position]
            connection.execute("INSERT INTO parents VALUES (?, ?, ?, ?)", values)
    return Book(connection)


@st.composite
def histories(draw: st.DrawFn) -> dict[int, list[int]]:
    count = draw(st.integers(1, 12))
    return {child: draw(st.lists(st.integers(0, child - 1), max_size=2)) if child else [] for child in range(count)}


def above(parents: Mapping[int, Sequence[int]], start: int) -> set[int]:
    return set().union(*({parent} | above(parents, parent) for parent in parents[start]))


@given(histories(), st.data())
def test_ancestors_and_descendants_are_the_closure_of_parents(
    parents: dict[int, list[int]], data: st.DataObject
) -> None:
    one = data.draw(st.sampled_from(sorted(parents)))
    book = book_of(parents)
    ancestors = book.relatives(name(one), "ancestors", None)
    assert set(ancestors.relatives) == {name(number) for number in above(parents, one) | {one}}
    assert ancestors.total == len(above(parents, one))
    descendants = book.relatives(name(one), "descendants", None)
    below = {child for child in parents if one in above(parents, child)}
    assert set(descendants.relatives) == {name(number) for number in below | {one}}


@pytest.mark.slow
@given(histories(), st.data())
def test_kin_at_depth_1_share_a_parent(parents: dict[int, list[int]], data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(sorted(parents)))
    tree = book_of(parents).relatives(name(one), "kin", 1)
    siblings = {child for child in parents if set(parents[child]) & set(parents[one])} | set(parents[one]) | {one}
    assert set(tree.relatives) == {name(number) for number in siblings}


@given(histories(), st.data())
def test_a_printed_tree_unfolds_everyone_once(parents: dict[int, list[int]], data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(sorted(parents)))
    tree = book_of(parents).relatives(name(one), "ancestors", None)
    console = Console(width=200, record=True, file=io.StringIO())
    for part in tree_text(tree):
        console.print(part)
    text = console.export_text()
    for number in above(parents, one) | {one}:
        lines = [line for line in text.splitlines() if name(number)[:12] in line]
        assert sum("op" in line.split() for line in lines) == 1


def test_depth_cuts_the_tree_and_the_text_says_how_many_are_left() -> None:
    tree = book_of({0: [], 1: [0], 2: [1], 3: [2]}).relatives(name(3), "ancestors", 1)
    assert set(tree.relatives) == {name(3), name(2)}
    assert tree.total == 3
    assert "3 ancestors, 2 of them further away: --depth 0 prints all" in str(tree_text(tree)[-1])


def test_distance_is_the_least_number_of_births() -> None:
    edges: Edges = [("d", "c", ""), ("c", "b", ""), ("b", "a", ""), ("d", "a", "")]
    assert distances(["d"], edges, is_upwards=True) == {"d": 0, "c": 1, "a": 1, "b": 2}


def test_the_beginning_of_an_id_must_be_unique() -> None:
    book = book_of({0: [], 1: [0], 256: [0]})
    assert book.individual(name(1)[:8]) == name(1)
    with pytest.raises(NotFound, match="no individual"):
        book.individual("ffffffff")
    with pytest.raises(InputError, match="give more of it"):
        book.individual("0")


def test_a_recipe_names_parents_in_the_order_in_which_they_took_part() -> None:
    recipe = book_of({0: [], 1: [], 2: [1, 0]}).recipe(name(2))
    assert recipe["parents"] == [{"parent": name(1), "role": "parent"}, {"parent": name(0), "role": "mate"}]
    assert recipe["settings"] == {"rate": 0.5}
    assert recipe["inputs"] == ["aa"]
