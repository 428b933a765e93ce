"""What follows from a campaign's own data before its first second of compute: settings, graph and key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evolve.config.campaign import CampaignConfig, check_config, load_config
from evolve.home.home import Home
from evolve.home.kept_data import keep_copy, located
from evolve.library import run
from evolve.planning.load_data import training_for
from evolve.planning.plan import make_plan
from evolve.runtime.channels import inputs_of
from evolve.templates import block_of
from fitness.benchmarks.benchmark import Benchmark
from population.errors import ConfigError, StoreCorrupt
from population.inputs.cells import cells_of
from population.stacks.interpreters import run_block
from tests.evolve import whole

TABULAR = whole.ROOT / "configs" / "tabular.yaml"


def towns(num_rows: int = 150, *, task: str = "classes") -> dict[str, list[Any]]:
    """A table with gaps, a category of many values, and a target that follows from all of it."""
    rng = np.random.default_rng(4)
    x, town = rng.normal(size=num_rows), rng.integers(0, 40, num_rows)
    value = x + (town % 2) + rng.normal(size=num_rows) * 0.1
    told = (value * 1e3 + 5e4).round(1).tolist() if task == "numbers" else np.where(value > 0.5, "high", "low").tolist()
    gaps = rng.random(num_rows) < 0.2
    return {
        "x": [None if gap else float(v) for gap, v in zip(gaps, x, strict=True)],
        "town": [f"town {k}" for k in town],
        "open": rng.choice(["yes", "no"], num_rows).tolist(),
        "y": told,
    }


def written(folder: Path, columns: dict[str, list[Any]], name: str = "t.csv") -> Path:
    lines = [",".join(columns), *(",".join("" if v is None else str(v) for v in row) for row in zip(*columns.values(),
                                                                                                    strict=True))]  # fmt: skip
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def config(path: Path, *overrides: str) -> CampaignConfig:
    return load_config(TABULAR, [f"data.path={path}", "data.target=y", *overrides])


@given(st.integers(10, 10**7), st.integers(10, 10**7))
def test_more_rows_are_trained_longer_and_held_back_less(few: int, many: int) -> None:
    few, many = sorted((few, many))
    first, second = training_for(few), training_for(many)
    assert first["batch"] <= second["batch"]
    assert first["weight_decay"] >= second["weight_decay"]
    assert first["steps"] * first["batch"] <= second["steps"] * second["batch"]


def test_what_is_auto_is_written_out_and_the_written_config_is_the_same_campaign(tmp_path: Path) -> None:
    plan = make_plan(config(written(tmp_path, towns())))
    found = plan.config
    assert found.objectives == ("cross_entropy",)
    assert (plan.graph.symbols["hidden"], found.widths["hidden"]) == (64, (16, 64))
    assert found.operators["burst"].settings["steps"] == 60
    assert found.tiers is not None
    assert found.tiers.distil["weight_decay"] == 3.0
    assert found.data is not None
    assert (found.data.format, len(found.data.digest)) == ("csv", 64)
    again = check_config(yaml.safe_load(yaml.safe_dump(found.model_dump(mode="json"))))
    assert make_plan(again).key == plan.key == again.key


def test_the_key_follows_from_the_file_s_bytes_not_from_its_place(tmp_path: Path) -> None:
    first = make_plan(config(written(tmp_path, towns())))
    other = make_plan(config(written(tmp_path, towns(), "elsewhere.csv")))
    changed = make_plan(config(written(tmp_path, {**towns(), "open": towns()["open"][::-1]}, "other.csv")))
    assert first.key == other.key
    assert first.key != changed.key


def test_a_file_that_changed_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    path = written(tmp_path, towns())
    begun = make_plan(config(path)).config
    written(tmp_path, {**towns(), "open": towns()["open"][::-1]})
    with pytest.raises(
        ConfigError, match=r"holds other bytes than this campaign was begun with.*put the old file back"
    ):
        make_plan(begun)


def test_a_home_s_copy_that_is_damaged_is_named_as_an_object_of_the_store(tmp_path: Path) -> None:
    path, home = written(tmp_path, towns()), Home.create(tmp_path / "home")
    begun = make_plan(config(path)).config
    keep_copy(begun, home)
    found = located(begun, home)
    assert found.data is not None
    copy = Path(found.data.path)
    data = copy.read_bytes()
    copy.unlink()
    copy.write_bytes(data[:-1])
    with pytest.raises(StoreCorrupt, match=copy.name):
        make_plan(found)


def test_a_config_names_one_kind_of_data(tmp_path: Path) -> None:
    path = written(tmp_path, towns())
    with pytest.raises(ConfigError, match="exclude each other"):
        config(path, "benchmark.dataset=digits")
    with pytest.raises(ConfigError, match=r"key 'data\.path' is missing"):
        load_config(TABULAR)
    assert load_config(TABULAR, [f"data.path={path}", "data.target=7"]).data.target == "7"  # type: ignore[union-attr]


def test_gaps_are_refused_where_the_graph_does_not_take_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"graph\.inputs\.numbers: numbers are missing there \(NaN\).*op: impute"):
        make_plan(config(written(tmp_path, towns()), "graph={template: mlp}", "widths={}"))


def test_the_tabular_template_asks_for_a_table() -> None:
    with pytest.raises(ConfigError, match=r"name one with data\.path"):
        make_plan(load_config(whole.DIGITS, ["graph={template: tabular}", "widths={}", "gates=[]"]))


def steps_of(columns: dict[str, list[Any]], **settings: Any) -> Mapping[str, Any] | None:
    """What shows steps of the numbers, if a table gets it, and the training rows that it was fitted on."""
    values = {"benchmark": {"dataset": "none"}, "graph": {"template": "tabular", **settings}, "objectives": ["auto"],
              "operators": {"burst": {}}, "stop": {"generations": 1}}  # fmt: skip
    made = Benchmark.from_table(columns, "y")
    plan = make_plan(check_config(values), made)
    rows = made.inputs["numbers"][made.rows("train")]
    found = [node for node in plan.graph.filters["numbers"] if node.name == "pieces"]
    return {"rows": rows, **found[0].attributes} if found else None


def test_numbers_are_shown_as_steps_at_quantiles_of_training_rows() -> None:
    found = steps_of({"x": np.random.default_rng(1).lognormal(size=2000).tolist(), "y": [0, 1] * 1000})
    assert found is not None
    wanted = np.quantile(found["rows"][:, 0].astype(np.float64), np.arange(1, 13) / 13)
    np.testing.assert_allclose(found["mean"], wanted, rtol=1e-6)
    assert (np.diff(found["deviation"])[2:] > 0).all(), "the tail of a skewed number is cut more coarsely"


def test_a_number_of_few_values_has_steps_of_some_width() -> None:
    rng = np.random.default_rng(1)
    columns = {"x": rng.integers(0, 2, 2000).tolist(), "z": (rng.random(2000) < 0.01).astype(int).tolist(),
               "w": rng.normal(size=2000).tolist(), "y": rng.normal(size=2000).tolist()}  # fmt: skip
    found = steps_of(columns)
    assert found is not None
    assert min(found["deviation"]) >= 1e-3
    assert np.isfinite([*found["mean"], *found["deviation"]]).all()


@pytest.mark.parametrize(
    ("rows", "columns", "settings", "steps"),
    [(800, 2, {}, 0), (2000, 2, {}, 12), (2000, 20, {}, 6), (2000, 60, {}, 0), (2000, 2, {"pieces": 0}, 0),
     (800, 2, {"pieces": 1}, 1)],
)  # fmt: skip
def test_there_are_as_many_steps_as_rows_and_columns_bear(
    rows: int, columns: int, settings: dict[str, int], steps: int
) -> None:
    rng = np.random.default_rng(2)
    table = {f"x{k}": rng.normal(size=rows).tolist() for k in range(columns)}
    found = steps_of({**table, "y": rng.choice(["a", "b"], rows).tolist()}, **settings)
    assert (len(found["mean"]) if found is not None else 0) == steps * columns


@pytest.mark.parametrize(("rows", "widths", "has_block"), [(15_000, (16, 64), False), (18_000, (128,), True)])
def test_from_ten_thousand_training_rows_on_a_network_is_wide_and_has_a_block(
    tmp_path: Path, rows: int, widths: tuple[int, ...], has_block: bool
) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=rows)
    plan = make_plan(config(written(tmp_path, {"x": x.tolist(), "y": np.where(x > 0, "up", "down").tolist()})))
    assert plan.config.widths["hidden"] == widths
    assert plan.graph.symbols["hidden"] == max(widths)
    assert any(node.name == "block1" for node in plan.graph.nodes) == has_block


def test_widths_left_to_the_data_need_rows_to_learn_from() -> None:
    with pytest.raises(ConfigError, match=r"widths\.hidden: auto follows from rows to learn from"):
        make_plan(load_config(whole.ROOT / "configs" / "cartpole.yaml", ["widths={hidden: auto}"]))


@pytest.mark.parametrize("blocks", [0, 2])
def test_a_first_regressor_answers_near_the_mean_whatever_the_row(blocks: int) -> None:
    made = Benchmark.from_table(towns(task="numbers"), "y")
    values = {"benchmark": {"dataset": "none"}, "graph": {"template": "tabular", "blocks": blocks}, "objectives": ["rmse"],
              "operators": {"burst": {}}, "stop": {"generations": 1}, "init": {"gain": 0.1}}  # fmt: skip
    plan = make_plan(check_config(values), made)
    assert [node.op for node in plan.graph.filters["tokens"]] == ["embedding", "flatten"]
    first = block_of(plan.graph, 0)
    rows = {name: cells_of(values) for name, values in towns(task="numbers").items()}
    assert made.preparation is not None
    block = type(first)(first.graph, first.tensors, decoder=made.preparation.decoder)
    answers = run_block(block, inputs_of(block, rows))["prediction"]
    assert torch.isfinite(answers).all()
    assert abs(float(answers.mean()) - 5e4) < 5e3


def test_a_table_in_memory_is_learned_from_without_a_home(tmp_path: Path) -> None:
    made = Benchmark.from_table(towns(), "y", class_weights="balanced")
    assert made.targets[0].class_weights == "balanced"
    values = {"benchmark": {"dataset": "none"}, "graph": {"template": "tabular", "hidden": 8}, "objectives": ["auto"],
              "strategy": {"population": 2}, "operators": {"burst": {"settings": {"steps": "auto", "batch": 16}}},
              "stop": {"generations": 2}, "tiers": None}  # fmt: skip
    result = run(values, made)
    assert result.champion is not None
    assert result.champion.decoder == made.preparation.decoder  # type: ignore[union-attr]
    assert result.summary["data"]["target"]["task"] == "classification"
