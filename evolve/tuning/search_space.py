"""What a study may change of a config: which keys, within which ranges, and from where it starts.

Nouns: *space* (the ranges with the config's own settings), *parameter* (what a range draws: a number, or the label of a
choice), *settings* (parameters by key).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from evolve import operators
from evolve.config.campaign import CampaignConfig, check_config, set_key
from evolve.config.tune import RangeConfig, TuneConfig
from evolve.operators.registry import check_settings
from evolve.planning.plan import Plan, distil_settings
from evolve.recipes.recipe import settings_value
from population.errors import ConfigError
from population.registry import nearest

#: Keys that no study changes, and why not.
FIXED = {
    "name": "it changes nothing that is scored",
    "run": "it changes nothing that is scored",
    "promote": "it changes nothing that is scored",
    "tune": "a study does not change itself",
    "stop": "all trials get the same budget; strategy and operators decide what they make of it",
    "seed": "the best seed is luck, no setting",
    "benchmark": "scores of other data or other rows cannot be compared",
    "objectives": "scores by other objectives cannot be compared",
}

Parameter = int | float | str
Settings = Mapping[str, Parameter]


@dataclass(frozen=True)
class Space:
    """The ranges of a study. values: the config that they change, as plain values; start: its own settings."""

    values: Mapping[str, Any]
    ranges: Mapping[str, RangeConfig]
    start: Settings

    def applied(self, settings: Settings) -> dict[str, Any]:
        """Returns the plain values of the config with these settings, without the section ``tune``."""
        values = {name: copy.deepcopy(value) for name, value in self.values.items() if name != "tune"}
        for key, parameter in settings.items():
            set_key(values, key, value_of(self.ranges[key], parameter))
        return values


def make_space(values: Mapping[str, Any], plan: Plan, where: str) -> Space:
    """Returns the space of a config with a section ``tune``.

    Args:
        values: the config as plain values. plan: what was made of them. where: the file's name, for messages.

    Raises:
        ConfigError: a key is none, may not change, has no value to start from or one outside its range, or cannot take an end
            of its range.
    """
    assert plan.config.tune is not None
    ranges = plan.config.tune.ranges
    resolved = resolved_values(plan)
    places = {key: f"{where}: tune.ranges.{key}" for key in ranges}
    for key, place in places.items():
        _check_key(key, list(ranges), place)
    start = {key: _start_of(key, found, (values, resolved), places[key]) for key, found in ranges.items()}
    space = Space(values, ranges, start)
    for key, found in ranges.items():
        for parameter in _ends(found):
            _check_end(space, key, parameter, places[key])
    return space


def objective_of(config: CampaignConfig, where: str) -> str:
    """Returns the objective that a config's study goes by. Raises ConfigError where its campaigns do not follow it."""
    assert config.tune is not None
    wanted = config.tune.objective or config.objectives[0]
    if wanted not in config.objectives:
        known = list(config.objectives)
        raise ConfigError(f"{where}: tune.objective: {wanted!r} is not among objectives {known}; add it there")
    return wanted


def check_tier(tune: TuneConfig, plan: Plan, where: str) -> None:
    """Raises ConfigError where champions of this plan have no such tier as the study scores."""
    known = list(plan.fractions) or ["ultimate"]
    if tune.tier not in known:
        raise ConfigError(f"{where}: tune.tier: champions are scored at {', '.join(known)}, not at {tune.tier!r}")


def label_of(found: RangeConfig, value: Any) -> Parameter:
    """Returns the parameter that stands for a value: itself where it is a number of a range, else its text.

    >>> label_of(RangeConfig(choices=("ga", "nsga2")), "ga"), label_of(RangeConfig(choices=(1, [2])), [2])
    ('ga', '[2]')
    """
    if not found.choices:
        return value if found.is_whole else float(value)
    is_plain = all(isinstance(choice, str) for choice in found.choices)
    return str(value) if is_plain else json.dumps(value)


