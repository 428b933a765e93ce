"""The views: what a newcomer asks, what each view shows, and what a query may not do."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from population.clock import ManualClock
from population.errors import InputError
from population.files.local_files import LocalFiles, MemoryFiles
from population.lineage import VIEW_NAMES, Commit, LineageReader, LineageWriter, QueryLimits
from population.lineage.sql.connection import open_connection
from population.lineage.sql.query import run_query
from tests.population.lineage.lineage_samples import (
    MEASURES,
    SKILLS,
    identity,
    sample_births,
    sample_campaign,
    sample_commit,
)

# The columns that every lineage has, as promised to users, in any place of their view.
PROMISED = {
    "individuals": "individual block weights_digest campaign generation species coordinate operator status",
    "parents": "child parent role",
    "recipes": "individual operator version inputs seed settings",
    "scores": "individual benchmark split tier repeat objective value num_samples flops sandbox_level environment",
    "skills": "individual benchmark split tier repeat skill value",
    "quarantine": "individual verdict detail",
    "promotions": "stage name sequence block decision reason",
    "campaigns": "campaign config_hash seed state forked_from forked_at",
}
NEWCOMER = """SELECT operator, count(DISTINCT individual) AS births, max(value) AS best FROM individuals JOIN scores
    USING (individual) WHERE objective = 'accuracy' AND split = 'validation' AND tier = 'ultimate' GROUP BY 1 ORDER BY 3 DESC"""
STEPS, BIRTHS = 5, 16


@pytest.fixture(scope="module", params=["disk, sealed in part", "disk, sealed", "disk, journal", "memory, sealed"])
def reader(request, tmp_path_factory) -> LineageReader:
    files = LocalFiles() if "disk" in request.param else MemoryFiles()
    home = tmp_path_factory.mktemp("home") if "disk" in request.param else Path("/home")
    with LineageWriter(files, home, "digits-1", ManualClock()) as writer:
        for step in range(STEPS):
            writer.commit(sample_commit(step, BIRTHS))
            if "part" in request.param and step in (1, 3):
                writer.seal()
        stored = {"block": "bafy1", "individual": identity(3), "tiers": {"lite": {"h": 8}}, "bytes": 100}
        writer.commit(Commit(STEPS, rows={"blocks": [stored], "campaigns": [{"state": "done"}]}))
        if "sealed" in request.param and "part" not in request.param:
            writer.seal()
    with LineageWriter(files, home, "_home", ManualClock()) as writer:
        promotion = {"stage": "production", "name": "digits", "sequence": 1, "block": "bafy1", "decision": "promoted"}
        promotion |= {"campaign": "digits-1", "look": 1, "alpha": 0.025, "evidence": {"bound": 0.1}, "decided": 0.25}
        life = {"individual": identity(3), "campaign": "digits-1", "status": "promoted", "reason": "digits"}
        writer.commit(Commit(0, rows={"promotions": [promotion], "lifecycle": [life]}))
    return LineageReader(files, home)


def rows(reader: LineageReader, sql: str) -> list[dict[str, Any]]:
    return run_query(reader, sql).to_pylist()


def test_the_newcomers_query_answers(reader):
    found = {row["operator"]: row for row in rows(reader, NEWCOMER)}
    everyone = sample_births(0, STEPS * BIRTHS)
    best, births = {}, {}
    position = [(m.tier, m.name) for m in MEASURES].index(("ultimate", "accuracy"))
    for index, operator in enumerate(everyone.operator):
        name = operator.partition("@")[0]
        first = index - 1 if everyone.repeat_of[index] else index
        births[name] = births.get(name, 0) + 1
        best[name] = np.fmax(best.get(name, np.nan), everyone.scores[first, position])
    assert {name: (row["births"], row["best"]) for name, row in found.items()} == {
        n: (births[n], best[n]) for n in best
    }
    assert [row["best"] for row in rows(reader, NEWCOMER)] == sorted(best.values(), reverse=True)


@pytest.mark.parametrize("view", VIEW_NAMES)
def test_every_view_tells_each_columns_meaning(reader, view):
    described = rows(reader, f"DESCRIBE {view};")
    assert [row["column_name"] for row in described] == run_query(reader, f"SELECT * FROM {view} LIMIT 1").schema.names
    assert all(row["meaning"] and row["column_type"] for row in described)
    assert set(PROMISED.get(view, "").split()) <= {row["column_name"] for row in described}


def test_every_view_and_column_stands_in_the_format_page(reader):
    page = (Path(__file__).parents[4] / "population" / "lineage" / "LINEAGE.md").read_text()
    for view in VIEW_NAMES:
        section = page.partition(f"\n#### {view}\n")[2].partition("\n#### ")[0]
        for row in rows(reader, f"DESCRIBE {view}"):
            assert f"| {row['column_name']} | {row['column_type']} | {row['meaning']} |" in section, (view, row)


@pytest.mark.parametrize("view", ["executions", "exits", "families", "usage"])
def test_views_that_nothing_writes_yet_stand_empty(reader, view):
    assert rows(reader, f"SELECT count(*) AS n FROM {view}") == [{"n": 0}]


def test_scores_have_one_row_per_individual_and_measure(reader):
    assert rows(reader, "SELECT count(*) AS n FROM scores") == [{"n": STEPS * BIRTHS * len(MEASURES)}]
    assert rows(reader, "SELECT count(*) AS n FROM skills") == [{"n": STEPS * BIRTHS * len(SKILLS)}]
    one = sample_births(20, 1)
    found = rows(reader, f"SELECT * FROM scores WHERE individual = '{identity(20)}' ORDER BY tier, objective")
    wanted = sorted(
        (m.tier, m.name, one.scores[0, i], one.flops[0, one.tiers.index(m.tier)]) for i, m in enumerate(MEASURES)
    )
    assert [(r["tier"], r["objective"], r["value"], r["flops"]) for r in found] == wanted
    assert {(r["repeat"], r["num_samples"], r["sandbox_level"], r["environment"]) for r in found} == {
        (0, 359, "reduced", "cpu-avx2")
    }


def test_a_repeat_shows_the_values_of_the_first_individual(reader):
    sql = "SELECT repeat, value FROM scores WHERE individual = '{}' ORDER BY tier, objective"
    repeat, first = rows(reader, sql.format(identity(25))), rows(reader, sql.format(identity(24)))
    assert [row["value"] for row in repeat] == [row["value"] for row in first]
    assert ({row["repeat"] for row in repeat}, {row["repeat"] for row in first}) == ({1}, {0})


def test_what_failed_has_no_value_and_is_in_quarantine(reader):
    failed = f"individual = '{identity(3)}'"
    assert rows(reader, f"SELECT DISTINCT value FROM scores WHERE {failed}") == [{"value": None}]
    row = {"individual": identity(3), "verdict": "timeout", "detail": "after 2.0 s: é€𝄞"}
    assert rows(reader, f"SELECT * FROM quarantine WHERE {failed}") == [row | {"campaign": "digits-1", "generation": 0}]


def test_status_is_the_newest_entry_of_the_lifecycle(reader):
    sql = f"SELECT status FROM lifecycle WHERE individual = '{identity(3)}' AND campaign = 'digits-1' ORDER BY position"
    assert [row["status"] for row in rows(reader, sql)] == ["quarantined", "promoted"]
    status = {row["individual"]: row["status"] for row in rows(reader, "SELECT individual, status FROM individuals")}
    assert status[identity(3)] == "promoted"
    assert status[identity(16)] == "active"
    assert status[identity(17)] == "quarantined"
    assert status[identity(18)] == "born"


def test_blocks_join_individuals_and_tiers(reader):
    assert rows(reader, "SELECT individual, block FROM individuals WHERE block IS NOT NULL") == [
        {"individual": identity(3), "block": "bafy1"}
    ]
    tiers = rows(reader, f"SELECT tier, flops, widths FROM tiers WHERE individual = '{identity(3)}' ORDER BY flops")
    assert [(t["tier"], t["flops"], t["widths"]) for t in tiers] == [
        ("lite", 103, '{"h":8}'),
        ("pro", 403, None),
        ("ultimate", 1603, None),
    ]


def test_the_newest_row_of_a_campaign_wins_and_keeps_what_it_does_not_say(reader):
    found = rows(reader, "SELECT * FROM campaigns")
    wanted = sample_campaign(state="done", forked_at=None, config='{"population":16,"workers":2}')
    wanted["started"] = dt.datetime(2023, 11, 14, 22, 13, 20, 500_000)  # noqa: DTZ001 - views show UTC without a zone
    assert found == [wanted]


def test_generations_and_promotions_are_shown_as_they_were_given(reader):
    found = rows(reader, "SELECT generation, best['accuracy'] AS best, seconds FROM generations ORDER BY 1 LIMIT 2")
    assert found == [{"generation": 0, "best": 0.5, "seconds": 0.25}, {"generation": 1, "best": 0.501, "seconds": 0.25}]
    sql = "SELECT name, look, alpha, evidence->>'bound' AS bound, campaign FROM promotions"
    assert rows(reader, sql) == [{"name": "digits", "look": 1, "alpha": 0.025, "bound": "0.1", "campaign": "digits-1"}]


def test_recipes_are_whole(reader):
    one = sample_births(8, 1)
    found = rows(reader, f"SELECT * FROM recipes WHERE individual = '{identity(8)}'")
    wanted = {"individual": identity(8), "operator": "gradient_burst", "version": "2", "seed": int(one.seed[0])}
    assert found == [wanted | {"inputs": ["ab" * 32], "settings": one.settings[0]}]


def closure(edges: dict[str, set[str]], one: str) -> set[str]:
    """Returns everyone that is reached from an individual, itself not counted unless it is."""
    found, todo = set(), list(edges.get(one, ()))
    while todo:
        other = todo.pop()
        if other not in found:
            found.add(other)
            todo.extend(edges.get(other, ()))
    return found


def pedigree() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Returns the parents and the children of everyone."""
    everyone = sample_births(0, STEPS * BIRTHS)
    parents = {one: set(of) for one, of in zip(everyone.individual, everyone.parents, strict=True)}
    children: dict[str, set[str]] = {}
    for one, of in parents.items():
        for parent in of:
            children.setdefault(parent, set()).add(one)
    return parents, children


