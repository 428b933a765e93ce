"""Campaigns on a table, through the program: from a file to a head that takes raw rows; and tables that are no good."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from evolve.home.home import Home
from evolve.home.kept_data import kept_data
from evolve.runtime.bundle import export_block, read_export
from evolve.runtime.mlflow_model import BlockModel
from population.blocks.block import load_block
from population.files.local_files import LocalFiles
from population.store.objects import object_path
from tests.evolve.cli.conftest import ROOT, Answer, Done, Program, command, environment, run_apart
from tests.evolve.whole import Driver, num_commits

TABULAR = ROOT / "configs" / "tabular.yaml"
TINY = (
    "strategy.population=4", "stop.generations=2", "graph.hidden=8", "widths={}", "operators.burst.settings.steps=10",
    "tiers.distil.steps=10", "tiers.finalists=1", "run.address=local", "run.workers=1",
)  # fmt: skip
SAME = ("population", "lineage", "champion")
DEAD = environment(MLFLOW_TRACKING_URI="http://127.0.0.1:9")


def animals(num_rows: int = 240, seed: int = 3) -> dict[str, list[Any]]:
    """A table with gaps, text, dates, truths and a rare class."""
    rng = np.random.default_rng(seed)
    weight, born = rng.lognormal(1, 0.7, num_rows), rng.integers(0, 900, num_rows)
    wild, town = rng.random(num_rows) < 0.3, rng.choice(["Bern", "Oslo", "Rome"], num_rows)
    score = np.log(weight) + wild + (town == "Oslo") + rng.normal(size=num_rows) * 0.3
    kind = np.where(score > 3, "fox", np.where(score > 1.4, "dog", "cat"))
    day = np.datetime64("2021-01-01") + born
    return {
        "id": [f"a-{i}" for i in range(num_rows)],
        "weight": [None if rng.random() < 0.2 else round(float(v), 3) for v in weight],
        "born": [None if rng.random() < 0.1 else str(v) for v in day],
        "wild": [bool(v) for v in wild],
        "home town": [None if rng.random() < 0.1 else str(v) for v in town],
        "kind": kind.tolist(),
    }


def write_csv(path: Path, columns: dict[str, list[Any]]) -> Path:
    csv.write_csv(pa.table(columns), path)
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A tiny campaign on a CSV, promoted; its file has moved since. (config: where the file was.)"""
    folder = tmp_path_factory.mktemp("tabular")
    path, home = write_csv(folder / "animals.csv", animals()), folder / "home"
    answer = run_apart(
        "run", TABULAR, f"data.path={path}", "data.target=kind", *TINY, "promote.name=animals", "--json", "--home", home,
        env=DEAD,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "target 'kind': classification (its values are text): cat" in answer.err
    path.rename(folder / "moved.csv")
    return Done(home, folder / "moved.csv", {**json.loads(answer.out.splitlines()[-1]), "said": answer.err})


def test_what_was_found_is_printed_and_kept(done: Done) -> None:
    told = {column["name"]: column for column in done.summary["data"]["columns"]}
    assert {name: column["kind"] for name, column in told.items()} == {
        "id": "dropped", "weight": "number", "born": "date", "wild": "boolean", "home town": "category",
    }  # fmt: skip
    assert told["weight"]["missing"] > 20
    for text in ("240 rows, 4 of 5 columns used", "an identifier, or free text", "category"):
        assert text in done.summary["said"]
    kept = json.loads((done.home / "campaigns" / "tabular" / "data.json").read_text())
    assert kept == done.summary["data"]
    assert done.summary["heldout"]["ultimate"]["accuracy"] > 0.3


ROWS: dict[str, Callable[[Path], Path]] = {
    "csv": lambda folder: write_csv(folder / "rows.csv", animals(30, seed=9)),
    "parquet": lambda folder: _write_parquet(folder / "rows.parquet", animals(30, seed=9)),
    "json": lambda folder: _write_json(folder / "rows.json", animals(30, seed=9)),
}


def _write_parquet(path: Path, columns: dict[str, list[Any]]) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


def _write_json(path: Path, columns: dict[str, list[Any]]) -> Path:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    path.write_text(json.dumps([{k: v for k, v in row.items() if v is not None} for row in rows]))
    return path


def test_raw_rows_of_any_file_get_the_same_names_of_classes(program: Program, done: Done, tmp_path: Path) -> None:
    found = {}
    for form, write in ROWS.items():
        answer = program("infer", "animals", "--input", write(tmp_path), "--json", "--home", done.home)
        assert answer.code == 0, answer.err
        found[form] = json.loads(answer.out)
    assert found["csv"]["outputs"] == found["parquet"]["outputs"] == found["json"]["outputs"]
    told = found["csv"]["answers"]["kind"]
    assert set(told["answer"]) <= {"cat", "dog", "fox"}
    assert all(1 / 3 <= sure <= 1 for sure in told["confidence"])
    shown = program("infer", "animals@lite", "--input", tmp_path / "rows.csv", "--home", done.home)
    assert "confidence" in shown.out
    assert told["answer"][0] in ("cat", "dog", "fox")


def test_mlflow_s_model_takes_a_frame_of_raw_rows(done: Done, tmp_path: Path) -> None:
    block = load_block(Home.open(done.home).block_store(), done.summary["champion"])
    export_block(LocalFiles(), block, tmp_path / "e")
    model = BlockModel(read_export(tmp_path / "e"))
    rows = animals(30, seed=9)
    logits = model.predict(pd.DataFrame(rows))
    np.testing.assert_array_equal(logits, model.predict({name: rows[name] for name in reversed(rows)}))
    assert logits.shape == (30, 3)


def test_a_block_shows_which_raw_rows_it_takes(program: Program, done: Done) -> None:
    answer = program("blocks", "show", "animals", "--home", done.home)
    assert "weight (number), born (date), wild (boolean), home town (category); tells kind" in answer.out
    shown = json.loads(program("blocks", "show", "animals", "--json", "--home", done.home).out)
    assert shown["decoder"]["answers"][0]["classes"] == ["cat", "dog", "fox"]


def test_a_row_that_cannot_be_read_is_named(program: Program, done: Done, tmp_path: Path) -> None:
    rows = animals(5)
    bad = write_csv(tmp_path / "bad.csv", {**rows, "weight": ["3", "heavy", "", "1", "2"]})
    answer = program("infer", "animals", "--input", bad, "--home", done.home)
    assert answer.code == 2
    assert "column 'weight', row 2" in answer.err
    assert "'heavy'" in answer.err
    lacking = write_csv(tmp_path / "lacking.csv", {name: rows[name] for name in ("weight", "wild")})
    answer = program("infer", "animals", "--input", lacking, "--home", done.home)
    assert answer.code == 2
    assert "'born', 'home town' missing" in answer.err


def test_status_rebuild_and_promote_need_no_more_than_the_home(program: Program, done: Done, tmp_path: Path) -> None:
    home = Path(shutil.copytree(done.home, tmp_path / "h"))
    assert json.loads(program("status", "--json", "--home", home).out)[0]["state"] == "done"
    rebuilt = json.loads(program("rebuild", done.summary["individual"], "--json", "--home", home).out)
    assert rebuilt["same"] is True
    again = program("promote", done.summary["champion"], "--name", "other", "--json", "--home", home)
    assert again.code == 0, again.err
    assert json.loads(again.out)["heldout"] == done.summary["heldout"]


@pytest.mark.slow
def test_the_same_file_elsewhere_is_the_same_campaign_on_two_workers(done: Done, tmp_path: Path) -> None:
    answer = run_apart(
        "run", TABULAR, f"data.path={done.config}", "data.target=kind", *TINY, "--workers", "2", "--json",
        "--home", tmp_path / "h", env=DEAD,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    other = json.loads(answer.out.splitlines()[-1])
    assert {name: other[name] for name in SAME} == {name: done.summary[name] for name in SAME}
    assert other["campaign_key"] == done.summary["campaign_key"]


def test_a_campaign_goes_on_after_its_file_has_moved(program: Program, done: Done, tmp_path: Path) -> None:
    home = Path(shutil.copytree(done.home, tmp_path / "h"))
    answer = run_apart("resume", "tabular", "--generations", "+1", "--json", "--home", home, env=DEAD)
    assert answer.code == 0, answer.err
    assert json.loads(answer.out.splitlines()[-1])["generations"] == 3


def test_a_campaign_whose_data_are_gone_says_what_to_do(program: Program, done: Done, tmp_path: Path) -> None:
    home = Home.open(Path(shutil.copytree(done.home, tmp_path / "h")))
    (kept,) = kept_data(home.config_of("tabular"), home)
    object_path(home.store_root, kept).unlink()
    answer = program("resume", "tabular", "--generations", "+1", "--home", home.root)
    assert answer.code == 2
    assert "there is no such file" in answer.err
    assert "data.path=FILE" in answer.err


def test_a_number_is_told_in_its_own_unit_after_a_kill_too(program: Program, tmp_path: Path) -> None:
    """Killed on its way and resumed after the file is gone, a regression answers in units of the target."""
    rng = np.random.default_rng(2)
    size, price = rng.uniform(50, 150, 200), []
    price = [None if k < 3 else round(float(5e5 + 1e4 * v + 3e4 * rng.normal()), 1) for k, v in enumerate(size)]
    path, home = write_csv(tmp_path / "houses.csv", {"size": size.round(2).tolist(), "note": ["x", "y"] * 100,
                                                     "price": price}), tmp_path / "h"  # fmt: skip
    asked = ["run", TABULAR, f"data.path={path}", "data.target=price", *TINY, "operators.burst.settings.steps=200"]
    with Driver(command(*asked, "--json", "--home", home)) as driver:
        assert driver.wait_for(lambda: num_commits(home, "tabular") >= 1)
        driver.process.kill()
    path.unlink()
    answer = run_apart("resume", "tabular", "--json", "--home", home, env=DEAD)
    assert answer.code == 0, answer.err
    summary = json.loads(answer.out.splitlines()[-1])
    assert summary["data"]["target"]["task"] == "regression"
    assert summary["data"]["notes"] == ["3 rows have no target: left out"]
    assert summary["scores"]["ultimate"]["r2"] > 0.5
    rows = write_csv(tmp_path / "rows.csv", {"size": [60.0, 140.0], "note": ["x", "never seen"]})
    found = json.loads(program("infer", summary["champion"], "--input", rows, "--json", "--home", home).out)
    small, big = found["answers"]["price"]["answer"]
    assert 8e5 < small < 1.6e6 < big < 2.5e6


# ---- tables that are no good -------------------------------------------------------------------------------------------


def _table(folder: Path, **more: Any) -> Path:
    return write_csv(folder / "t.csv", {**animals(), **more})


def _bytes(data: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "t.csv").write_bytes(data)
        return folder / "t.csv"

    return write


BAD: dict[str, tuple[Callable[[Path], Path], list[str], str]] = {
    "no target named": (_table, ["data.target=null"], "data.target: name the column"),
    "missing target": (_table, ["data.target=kid"], "there is no column 'kid'; did you mean 'kind'"),
    "one class": (lambda f: _table(f, kind=["cat"] * 240), [], "target 'kind' is 'cat' in every row"),
    "empty file": (_bytes(b""), [], "the file is empty"),
    "header only": (_bytes(b"a,kind\n"), [], "0 rows with a value in 'kind'"),
    "five rows": (lambda f: write_csv(f / "t.csv", animals(5)), [], "5 rows with a value in 'kind'"),
    "duplicate names": (_bytes(b"a,kind,a\n1,2,3\n"), [], "column name 'a' stands at 1 and 3"),
    "wrong encoding": (_bytes("a,kind\n1,caf\xe9\n".encode("latin-1")), [], "data.encoding=latin-1"),
    "ragged": (_bytes(b"a,kind\n1,2\n1,2,3\n"), [], "Expected 2 columns, got 3"),
    "no table": (_bytes(bytes(range(256))), [], "t.csv: "),
    "no such file": (lambda f: f / "none.csv", [], "there is no such file"),
    "a folder": (lambda f: f, [], "is a folder: name a file"),
    "a name of no format": (lambda f: write_csv(f / "t.xlsx", animals()), [], "must end in .csv"),
    "text as a number": (_table, ["data.task=regression"], "is no number"),
    "unknown kind": (_table, ["data.columns.wild=truth"], "data.columns.wild"),
    "nothing but the target": (lambda f: write_csv(f / "t.csv", {"kind": animals()["kind"]}), [], "there is no other column"),
    "nothing but leaks": (lambda f: write_csv(f / "t.csv", {n: animals()["kind"] for n in ("kind", "x")}), [],
                          "nothing is left to tell 'kind' from: x: is the target under another name"),
    "no template": (_table, ["graph.template=tabula"], "no template is called 'tabula'"),
    "no such setting": (_table, ["graph.hiden=3"], "graph.hiden"),
    "a metric of numbers": (_table, ["objectives=[rmse]"], "rmse"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_refused_in_one_line_before_anything_is_made(
    program: Program, tmp_path: Path, name: str
) -> None:
    write, overrides, says = BAD[name]
    folder = tmp_path / "data"
    folder.mkdir()
    answer = program("run", TABULAR, f"data.path={write(folder)}", "data.target=kind", *TINY, *overrides)
    assert answer.code == 2
    assert says in answer.err
    assert "Traceback" not in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert not (tmp_path / ".evolve").exists()


def _run(folder: Path, path: Path, *overrides: str) -> Answer:
    return run_apart(
        "run", TABULAR, f"data.path={path}", "data.target=kind", *TINY, *overrides, "--json", "--home", folder / "h",
        env=DEAD,
    )  # fmt: skip


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "all at once": (
        {
            "blank": [None] * 240,
            "huge": ["x" * 1_000_000, *(["short", "other"] * 120)[1:]],
            "mixed": ["1", "2.5", "none yet", "b"] * 60,
            "twin": [{"cat": "K", "dog": "H", "fox": "F"}[kind] for kind in animals()["kind"]],
        },
        "'twin' is the target under another name: left out",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_table_gives_a_sensible_result_and_says_what_was_done(tmp_path: Path, name: str) -> None:
    more, says = ODD[name]
    answer = _run(tmp_path, _table(tmp_path, **more))
    assert answer.code == 0, answer.err
    assert says in answer.err
    summary = json.loads(answer.out.splitlines()[-1])
    kinds = {column["name"]: column["kind"] for column in summary["data"]["columns"]}
    assert (kinds["blank"], kinds["huge"], kinds["mixed"], kinds["twin"]) == (
        "dropped",
        "category",
        "category",
        "dropped",
    )
    assert summary["state"] == "done"


@pytest.mark.slow
def test_a_table_of_ten_thousand_columns_is_learned_from(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    columns = {f"c{i}": rng.normal(size=120).round(3).tolist() for i in range(10_000)}
    kind = ["a" if value > 0 else "b" for value in columns["c7"]]
    answer = _run(tmp_path, write_csv(tmp_path / "t.csv", {**columns, "kind": kind}))
    assert answer.code == 0, answer.err
    assert json.loads(answer.out.splitlines()[-1])["state"] == "done"


def test_a_purge_takes_the_copy_of_the_file_along(program: Program, done: Done, tmp_path: Path) -> None:
    home = Home.open(Path(shutil.copytree(done.home, tmp_path / "h")))
    kept = kept_data(home.config_of("tabular"), home)
    assert len(kept) == 1
    assert program("purge", "tabular", "--force", "--yes", "--json", "--home", home.root).code == 0
    assert not home.block_store().has(*kept)
