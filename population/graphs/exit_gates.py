"""Exit gates: declarative conditions on outputs that end a computation early.

A gate stands after a tier, or after an intermediate output channel, or both; it passes for each sample by itself. It is
data: nothing in it runs code. A threshold is a number, or ``$name``, a value that a request brings (or the gate's default).

A rule is written ``"confidence(logits) > 0.95"``, or ``{all: [...]}``, or ``{any: [...]}`` of such rules.

Nouns: *condition* (one measure of one channel against one threshold), *rule* (conditions joined by all or any), *gate*.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from population.errors import InputError, InvalidGraph
from population.graphs.nodes import check_name, suggest
from population.lazy_torch import torch

MAX_RULES: Final = 64
MAX_DEPTH: Final = 8
MAX_GATES: Final = 64
_KEYS: Final = ("defaults", "output", "tier", "when")
_CONDITION: Final = re.compile(r"\s*(\w+)\s*\(\s*([\w.-]+)\s*\)\s*(>=|<=|>|<)\s*(\$?[\w.+-]+)\s*", re.ASCII)
_PARAMETER: Final = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]{0,63}")


def _probabilities(values: torch.Tensor) -> torch.Tensor:
    return torch.softmax(values, dim=1)


def _margin(values: torch.Tensor) -> torch.Tensor:
    if values.shape[1] < 2:
        return torch.ones(values.shape[0])
    best = _probabilities(values).topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def _entropy(values: torch.Tensor) -> torch.Tensor:
    return -(_probabilities(values) * torch.log_softmax(values, dim=1)).sum(dim=1)


#: ``[N, K] -> [N]``. confidence: the largest softmax probability. margin: how far it lies above the second. entropy: of the
#: softmax, in nats. max, min, norm (Euclidean): of the values. count: how many values are above 0.
MEASURES: Final[Mapping[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "confidence": lambda values: _probabilities(values).amax(dim=1),
    "count": lambda values: (values > 0).sum(dim=1).to(torch.float32),
    "entropy": _entropy,
    "margin": _margin,
    "max": lambda values: values.amax(dim=1),
    "min": lambda values: values.amin(dim=1),
    "norm": lambda values: values.square().sum(dim=1).sqrt(),
}
COMPARISONS: Final[Mapping[str, Callable[[torch.Tensor, float], torch.Tensor]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True)
class Condition:
    """One measure of one output channel against a threshold, a number or ``"$name"``."""

    measure: str
    channel: str
    compare: str
    threshold: float | str

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise InvalidGraph(f"gate: there is no measure {self.measure[:40]!r}{suggest(self.measure, MEASURES)}")
        if self.compare not in COMPARISONS:
            raise InvalidGraph(f"gate: comparison {self.compare[:40]!r}: choose one of {', '.join(COMPARISONS)}")
        check_name(self.channel, "gate: output channel")
        if isinstance(self.threshold, str):
            if _PARAMETER.fullmatch(self.threshold) is None:
                raise InvalidGraph(f"gate: threshold {self.threshold[:80]!r}: expected a number or $name")
        elif not math.isfinite(self.threshold):
            raise InvalidGraph(f"gate: threshold must be finite, got {self.threshold}")

    def passes(self, outputs: Mapping[str, torch.Tensor], values: Mapping[str, float]) -> torch.Tensor:
        """Which samples meet it, bool ``[N]``; NaN meets nothing."""
        channel = outputs.get(self.channel)
        if channel is None:
            raise InputError(
                f"gate {self.text}: output channel {self.channel!r} is missing{suggest(self.channel, outputs)}"
            )
        measured = MEASURES[self.measure](channel.to(torch.float32).reshape(channel.shape[0], -1))
        return COMPARISONS[self.compare](measured, self._threshold(values))

    def _threshold(self, values: Mapping[str, float]) -> float:
        if not isinstance(self.threshold, str):
            return self.threshold
        name = self.threshold[1:]
        if name not in values:
            raise InputError(f"gate {self.text}: the request gives no value for {name!r}{suggest(name, values)}")
        value = float(values[name])
        if not math.isfinite(value):
            raise InputError(f"gate {self.text}: the value for {name!r} must be finite, got {value}")
        return value

    @property
    def text(self) -> str:
        """The condition as it is written."""
        number = self.threshold if isinstance(self.threshold, str) else repr(float(self.threshold))
        return f"{self.measure}({self.channel}) {self.compare} {number}"


@dataclass(frozen=True)
class Joined:
    """Rules of which all, or any, must hold."""

    join: Literal["all", "any"]
    rules: tuple[Rule, ...]

    def passes(self, outputs: Mapping[str, torch.Tensor], values: Mapping[str, float]) -> torch.Tensor:
        """Which samples meet it, bool ``[N]``."""
        each = torch.stack([rule.passes(outputs, values) for rule in self.rules])
        return each.all(dim=0) if self.join == "all" else each.any(dim=0)


Rule = Condition | Joined


@dataclass(frozen=True)
class ExitGate:
    """Where a computation may end, and when.

    Attributes:
        rule: what must hold. tier: the tier after which it is asked; None: after every one.
        output: the intermediate channel that then is the answer; None: the block's outputs as usual.
        defaults: values of ``$name`` that a request may override.
    """

    rule: Rule
    tier: str | None = None
    output: str | None = None
    defaults: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tier is None and self.output is None:
            raise InvalidGraph("gate: name a tier or an output channel that it stands after, e.g. tier: lite")
        if self.output is not None:
            check_name(self.output, "gate: output channel")
        for name, value in self.defaults.items():
            if f"${name}" not in self.parameters:
                raise InvalidGraph(f"gate: default {str(name)[:80]!r} is not used{suggest(name, self._own_names)}")
            number: object = value
            if not isinstance(number, int | float) or isinstance(number, bool) or not math.isfinite(number):
                raise InvalidGraph(f"gate: default {name!r} must be a finite number, got {value!r}"[:300])

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All conditions of the rule, in order."""
        return tuple(_conditions(self.rule))

    @property
    def channels(self) -> tuple[str, ...]:
        """The output channels that the gate looks at, sorted."""
        return tuple(sorted({condition.channel for condition in self.conditions}))

    @property
    def parameters(self) -> tuple[str, ...]:
        """The ``$name`` thresholds, sorted."""
        return tuple(sorted({c.threshold for c in self.conditions if isinstance(c.threshold, str)}))

    @property
    def _own_names(self) -> list[str]:
        return [name[1:] for name in self.parameters]

    def passes(self, outputs: Mapping[str, torch.Tensor], request: Mapping[str, float] | None = None) -> torch.Tensor:
        """For which samples the computation may end, bool ``[N]``. Shapes: outputs ``[N, ...]`` by channel.

        Raises: InputError where a channel, or the value of a ``$name``, is missing.
        """
        return self.rule.passes(outputs, {**self.defaults, **(request or {})})

    def to_value(self) -> dict[str, Any]:
        """The gate as plain values; ``from_value`` reads it back."""
        value: dict[str, Any] = {"when": _rule_to_value(self.rule)}
        if self.tier is not None:
            value["tier"] = self.tier
        if self.output is not None:
            value["output"] = self.output
        if self.defaults:
            value["defaults"] = {name: float(number) for name, number in sorted(self.defaults.items())}
        return value

    @staticmethod
    def from_value(value: object) -> ExitGate:
        """The gate of ``{tier: lite, when: "confidence(logits) > 0.95"}``. Raises: InvalidGraph."""
        if not isinstance(value, Mapping) or "when" not in value:
            raise InvalidGraph(f"gate: expected {{tier: lite, when: 'confidence(logits) > 0.95'}}, got {value!r}"[:300])
        for key in value:
            if key not in _KEYS:
                raise InvalidGraph(f"gate: there is no key {str(key)[:40]!r}{suggest(key, _KEYS)}")
        defaults, tier, output = value.get("defaults", {}), value.get("tier"), value.get("output")
        if not isinstance(defaults, Mapping):
            raise InvalidGraph(f"gate: defaults: expected values by name, got {defaults!r}"[:300])
        gate = ExitGate(_rule_from_value(value["when"], 0), tier, output, dict(defaults))
        if len(gate.conditions) > MAX_RULES:
            raise InvalidGraph(f"gate: {len(gate.conditions)} conditions where at most {MAX_RULES} are allowed")
        return gate