def test_all_ancestors_are_one_recursive_query(reader):
    sql = f"""WITH RECURSIVE pedigree(id) AS (SELECT '{identity(70)}' UNION
        SELECT parent FROM parents JOIN pedigree ON child = id) SELECT id FROM pedigree"""
    wanted = closure(pedigree()[0], identity(70)) | {identity(70)}
    assert {row["id"] for row in rows(reader, sql)} == wanted
    assert len(wanted) > 5


def test_ancestors_and_descendants_are_functions_of_an_id(reader):
    parents, children = pedigree()
    shared = open_connection(reader)
    try:
        for name, edges, event in (
            ("ancestors", parents, 70),
            ("ancestors", parents, 79),
            ("descendants", children, 4),
        ):
            wanted = sorted(closure(edges, identity(event)))
            assert len(wanted) > 5
            sql = f"SELECT * FROM {name}('{identity(event)}') ORDER BY 1"
            assert run_query(reader, sql).to_pydict() == {"individual": wanted}
            assert shared.sql(sql).fetchall() == [(one,) for one in wanted]
    finally:
        shared.close()
    assert rows(reader, f"SELECT count(*) AS n FROM ancestors('{identity(0)}')") == [{"n": 0}]


def test_a_pedigree_joins_the_views(reader):
    sql = f"SELECT count(*) AS n, max(generation) AS g FROM ancestors('{identity(70)}') JOIN individuals USING (individual)"
    everyone = sample_births(0, STEPS * BIRTHS)
    generations = dict(zip(everyone.individual, everyone.generation.tolist(), strict=True))
    wanted = closure(pedigree()[0], identity(70))
    assert rows(reader, sql) == [{"n": len(wanted), "g": max(generations[one] for one in wanted)}]


