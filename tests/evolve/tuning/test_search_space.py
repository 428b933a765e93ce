"""What a study may change: wrong sections are refused with a line that names the key; settings go into a config and back."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from evolve.config.campaign import check_config, load_config, read_config, set_key
from evolve.planning.plan import make_plan
from evolve.tuning.search_space import make_space, resolved_values
from evolve.tuning.tuning import make_tuning, spent_parts, uneven_budget
from population.errors import ConfigError
from tests.evolve import whole
from tests.evolve.cli.conftest import CONFIG
from tests.evolve.tuning.test_tuning import progress

POPULATION = {"strategy.population": {"low": 2, "high": 8}}


def values(tune: Any, **changes: Any) -> dict[str, Any]:
    return copy.deepcopy({**CONFIG, **changes, "tune": tune})


def refusal(tune: Any, **changes: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        make_tuning(values(tune, **changes), "tiny.yaml")
    return str(refused.value)


WRONG: dict[str, tuple[Any, list[str]]] = {
    "none": (None, ["nothing to tune", "tune: {ranges:"]),
    "empty": ({}, ["tune.ranges", "missing"]),
    "no range": ({"ranges": {}}, ["tune.ranges"]),
    "misspelt": ({"ranges": POPULATION, "trails": 3}, ["tune.trails", "Did you mean 'trials'?"]),
    "half a range": (
        {"ranges": {"exploration": {"low": 0.1}}},
        ["tune.ranges.exploration", "write {low: ..., high: ...}"],
    ),
    "both": ({"ranges": {"exploration": {"low": 0, "high": 1, "choices": [1]}}}, ["exploration", "not both"]),
    "twice": ({"ranges": {"strategy.kind": {"choices": ["ga", "ga"]}}}, ["strategy.kind", "stands twice"]),
    "upside down": ({"ranges": {"exploration": {"low": 1, "high": 0.1}}}, ["low must be less than high"]),
    "log of zero": ({"ranges": {"exploration": {"low": 0.0, "high": 1.0, "log": True}}}, ["low above zero"]),
    "unknown key": (
        {"ranges": {"strategy.populaton": {"low": 2, "high": 8}}},
        ["populaton", "Did you mean 'population'?"],
    ),
    "unknown setting": (
        {"ranges": {"operators.burst.settings.rate": {"low": 0.1, "high": 0.2}}},
        ["tune.ranges.operators.burst.settings.rate", "learning_rate"],
    ),
    "not in the portfolio": ({"ranges": {"operators.mean.weight": {"low": 1, "high": 2}}}, ["'mean'", "burst"]),
    "an end that cannot be": (
        {"ranges": {"strategy.population": {"low": 1, "high": 8}}},
        ["cannot be 1", "greater than"],
    ),
    "start outside": ({"ranges": {"strategy.population": {"low": 8, "high": 16}}}, ["own value, 4", "widen the range"]),
    "start between steps": ({"ranges": {"strategy.population": {"low": 3, "high": 9, "step": 2}}}, ["own value, 4"]),
    "the budget": ({"ranges": {"stop.generations": {"low": 2, "high": 8}}}, ["'stop' is not tuned", "same budget"]),
    "the seed": ({"ranges": {"seed": {"low": 0, "high": 8}}}, ["'seed' is not tuned"]),
    "within another": (
        {"ranges": {"strategy": {"choices": [{"kind": "ga"}]}, "strategy.kind": {"choices": ["ga"]}}},
        ["tune.ranges.strategy.kind", "lies within 'strategy'"],
    ),
    "another objective": ({"ranges": POPULATION, "objective": "flops"}, ["tune.objective", "['accuracy']"]),
    "another tier": ({"ranges": POPULATION, "tier": "pro"}, ["tune.tier", "lite, ultimate"]),
}


@pytest.mark.parametrize(("tune", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_section_is_refused_by_a_line_that_names_the_key(tune: Any, words: list[str]) -> None:
    message = refusal(tune)
    assert message.startswith("tiny.yaml: ")
    for word in words:
        assert word in message


def test_the_section_is_in_no_hash_and_in_no_config_that_a_campaign_keeps() -> None:
    plain, tuned = check_config(CONFIG), check_config(values({"ranges": POPULATION}))
    assert (tuned.key, tuned.config_hash) == (plain.key, plain.config_hash)
    assert tuned.model_dump(mode="json") == plain.model_dump(mode="json")
    assert tuned.tune is not None


def test_a_study_starts_from_the_config_with_all_its_defaults() -> None:
    ranges = {
        **POPULATION,
        "operators.burst.settings.learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
        "operators.gaussian.weight": {"low": 1, "high": 4},
        "strategy.settings.elites": {"low": 0, "high": 3},
        "tiers.distil.temperature": {"low": 1.0, "high": 4.0},
        "widths": {"choices": [{}, {"hidden": [8, 16]}]},
        "strategy.kind": {"choices": ["ga", "nsga2"]},
    }
    tuning = make_tuning(values({"ranges": ranges}), "tiny.yaml")
    resolved = resolved_values(make_plan(tuning.config))
    assert tuning.space.start == {
        "strategy.population": 4,
        "operators.burst.settings.learning_rate": resolved["operators"]["burst"]["settings"]["learning_rate"],
        "operators.gaussian.weight": 1.0,
        "strategy.settings.elites": 2,
        "tiers.distil.temperature": 2.0,
        "widths": "{}",
        "strategy.kind": "ga",
    }
    assert check_config(tuning.space.applied(tuning.space.start)).tune is None
    other = check_config(tuning.space.applied({"widths": '{"hidden": [8, 16]}', "strategy.population": 7}))
    assert (other.widths, other.strategy.population) == ({"hidden": (8, 16)}, 7)


def test_the_start_is_the_config_itself() -> None:
    """Its campaign has the key of the config's own, so a campaign that was run before is found done."""
    tuning = make_tuning(values({"ranges": {"exploration": {"low": 0.0, "high": 1.0}, **POPULATION}}), "tiny.yaml")
    assert check_config(tuning.space.applied(tuning.space.start)).key == check_config(CONFIG).key


