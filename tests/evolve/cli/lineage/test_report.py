from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from evolve.home.home import Home
from evolve.reports.html.page import REPORT_FILE, make_report
from evolve.reports.html.sections import TIERS
from population.clock import ManualClock
from population.files.local_files import LocalFiles
from population.lineage import LineageWriter
from population.lineage.sql.query import run_query
from tests.evolve.cli.conftest import Done, Program, write_config
from tests.evolve.reports.html.pages import Page, page_of

SECTIONS = ("reached", "progress", "front", "skills", "family", "operators", "tried", "setting")


@pytest.fixture(scope="module")
def page(finished: Done) -> Page:
    return page_of(make_report(Home.open(finished.home), "tiny", ManualClock()).html)


@pytest.fixture(scope="module")
def rows(finished: Done) -> Any:
    reader = Home.open(finished.home).lineage_reader()
    return lambda sql: run_query(reader, sql).to_pylist()


def test_every_section_stands_under_its_heading_and_the_navigation_leads_there(page: Page) -> None:
    assert [section for section in page.ids if section in SECTIONS] == list(SECTIONS)
    assert {f"#{name}" for name in SECTIONS} <= set(page.links)
    assert page.headings[0] == ("h1", "tiny done")
    levels = [int(name[1]) for name, _ in page.headings]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_tiers_are_told_with_the_scores_of_both_splits(page: Page, rows: Any, finished: Done) -> None:
    champion = finished.summary["individual"]
    found = rows(
        f"SELECT tier, split, value, flops FROM scores WHERE individual = '{champion}' AND objective = 'accuracy'"
    )
    scores = {(row["tier"], row["split"]): row["value"] for row in found}
    flops = {row["tier"]: row["flops"] for row in found}
    table = page.table("tiers")
    assert [row[0] for row in table] == [tier for tier in TIERS if tier in flops]
    for name, validation, heldout, cost, *_ in table:
        assert validation == f"{scores[name, 'validation']:.4f}"
        assert heldout == f"{scores[name, 'heldout']:.4f}"
        assert cost == f"{flops[name]:,}"
    assert table[0][-1] == "confidence(logits) > 0.2"


def test_progress_is_that_of_the_generations(page: Page, rows: Any) -> None:
    found = rows("SELECT generation, max(evaluations) AS n, max(best['accuracy']) AS best FROM generations GROUP BY 1")
    expected = {f"{row['generation']:,}": (f"{row['n']:,}", row["best"]) for row in found}
    table = page.table("generations")
    assert len(table) == len(expected)
    for generation, evaluations, _, best, _ in table:
        assert evaluations == expected[generation][0]
        assert float(best) == pytest.approx(expected[generation][1], abs=6e-5)


def test_the_front_is_the_one_that_the_summary_lists(page: Page, finished: Done) -> None:
    expected = [
        (
            f"{p['flops']:,}",
            float(f"{p['accuracy']:.4f}"),
            p["tier"],
            p["operator"].partition("@")[0],
            p["individual"][:12],
        )
        for p in finished.summary["front"]
    ]
    assert [(f, float(v), *rest) for f, v, *rest in page.table("front-table")] == expected


def test_skills_are_told_tier_by_tier(page: Page, rows: Any, finished: Done) -> None:
    found = rows(f"SELECT skill, tier, value FROM skills WHERE individual = '{finished.summary['individual']}'"
                 " AND split = 'heldout'")  # fmt: skip
    expected = {(row["skill"], row["tier"]): f"{row['value']:.3f}" for row in found}
    best = rows(
        "SELECT skill, max(value) AS value FROM skills WHERE split = 'validation' AND tier = 'ultimate' GROUP BY 1"
    )
    table = page.table("skill-table")
    assert [row[0] for row in table] == sorted({skill for skill, _ in expected}, key=int)
    assert {(row[0], "lite"): row[3] for row in table} | {(row[0], "ultimate"): row[4] for row in table} == expected
    assert {row[0]: row[-1] for row in table} == {row["skill"]: f"{row['value']:.3f}" for row in best}


