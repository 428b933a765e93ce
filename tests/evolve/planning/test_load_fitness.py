"""A config that names a Python function: what it measures are objectives, and its text is part of the campaign."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import evolve
from evolve.config.campaign import check_config, load_config
from evolve.planning.plan import make_plan
from evolve.reports.baselines import compute
from population.errors import ConfigError
from tests.evolve import small
from tests.evolve.cli.conftest import run_apart

SOURCE = '''
def fitness(outputs, targets):
    """The share of wrong rows."""
    return float((outputs.argmax(axis=0) != targets).mean())
'''
NORM = "def fitness(stack):\n    return (stack.tensors['x'] ** 2).sum(dim=1)\n"
STACK = {
    "fitness": {"file": "own.py", "names": {"norm": "min"}, "takes": "stack"},
    "graph": {"parameters": {"x": {"shape": [6], "fan_in": 2}}},
    "strategy": {"kind": "ga", "population": 6},
    "operators": {"gaussian": {"settings": {"rate": 0.3}}, "mean": {}},
    "stop": {"generations": 3},
}


def write(folder: Path, source: str = SOURCE, **changes: object) -> Path:
    (folder / "own.py").write_text(source)
    values = small.values(benchmark={"dataset": "digits"}, graph={"template": "mlp"}, widths={}, **changes)
    values = {"fitness": {"file": "own.py", "names": {"wrong": "min"}}, **values}
    del values["objectives"]
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_its_names_are_the_objectives_and_its_text_is_kept(tmp_path: Path) -> None:
    plan = make_plan(load_config(write(tmp_path)))
    assert plan.config.objectives == ("wrong",)
    assert plan.config.fitness is not None
    assert plan.config.fitness.source == SOURCE
    assert plan.benchmark.objectives[plan.columns[0]].direction == "min"
    assert plan.foreign_code == (str(tmp_path / "own.py"),)


def test_the_key_follows_from_the_text_and_not_from_where_it_lies(tmp_path: Path) -> None:
    first = make_plan(load_config(write(tmp_path)))
    (tmp_path / "b").mkdir()
    moved = make_plan(load_config(write(tmp_path / "b")))
    assert moved.key == first.key
    again = make_plan(check_config(first.config.model_dump(mode="json")))
    (tmp_path / "own.py").unlink()  # a campaign goes on without its file
    assert make_plan(check_config(first.config.model_dump(mode="json"))).key == again.key == first.key
    assert make_plan(load_config(write(tmp_path, SOURCE.replace("!=", "==")))).key != first.key


def test_a_config_without_one_has_the_key_that_it_always_had() -> None:
    assert "fitness" not in check_config(small.values()).hashed


@pytest.mark.parametrize(
    ("source", "section", "words"),
    [
        (SOURCE, {"file": "other.py"}, r"other.py: there is no such file, neither beside the config nor in"),
        ("def fitness(:\n", {}, r"own.py, line 1: "),
        (SOURCE, {"function": "score"}, r"defines no 'score'; its functions: fitness"),
        ("def fitness(outputs): return 0", {}, r"called as fitness\(outputs, targets\), and does not take that"),
        ("def fitness(stack, more): return 0", {"takes": "stack"}, r"called as fitness\(stack\), and does not take"),
        ("def fitness(a, b, *, c): return 0", {}, r"does not take that"),
        (SOURCE, {"names": {}}, r"fitness.names"),
        (SOURCE, {"names": {"wrong": "less"}}, r"fitness.names.wrong"),
        (SOURCE, {"names": {"f1": "max"}}, r"'f1' is the name of a metric of ours"),
        (SOURCE, {"file": ""}, r"name the file that defines it"),
        (SOURCE, {"flie": "x"}, r"unknown key 'fitness.flie'"),
        ("#" + "x" * (1 << 18), {}, r"at most 262,144 are read: put what is large into a package"),
    ],
)
def test_what_cannot_be_called_is_refused_before_anything_is_computed(
    tmp_path: Path, source: str, section: dict[str, object], words: str
) -> None:
    config = write(tmp_path, source, fitness={"file": "own.py", "names": {"wrong": "min"}, **section})
    with pytest.raises(ConfigError, match=words):
        make_plan(load_config(config))


@pytest.mark.parametrize("source", ["fitness = lambda outputs, targets: 0", "from math import hypot as fitness",
                                    "def fitness(*arrays): return 0", "def fitness(a, b, c=1): return 0"])  # fmt: skip
def test_what_may_be_called_is_taken(tmp_path: Path, source: str) -> None:
    assert make_plan(load_config(write(tmp_path, source))).config.fitness is not None


def test_a_campaign_follows_it(tmp_path: Path) -> None:
    """Judged in this process, its function in a jail: the champion's number is that of a call by hand."""
    (tmp_path / "own.py").write_text(SOURCE)
    section = {"file": str(tmp_path / "own.py"), "names": {"wrong": "min"}}
    plan = small.plan_of(fitness=section, objectives=["wrong"], strategy={"kind": "ga", "population": 6})
    state, commits, shelf = small.play(plan)
    assert shelf.block is not None
    names = [objective.name for objective in plan.benchmark.objectives]
    told = [births for commit in commits for births in commit.births][-1].scores[:, : len(names)]
    assert told[:, names.index("wrong")] == pytest.approx(1 - told[:, names.index("accuracy")])
    assert small.digests(small.play(plan)[1]) == small.digests(commits)
    assert state.phase == "done"


