from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

import pytest

from population.errors import BenchmarkError, NotFound
from population.registry import Registry, nearest


class Entry:
    """An entry point that counts how often its code is loaded."""

    def __init__(self, name: str, load: Callable[[], object]) -> None:
        self.name, self._load, self.num_loads = name, load, 0

    def load(self) -> object:
        self.num_loads += 1
        return self._load()


def offering(monkeypatch, *entries):
    monkeypatch.setattr(metadata, "entry_points", lambda group: list(entries) if group == "test.things" else [])


def things(**options):
    found = Registry("thing", "test.things", **options)
    for name in ("apple", "pear"):
        found.add(name, len(name))
    return found


def test_a_member_is_found_by_the_name_it_was_added_under():
    found = things()
    assert (found.get("apple"), found.get("pear")) == (5, 4)
    assert found.names() == ("apple", "pear")


def test_the_same_member_may_be_added_again_and_another_is_refused():
    found = things()
    assert found.add("pear", 4) == 4
    with pytest.raises(ValueError, match=r"^thing 'pear' is registered twice: give the new one another name$"):
        found.add("pear", 7)
    assert found.get("pear") == 4


def test_an_unknown_name_is_told_with_the_nearest_and_all_known_ones(monkeypatch):
    offering(monkeypatch)
    with pytest.raises(NotFound, match=r"^no thing is called 'aple'. Did you mean 'apple'\? Known: apple, pear$"):
        things().get("aple")
    with pytest.raises(NotFound, match=r"^no thing is called 'zzz'. Known: apple, pear$"):
        things().get("zzz")
    with pytest.raises(BenchmarkError, match=r"^no fruit is named 'x'. Known: none$"):
        Registry[int]("fruit", "test.things", error=BenchmarkError, verb="named").get("x")


def test_a_long_name_is_told_by_its_beginning(monkeypatch):
    offering(monkeypatch)
    with pytest.raises(NotFound, match=r"'x{80}'\."):
        things().get("x" * 1000)


def test_packages_are_loaded_at_the_first_unknown_name_and_never_again(monkeypatch):
    found = things()
    entry = Entry("any", lambda: found.add("plum", 9))
    offering(monkeypatch, entry)
    assert (found.get("apple"), found.names(), entry.num_loads) == (5, ("apple", "pear"), 0)
    assert found.get("plum") == 9
    with pytest.raises(NotFound, match="Did you mean 'plum'"):
        found.get("plumm")
    found.load_packages()
    assert entry.num_loads == 1


def test_a_package_that_fails_to_load_is_told_each_time(monkeypatch):
    def fail() -> None:
        raise ImportError("half a package")

    found = things()
    offering(monkeypatch, Entry("any", fail))
    for _ in range(2):
        with pytest.raises(ImportError, match="half a package"):
            found.get("plum")


def test_an_entry_point_that_is_a_member_is_loaded_only_when_it_is_named(monkeypatch):
    plum, fig = Entry("plum", lambda: 9), Entry("fig", lambda: 1)
    offering(monkeypatch, plum, fig)
    found = things(offers_members=True)
    assert found.names() == ("apple", "fig", "pear", "plum")
    assert plum.num_loads == fig.num_loads == 0
    assert (found.get("plum"), found.get("plum")) == (9, 9)
    assert (plum.num_loads, fig.num_loads) == (1, 0)


def test_a_member_of_ours_wins_over_an_entry_point_of_its_name(monkeypatch):
    other = Entry("pear", lambda: 100)
    offering(monkeypatch, other)
    assert (things(offers_members=True).get("pear"), other.num_loads) == (4, 0)


def test_a_name_without_its_version_means_the_newest(monkeypatch):
    offering(monkeypatch)
    found = Registry[str]("thing", "test.things", is_versioned=True)
    for key in ("kite@9", "kite@10", "kites@11"):
        found.add(key, key)
    assert (found.get("kite"), found.get("kite@9"), found.get("kites")) == ("kite@10", "kite@9", "kites@11")
    with pytest.raises(NotFound, match="Did you mean 'kite"):
        found.get("kit")
    with pytest.raises(ValueError, match="give the new one another name or version"):
        found.add("kite@9", "another")


def test_the_nearest_name_is_one_that_comes_near():
    assert nearest("hiden", ["width", "hidden"]) == "hidden"
    assert nearest("hiden", ["width"]) is None
