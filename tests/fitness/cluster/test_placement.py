from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fitness.cluster.placement import place

NODES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 4))


@given(st.integers(0, 12), NODES, st.lists(st.sampled_from("abcdef"), max_size=8), st.sets(st.sampled_from("abcdef")))
def test_as_many_workers_as_wanted_and_no_more_than_nodes_have_cpus(
    wanted: int, cpus: dict[str, int], seated: list[str], refused: set[str]
) -> None:
    chosen = place(wanted, cpus, seated, refused)
    room = sum(max(num - seated.count(node), 0) for node, num in cpus.items() if node not in refused)
    assert len(chosen) == min(max(wanted - len(seated), 0), room)
    counts = Counter(seated)
    for node in chosen:
        assert node not in refused
        counts[node] += 1
        assert counts[node] <= cpus[node]


def test_workers_spread_over_nodes_and_avoid_those_that_failed() -> None:
    assert sorted(place(2, {"a": 2, "b": 2}, [])) == ["a", "b"]
    assert place(2, {"a": 1, "b": 4}, ["a"]) == ["b"]
    assert place(1, {"a": 1, "b": 1}, [], failures={"a": 1}) == ["b"]