def test_a_pedigree_begins_with_an_id_or_the_beginning_of_just_one(reader):
    whole = identity(70)
    ids = [identity(event) for event in range(STEPS * BIRTHS)]
    length = next(n for n in range(1, 33) if sum(one.startswith(whole[:n]) for one in ids) == 1)
    short, whole_rows = (rows(reader, f"FROM Ancestors('{text}') ORDER BY 1") for text in (whole[:length], whole))
    assert short == whole_rows != []
    for text, said in (("'nobody'", "no individual nobody"), ("NULL", "no individual NULL"), ("''", "more than one")):
        with pytest.raises(InputError, match=said):
            run_query(reader, f"FROM ancestors({text})")


def test_pedigrees_run_across_campaigns_and_to_what_is_not_there(tmp_path):
    """Two campaigns of one key have the same individuals; a fork's founders have parents that may have been purged."""
    reader = LineageReader(LocalFiles(), tmp_path)
    for handle, count in (("once", 2), ("twice", 3)):
        with LineageWriter(LocalFiles(), tmp_path, handle, ManualClock()) as writer:
            for step in range(count):
                writer.commit(sample_commit(step, BIRTHS))
    fork = replace(sample_births(0, BIRTHS), parents=[("purged",)] * BIRTHS, roles=[("origin",)] * BIRTHS)
    fork = replace(fork, individual=[f"fork {event}" for event in range(BIRTHS)], repeat_of=[""] * BIRTHS)
    with LineageWriter(LocalFiles(), tmp_path, "forked", ManualClock()) as writer:
        writer.commit(Commit(0, (fork,)))
    everyone = sample_births(0, 3 * BIRTHS)
    parents = {one: set(of) for one, of in zip(everyone.individual, everyone.parents, strict=True)}
    wanted = sorted(closure(parents, identity(47)))
    assert run_query(reader, f"FROM ancestors('{identity(47)}') ORDER BY 1").to_pydict() == {"individual": wanted}
    assert rows(reader, "FROM ancestors('fork 3')") == [{"individual": "purged"}]
    assert rows(reader, "SELECT count(*) AS n FROM descendants('purged')") == [{"n": BIRTHS}]


