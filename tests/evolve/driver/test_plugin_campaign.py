"""A campaign over a graph with a plugin's operation: its children are made in a jail, to the bits that they have outside."""

from __future__ import annotations

import tests.plugins.gentle as _registers  # noqa: F401
from evolve.operators import get
from evolve.recipes.materialise import runs_plugins
from fitness.evaluators.in_process import InProcessEvaluator
from fitness.judges.judge import SubprocessJudge
from population.lineage.format.records import Births, Commit
from tests.evolve import small
from tests.fitness.toys import toy_graph, unit_of

PLUGINS = ["tests.plugins.gentle"]


def births_of(commits: list[Commit]) -> list[Births]:
    return [births for commit in commits for births in commit.births]


def test_every_operator_makes_the_same_bits_in_the_jail() -> None:
    graph = dict(small.values()["graph"])
    end = {"name": "end", "op": "gentle", "inputs": ["head"]}
    plan = small.plan_of(
        graph={**graph, "nodes": [*graph["nodes"], end], "outputs": {"logits": "end"}},
        plugins=PLUGINS,
        strategy={"kind": "nsga2", "population": 12},
        stop={"generations": 2},
        tiers=None,
        seed=3,
    )
    inside = InProcessEvaluator(
        plan.benchmark, small.MATERIALISE, judge=SubprocessJudge(plugins=PLUGINS), plugins=PLUGINS
    )
    _, outside, _ = small.play(plan)
    _, jailed, _ = small.play(plan, evaluator=inside)
    made = births_of(jailed)
    assert len({name for births in made for name in births.operator}) >= 5
    assert sum(digest is not None for births in made for digest in births.weights_digest) >= 24
    for here, there in zip(births_of(outside), made, strict=True):
        assert list(here.weights_digest) == list(there.weights_digest)
        assert list(here.verdict) == list(there.verdict)


def test_an_operator_is_a_plugins_by_where_its_function_lies() -> None:
    import tests.plugins.sabotage as _adds  # noqa: F401

    assert get("sabotage").is_plugin
    assert not any(
        get(key).is_plugin for key in ("adopt@1", "burst@1", "distil@1", "gaussian@1", "init@1", "uniform@1")
    )
    assert runs_plugins(unit_of(toy_graph(), seeds=[1], operators=["init@1", "sabotage@1"]))
    assert not runs_plugins(unit_of(toy_graph(), seeds=[1], operators=["init@1", "gaussian@1"]))
    assert not runs_plugins(unit_of(toy_graph(), seeds=[1], operators=["nobody@1"]))
