from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evolve.home.home import Home
from evolve.reports.html.ancestry import MAX_SHOWN
from evolve.reports.html.page import make_report
from population.clock import ManualClock
from population.files.local_files import LocalFiles
from population.lineage import Commit, LineageWriter
from tests.evolve.reports.html.lineages import HOSTILE, many, named, parents_of
from tests.evolve.reports.html.pages import page_of
from tests.population.lineage.lineage_samples import identity

MIB = 1 << 20


def test_names_from_a_lineage_are_text_whatever_they_say(tmp_path: Path) -> None:
    """The oracle is the page of the same campaign with a name of good faith: element by element the same."""
    hostile, harmless = (
        make_report(named(tmp_path / kind, text), "tiny", ManualClock()).html
        for kind, text in (("hostile", HOSTILE), ("harmless", "harmless"))
    )
    found, expected = page_of(hostile), page_of(harmless)
    assert found.tags == expected.tags
    assert found.ids == expected.ids
    assert found.links == expected.links
    assert [step["operator"] for step in found.walk()] == [
        step["operator"].replace("harmless", HOSTILE) for step in expected.walk()
    ]
    assert HOSTILE in found.text
    assert b"alert(1)</script>" not in hostile
    assert b"<img" not in hostile


def test_a_character_that_has_no_place_in_utf_8_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evolve.reports.html.page.advice", lambda *_: ["a lone \ud800 surrogate"])
    html = make_report(named(tmp_path, "harmless"), "tiny").html
    assert "a lone ? surrogate" in page_of(html).text


def test_a_long_pedigree_is_bounded_and_says_what_was_left_out(tmp_path: Path) -> None:
    home = many(tmp_path, 3000, 500)
    made = make_report(home, "tiny")
    walk = page_of(made.html).walk()
    assert len(walk) == made.num_shown == MAX_SHOWN
    events = {identity(event): event for event in range(3000)}
    reached, waiting = set(), [walk[0]["id"]]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += parents_of(events[name])
    front = {row[-1] for row in page_of(made.html).table("front-table")}
    assert front & {step["short"] for step in walk}
    assert made.num_left_out >= len(reached) - MAX_SHOWN > 0
    assert f"{made.num_left_out:,} are left out" in page_of(made.html).text
    for step in walk:
        assert [parent for _, parent, _ in step["parents"]] == [name[:12] for name in parents_of(events[step["id"]])]
        assert all(walk[index]["short"] == parent for index, parent, _ in step["parents"] if index is not None)


def test_everyone_stands_below_all_of_their_children(tmp_path: Path) -> None:
    from contextlib import closing

    from evolve.reports.html.ancestry import ancestry_of
    from evolve.reports.html.evidence import Evidence

    home = many(tmp_path, 1000, 500)
    with closing(home.connect()) as connection:
        found = ancestry_of(Evidence(connection, "tiny", "accuracy"), identity(999), [identity(998)])
    assert found.kinsmen[0].individual == identity(999)
    for kin in found.kinsmen:
        assert all(found.kinsmen[index].y > kin.y for index, _, _ in kin.parents if index is not None)
    places = [(kin.x, kin.y) for kin in found.kinsmen]
    assert len(set(places)) == len(places)
    assert all(0 < x < found.width and 0 < y < found.height for x, y in places)


def test_a_failed_campaign_says_why_and_what_to_do(tmp_path: Path) -> None:
    home = many(tmp_path, 500, 500)
    with LineageWriter(LocalFiles(), home.root, "tiny", ManualClock()) as writer:
        marked = {"event": "marked", "state": "failed", "reason": "every worker <died>"}
        writer.commit(Commit(writer.next_step, (), (marked,), {"campaigns": [{"campaign": "tiny", "state": "failed"}]}))
    page = page_of(make_report(home, "tiny").html)
    assert page.headings[0] == ("h1", "tiny failed")
    assert "tiny failed: every worker <died>; look at evolve quarantine list tiny" in page.text
    assert "go on with it: evolve resume tiny" in page.text
    assert page.table("quarantine") == [
        ["timeout", f"{sum(event % 7 == 3 for event in range(500))}", "after 2.0 s: é€𝄞"]
    ]


def test_a_page_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    home = named(tmp_path, "harmless")
    pages = {make_report(Home.open(home.root), "tiny", ManualClock()).html for _ in range(2)}
    assert len(pages) == 1


@pytest.mark.slow
def test_a_hundred_thousand_individuals_make_a_small_page_in_seconds(
    tmp_path: Path, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    home = many(tmp_path, scaled(100_000))
    began = time.monotonic()
    made = make_report(home, "tiny")
    took = time.monotonic() - began
    told(
        f"{len(made.html) / MIB:.2f} MiB in {took:.1f} s, {made.num_shown} of {made.num_shown + made.num_left_out} shown"
    )
    assert len(made.html) < 2 * MIB
    assert took < 60