def test_a_notebooks_connection_has_the_views(reader):
    connection = open_connection(reader)
    try:
        assert connection.sql("SELECT count(*) FROM individuals").fetchall() == [(STEPS * BIRTHS,)]
    finally:
        connection.close()


def test_a_home_without_lineages_has_empty_views(tmp_path):
    assert (
        run_query(
            LineageReader(LocalFiles(), tmp_path), "SELECT * FROM individuals JOIN scores USING (individual)"
        ).num_rows
        == 0
    )


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM scorez", "scorez does not exist(.|\n)*The views are: campaigns, generations"),
        ("SELECT operatr FROM individuals", '"operatr" not found(.|\n)*The views are'),
        ("SELEC 1", "syntax error"),
        ("", "expected one SELECT, got nothing"),
        ("SELECT 1; SELECT 2", "expected one SELECT"),
        ("SET threads=9", "expected one SELECT, got SET"),
        ("CREATE TABLE t AS SELECT 1", "got CREATE"),
        ("DROP VIEW scores", "got DROP"),
        ("INSERT INTO physical.births SELECT * FROM physical.births", "got INSERT"),
        ("ATTACH '{home}/x.db'", "got ATTACH"),
        ("COPY scores TO '{home}/out.csv'", "got COPY"),
        ("EXPORT DATABASE '{home}/out'", "got EXPORT"),
        ("INSTALL httpfs", "got"),
        ("LOAD httpfs", "got LOAD"),
        ("PRAGMA database_list", "got"),
        ("CALL duckdb_settings()", "got CALL"),
        ("SELECT * FROM read_text('{home}/secret.txt')", "'read_text' is not open"),
        ("SELECT * FROM read_csv('{home}/secret.txt')", "'read_csv' is not open"),
        ("SELECT * FROM '{home}/secret.csv'", "query: "),
        ("SELECT * FROM '{home}/lineage/digits-1/*.parquet'", "query: "),
        ("SELECT * FROM glob('{home}/*')", "'glob' is not open"),
        ("SELECT (SELECT content FROM read_blob('{home}/secret.txt'))", "'read_blob' is not open"),
        ("WITH x AS (FROM duckdb_settings()) SELECT * FROM x", "'duckdb_settings' is not open"),
        ("EXPLAIN ANALYZE SELECT * FROM read_text('{home}/secret.txt')", "'read_text' is not open"),
        ("SELECT * FROM duckdb_secrets()", "'duckdb_secrets' is not open"),
        ("SELECT current_setting('allowed_paths')", "'current_setting' is not open"),
        ("SELECT getenv('HOME')", "query: "),
        ("SELECT * FROM secret_rows", "secret_rows does not exist"),
        ("SELECT * FROM query('SELECT 1')", "'query' is not open"),
        ("SELECT * FROM query_table('scores')", "'query_table' is not open"),
    ],
)
def test_a_query_reads_views_and_nothing_else(tmp_path, sql, message):
    secret_rows = {"password": ["hunter2"]}  # noqa: F841 - a query could see the caller's variables, if it were let
    home = tmp_path / "home"
    with LineageWriter(LocalFiles(), home, "digits-1", ManualClock()) as writer:
        writer.commit(sample_commit(0))
        writer.seal()
    (home / "secret.txt").write_text("hunter2")
    (home / "secret.csv").write_text("a\nhunter2\n")
    before = sorted(home.rglob("*"))
    with pytest.raises(InputError, match=message) as caught:
        run_query(LineageReader(LocalFiles(), home), sql.format(home=home))
    assert "hunter2" not in str(caught.value)
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize(
    "sql", ["SHOW TABLES", "EXPLAIN SELECT * FROM scores", "SUMMARIZE generations", "FROM range(3)"]
)
def test_a_query_may_ask_about_the_views(reader, sql):
    assert run_query(reader, sql).num_rows > 0


def test_a_query_that_takes_too_long_is_stopped(reader):
    started = time.monotonic()
    with pytest.raises(InputError, match=r"stopped after 0\.2 s"):
        run_query(
            reader,
            "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3",
            QueryLimits(0.2),
        )
    assert time.monotonic() - started < 10


def test_a_query_that_needs_too_much_memory_is_refused(reader):
    with pytest.raises(InputError, match="needs more than 64MB of memory"):
        run_query(reader, "SELECT list(range) FROM range(100000000)", QueryLimits(memory="64MB"))


def test_a_query_with_too_many_rows_is_refused_not_cut(reader):
    assert run_query(reader, "FROM range(10)", QueryLimits(rows=10)).num_rows == 10
    with pytest.raises(InputError, match="more than 10 rows"):
        run_query(reader, "FROM range(11)", QueryLimits(rows=10))