# ---- functions of stacks ---------------------------------------------------------------------------------------------


def test_a_function_of_stacks_needs_no_data(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(NORM)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(STACK))
    config = load_config(tmp_path / "own.yaml")
    assert (config.benchmark.dataset, config.tiers) == ("nothing", None)
    assert compute(make_plan(config)) == []
    result = evolve.run(config)
    assert result.champion is not None
    found = result.summary["scores"]["ultimate"]["norm"]
    assert found == pytest.approx(float((result.champion.tensors["x"] ** 2).sum()), rel=1e-6)
    assert result.summary["metric"] == "norm"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"operators": {"burst": {}}}, r"operators.burst: it learns from training rows"),
        ({"promote": {"name": "x"}}, r"promote: a head is tested on held-out rows"),
        ({"tiers": {"fractions": {"ultimate": 1.0}}}, r"tiers: distillation learns from training rows"),
        ({"objectives": ["accuracy"]}, r"is not measured here; choose out of norm, flops, bytes"),
    ],
)
def test_what_needs_data_is_refused_where_there_are_none(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    (tmp_path / "own.py").write_text(NORM)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**STACK, **changes}))
    with pytest.raises(ConfigError, match=words):
        make_plan(load_config(tmp_path / "own.yaml"))


# ---- from the command line -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_campaign_from_the_command_line_is_the_same_on_any_number_of_workers(tmp_path: Path) -> None:
    write(tmp_path, strategy={"kind": "ga", "population": 6}, stop={"generations": 2})
    found = {}
    for workers in (1, 2):
        options = [
            "--workers",
            workers,
            "--address",
            "local",
            "--accept-level",
            "none",
            "--home",
            tmp_path / f"h{workers}",
        ]
        answer = run_apart("run", tmp_path / "own.yaml", *map(str, options), "--json")
        assert answer.code == 0, answer.err
        found[workers] = json.loads(answer.out.splitlines()[-1])
    assert found[1]["lineage"] == found[2]["lineage"]
    scores = found[1]["scores"]["ultimate"]
    assert scores["wrong"] == pytest.approx(1 - scores["accuracy"])
    rebuilt = run_apart("rebuild", found[1]["individual"], "--json", "--home", tmp_path / "h1")
    assert json.loads(rebuilt.out)["same"] is True