def check_gates(gates: Sequence[ExitGate], channels: Sequence[str], tiers: Sequence[str]) -> None:
    """Refuses gates that look at channels or stand after tiers that are not there. Raises: InvalidGraph."""
    if len(gates) > MAX_GATES:
        raise InvalidGraph(f"gates: {len(gates)} where at most {MAX_GATES} are allowed")
    for gate in gates:
        for channel in (*gate.channels, *([gate.output] if gate.output is not None else [])):
            if channel not in channels:
                raise InvalidGraph(f"gate: there is no output channel {channel!r}{suggest(channel, channels)}")
        if gate.tier is not None and gate.tier not in tiers:
            raise InvalidGraph(f"gate: there is no tier {str(gate.tier)[:40]!r}{suggest(gate.tier, tiers)}")


def _conditions(rule: Rule) -> Iterator[Condition]:
    if isinstance(rule, Condition):
        yield rule
    else:
        for part in rule.rules:
            yield from _conditions(part)


def _rule_to_value(rule: Rule) -> Any:
    return rule.text if isinstance(rule, Condition) else {rule.join: [_rule_to_value(part) for part in rule.rules]}


def _rule_from_value(value: object, depth: int) -> Rule:
    if depth > MAX_DEPTH:
        raise InvalidGraph(f"gate: rules nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        return _condition(value)
    if isinstance(value, Mapping) and len(value) == 1:
        ((join, parts),) = value.items()
        if join in ("all", "any") and isinstance(parts, list | tuple) and 1 <= len(parts) <= MAX_RULES:
            return Joined(join, tuple(_rule_from_value(part, depth + 1) for part in parts))
    raise InvalidGraph(
        f"gate: expected 'confidence(logits) > 0.95', {{all: [...]}} or {{any: [...]}}, got {value!r}"[:300]
    )


def _condition(text: str) -> Condition:
    found = _CONDITION.fullmatch(text) if len(text) <= 400 else None
    if found is None:
        raise InvalidGraph(
            f"gate: {text[:80]!r} is no condition: write e.g. 'confidence(logits) > 0.95' or 'count(boxes) >= $n'"
        )
    measure, channel, compare, threshold = found.groups()
    if threshold.startswith("$"):
        return Condition(measure, channel, compare, threshold)
    try:
        return Condition(measure, channel, compare, float(threshold))
    except ValueError as error:
        raise InvalidGraph(f"gate: {text[:80]!r}: {error}") from error