def value_of(found: RangeConfig, parameter: Parameter) -> Any:
    """Returns the value of a config's key that a parameter stands for."""
    if not found.choices:
        return parameter
    return next(choice for choice in found.choices if label_of(found, choice) == parameter)


def resolved_values(plan: Plan) -> dict[str, Any]:
    """Returns a config's plain values with the defaults of its operators, its strategy and its distillation filled in."""
    values = plan.config.model_dump(mode="json")
    typed = {key.partition("@")[0]: settings_value(text) for key, text in plan.problem.settings.items()}
    for name, section in values["operators"].items():
        section["settings"] = typed[name.partition("@")[0]]
    options = plan.problem.options
    values["strategy"]["settings"] = options.model_dump(mode="json") if hasattr(options, "model_dump") else {}
    values["init"] = check_settings(operators.get("init@1"), plan.config.init).model_dump(mode="json")
    if plan.config.tiers is not None:
        distil = settings_value(distil_settings(plan, plan.graph.symbols))
        values["tiers"]["distil"] = {name: value for name, value in distil.items() if name != "tiers"}
    return values


def _check_key(key: str, keys: list[str], place: str) -> None:
    first = key.split(".", maxsplit=1)[0]
    if first in FIXED:
        raise ConfigError(f"{place}: {first!r} is not tuned: {FIXED[first]}. Leave it out")
    above = next((other for other in keys if key.startswith(f"{other}.")), None)
    if above is not None:
        raise ConfigError(f"{place}: it lies within {above!r}, which has a range too: leave one of them out")


def _start_of(key: str, found: RangeConfig, written: tuple[Mapping[str, Any], ...], place: str) -> Parameter:
    """Returns the config's own value of a key as a parameter: as somebody wrote it, or with all defaults filled in."""
    *_, resolved = written
    value = _value_at(resolved, key, place)
    values = [value]
    with suppress(ConfigError):
        values.insert(0, _value_at(written[0], key, place))
    fitting = [each for each in values if _holds(found, each)]
    if not fitting:
        raise ConfigError(
            f"{place}: the config's own value, {json.dumps(value)}, is not in the range, and every study starts from it: "
            "widen the range, or write another value"
        )
    return label_of(found, fitting[0])


def _value_at(values: Mapping[str, Any], key: str, place: str) -> Any:
    value: Any = values
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            known = list(value) if isinstance(value, Mapping) else []
            near = nearest(part, known)
            hint = f"Did you mean {near!r}?" if near else f"Known keys here: {', '.join(known) or 'none'}."
            raise ConfigError(f"{place}: this config has no {part!r} to tune. {hint}")
        value = value[part]
    return value


def _holds(found: RangeConfig, value: Any) -> bool:
    if found.choices:
        return any(_same(choice, value) for choice in found.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    assert found.low is not None
    assert found.high is not None
    if not found.low <= value <= found.high or (found.is_whole and value != int(value)):
        return False
    steps = (value - found.low) / found.step if found.step else 0.0
    return abs(steps - round(steps)) < 1e-8


def _same(choice: Any, value: Any) -> bool:
    """Whether a choice is this value: JSON knows neither tuples nor, for numbers, 3 from 3.0."""
    plain = json.loads(json.dumps(choice))
    return bool(plain == value) and isinstance(plain, bool) == isinstance(value, bool)


def _ends(found: RangeConfig) -> list[Parameter]:
    values = found.choices or (found.low, found.high)
    return [label_of(found, value) for value in values]


def _check_end(space: Space, key: str, parameter: Parameter, place: str) -> None:
    """Refuses what this key can never be. What does not fit together with other keys is found trial by trial."""
    values = space.applied({key: parameter})
    try:
        check_config(values, "there")
    except ConfigError as error:
        raise ConfigError(
            f"{place}: it cannot be {json.dumps(value_of(space.ranges[key], parameter))}: {error}"
        ) from error