def test_operators_are_told_with_births_gains_and_costs(page: Page, rows: Any, finished: Done) -> None:
    births = {row["operator"]: row["n"] for row in rows("SELECT operator, count(*) AS n FROM individuals GROUP BY 1")}
    lead = "(SELECT individual, value FROM scores WHERE objective = 'accuracy' AND split = 'validation' AND tier = 'ultimate')"
    gains = rows(
        f"SELECT operator, sum(greatest(0, c.value - p.best)) AS gain FROM individuals i JOIN {lead} c USING (individual) "
        f"JOIN (SELECT child, max(value) AS best FROM parents JOIN {lead} ON individual = parent GROUP BY 1) p "
        "ON p.child = i.individual GROUP BY 1"
    )
    told = {row["operator"]: row["gain"] for row in gains}
    costs = {entry["operator"].partition("@")[0]: entry["flops"] for entry in finished.summary["operators"]}
    total = sum(costs.values())
    table = page.table("operator-table")
    assert {row[0]: int(row[1]) for row in table} == births
    for name, _, _, _, _, earned, cost, _ in table:
        assert (earned == "-") == (name not in told)
        assert earned == "-" or float(earned) == pytest.approx(told[name], abs=6e-5)
        assert f"({costs[name] / total:.0%})" in cost


def test_what_was_tried_and_what_became_of_it_is_counted(page: Page, rows: Any, finished: Done) -> None:
    statuses = {
        row["status"]: f"{row['n']:,}" for row in rows("SELECT status, count(*) AS n FROM individuals GROUP BY 1")
    }
    assert dict(page.table("statuses")) == statuses
    assert page.fact("evaluations") == f"{finished.summary['evaluations']:,}"
    assert page.fact("individuals born") == f"{sum(int(n) for n in statuses.values()):,}"
    assert page.fact("population") == finished.summary["population"]
    assert page.fact("lineage") == finished.summary["lineage"]
    assert page.fact("judged at level") == rows("SELECT DISTINCT sandbox_level AS level FROM scores")[0]["level"]
    (row,) = rows("SELECT environment FROM campaigns")
    assert page.fact("versions.torch") == json.loads(row["environment"])["versions"]["torch"]


def test_the_whole_pedigree_of_the_champion_can_be_walked(page: Page, program: Program, finished: Done) -> None:
    tree = json.loads(program("lineage", "tiny", "--depth", "0", "--json", "--home", finished.home).out)
    walk = page.walk()
    assert walk[0]["id"] == tree["individual"]
    by_id = {step["id"]: step for step in walk}
    assert {relative["individual"] for relative in tree["relatives"]} <= set(by_id)
    for edge in tree["edges"]:
        places = [index for index, _, _ in by_id[edge["child"]]["parents"]]
        assert walk.index(by_id[edge["parent"]]) in places
        assert walk.index(by_id[edge["child"]]) in by_id[edge["parent"]]["children"]
    assert [row[0] for row in page.table("kin-table")] == [step["short"] for step in walk]


def test_the_newest_campaign_is_reported_into_its_folder_and_nothing_else_changes(
    program: Program, own_home: Path
) -> None:
    before = {path: path.read_bytes() for path in own_home.rglob("*") if path.is_file()}
    answer = program("report", "--home", own_home)
    assert answer.code == 0, answer.err
    place = own_home / "campaigns" / "tiny" / REPORT_FILE
    assert Path(answer.out.strip()) == place
    after = {path: path.read_bytes() for path in own_home.rglob("*") if path.is_file()}
    assert set(after) - set(before) == {place}
    assert all(after[path] == data for path, data in before.items())
    assert program("fsck", "lineage", "--home", own_home).code == 0