def test_the_config_that_ships_is_a_study_of_equal_budgets() -> None:
    path = whole.ROOT / "configs" / "digits-tune.yaml"
    tuning = make_tuning(read_config(path), str(path))
    assert uneven_budget(tuning) is None
    assert (tuning.objective, tuning.rules.is_maximised) == ("cross_entropy", False)
    uneven = make_tuning(read_config(path, ["stop={generations: 5}"]), str(path))
    assert "strategy.population is tuned, and stop.flops is not set" in str(uneven_budget(uneven))


def test_overrides_reach_ranges_by_their_dotted_names() -> None:
    path = whole.ROOT / "configs" / "digits-tune.yaml"
    changes = [
        "tune.ranges.strategy.population={low: 20, high: 30}",
        "tune.ranges.exploration.high=0.7",
        "tune.trials=3",
    ]
    config = load_config(path, changes)
    assert config.tune is not None
    assert (config.tune.ranges["strategy.population"].low, config.tune.trials) == (20, 3)
    assert config.tune.ranges["exploration"].high == 0.7
    assert len(config.tune.ranges) == 5


def test_a_key_is_set_where_it_belongs() -> None:
    found: dict[str, Any] = {"a": {"b.c": {"d": 1}, "b": 3}}
    set_key(found, "a.b.c.d", 2)
    set_key(found, "x.y", 4)
    assert found == {"a": {"b.c": {"d": 2}, "b": 3}, "x": {"y": 4}}
    with pytest.raises(ConfigError, match="b is not a mapping"):
        set_key(found, "a.b.e", 1)


def test_the_name_of_a_study_follows_from_what_decides_what_it_does() -> None:
    tune: dict[str, Any] = {"ranges": POPULATION}
    name = make_tuning(values(tune), "a.yaml").rules.name
    assert name.startswith("tiny-")
    for same in (values({**tune, "trials": 99}), values(tune, promote=None), values(tune, run={"workers": 3})):
        assert make_tuning(same, "b.yaml").rules.name == name
    for other in (values(tune, seed=1), values({**tune, "startup": 3}), values(tune, exploration=0.5)):
        assert make_tuning(other, "a.yaml").rules.name != name


def test_the_budget_is_cut_into_ten_parts_of_what_runs_out_first() -> None:
    stop = check_config({**CONFIG, "stop": {"generations": 8, "evaluations": 100}}).stop
    assert [
        spent_parts(stop, progress(generation=g, evaluations=e)) for g, e in ((0, 0), (1, 5), (1, 55), (9, 60))
    ] == [
        0,
        1,
        5,
        10,
    ]
    unlimited = check_config({**CONFIG, "stop": {"patience": 4}}).stop
    assert spent_parts(unlimited, progress(generation=13)) == 13


def test_a_space_is_made_of_the_values_as_they_were_written() -> None:
    written = values({"ranges": POPULATION})
    space = make_space(written, make_plan(check_config(written)), "tiny.yaml")
    before = copy.deepcopy(written)
    space.applied({"strategy.population": 8})
    assert written == before