def test_a_report_goes_where_it_is_told_and_scripts_learn_what_it_holds(
    program: Program, finished: Done, tmp_path: Path
) -> None:
    answer = program("report", "tiny", "--out", "page.html", "--json", "--home", finished.home)
    found = json.loads(answer.out)
    page = (tmp_path / "page.html").read_bytes()
    assert found == {
        "campaign": "tiny", "state": "done", "report": str(tmp_path / "page.html"), "bytes": len(page),
        "individuals": len(page_of(page).walk()), "left_out": 0,
    }  # fmt: skip
    assert not (finished.home / "campaigns" / "tiny" / REPORT_FILE).exists()
    assert program("report", "--out", tmp_path, "--home", finished.home).code == 2
    assert "there is no folder" in program("report", "--out", "no/page.html", "--home", finished.home).err


def test_an_unknown_campaign_and_a_home_without_one_are_told_apart(
    program: Program, finished: Done, tmp_path: Path
) -> None:
    answer = program("report", "nobody", "--home", finished.home)
    assert (answer.code, "there are: tiny" in answer.err) == (2, True)
    Home.create(tmp_path / "h")
    answer = program("report", "--home", tmp_path / "h")
    assert (answer.code, "no campaigns yet" in answer.err) == (2, True)


def test_purging_a_campaign_removes_its_report(program: Program, own_home: Path) -> None:
    program("report", "--home", own_home)
    assert program("purge", "tiny", "--yes", "--force", "--home", own_home).code == 0
    assert list(own_home.rglob("*.html")) == []


def test_a_campaign_that_never_began_has_a_page_that_says_so(program: Program, tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    folder = home.campaign_dir(home.new_handle("tiny"))
    write_config(folder).rename(folder / "config.yaml")
    page = page_of(make_report(home, "tiny").html)
    assert page.headings[0] == ("h1", "tiny interrupted")
    assert [section for section in page.ids if section in SECTIONS] == list(SECTIONS)
    assert page.walk() == []
    assert "resume tiny" in page.text


def test_unfinished_campaigns_tell_their_state_and_what_was_committed(finished: Done, own_home: Path) -> None:
    home = Home.open(own_home)
    (own_home / "campaigns" / "tiny" / "summary.json").unlink()
    with LineageWriter(LocalFiles(), own_home, "tiny", ManualClock()):
        page = page_of(make_report(home, "tiny").html)
        assert page.headings[0] == ("h1", "tiny running")
        assert "pause tiny" in page.text
    assert page.fact("evaluations") == f"{finished.summary['evaluations']:,}"
    assert [row[-2:] for row in page.table("operator-table")] == [["-", "-"]] * len(page.table("operator-table"))
    assert page_of(make_report(home, "tiny").html).headings[0] == ("h1", "tiny interrupted")


def test_two_campaigns_of_one_config_are_told_apart(finished: Done, own_home: Path, page: Page) -> None:
    """They have one key, hence the same individuals: scores were counted twice where views do not name a campaign."""
    home = Home.open(own_home)
    twin = home.new_handle("tiny")
    shutil.copy(home.campaign_dir("tiny") / "config.yaml", home.campaign_dir(twin))
    with LineageWriter(LocalFiles(), own_home, twin, ManualClock()) as writer:
        for commit in home.lineage_reader().commits("tiny"):
            rows = {name: [{**row, "campaign": twin} for row in found] for name, found in commit.rows.items()}
            writer.commit(replace(commit, rows=rows))
    again = page_of(make_report(home, "tiny", ManualClock()).html)
    assert again.tables == page.tables
    assert again.walk() == page.walk()


class _Links(HTMLParser):
    """Whatever an element names that a browser could go and get."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {"href", "src", "srcset", "action", "data", "poster", "xlink:href", "background", "style", "ping"}
        self.found += [value or "" for name, value in attrs if name in names]
        assert not any(name.startswith("on") for name, _ in attrs)
        assert tag not in {"iframe", "object", "embed", "base", "form", "img", "video", "audio"}


def test_nothing_in_the_page_leads_out_of_the_file(finished: Done) -> None:
    html = unescape(make_report(Home.open(finished.home), "tiny").html.decode())
    links = _Links()
    links.feed(html)
    assert links.found
    assert [link for link in links.found if not link.startswith("#") and link != "data:,"] == []
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#inner)", html.replace("// Walks", ""))
    assert "default-src 'none'" in html
    assert "unsafe" not in html
