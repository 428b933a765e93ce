"""The section ``tune`` of a config: what `evolve tune` may change of a campaign, and how it searches.

Nouns: none beyond those of `evolve.config.campaign`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class RangeConfig(_Section):
    """What one key may be: numbers from low to high (whole ones where both are), or one of some choices.

    log: drawn evenly in the logarithm. step: from low in steps of this size.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | float | None = Field(default=None, gt=0)
    choices: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _is_one_of_two(self) -> RangeConfig:
        if self.choices:
            if (self.low, self.high, self.log, self.step) != (None, None, False, None):
                raise ValueError("write choices, or low and high, not both")
            if len({json.dumps(choice, sort_keys=True, default=str) for choice in self.choices}) < len(self.choices):
                raise ValueError("a choice stands twice")
            return self
        if self.low is None or self.high is None:
            raise ValueError("write {low: ..., high: ...} or {choices: [...]}")
        if not self.low < self.high:
            raise ValueError(f"low must be less than high, not {self.low} and {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log asks for a low above zero, and for no step")
        if self.is_whole and isinstance(self.step, float):
            raise ValueError("low and high are whole numbers, so step must be one too")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class PrunerConfig(_Section):
    """When a trial is stopped early: "median" where it lies below the median of the finished ones at an equal part of the
    budget. startup: so many must have finished first; warmup: part of the budget that every trial gets."""

    kind: Literal["median", "none"] = "median"
    startup: int = Field(default=5, ge=1)
    warmup: float = Field(default=0.3, ge=0, lt=1)


class TuneConfig(_Section):
    """What `evolve tune` tries: keys and their ranges, how often, and by which score of a campaign's champion.

    trials: in all, the config's own settings being the first. objective: one of the campaign's (its first); tier: at which
    the champion is scored. startup: trials drawn evenly before the sampler learns.
    """

    ranges: Mapping[str, RangeConfig] = Field(min_length=1)
    trials: int = Field(default=30, ge=1, le=10_000)
    objective: str | None = None
    tier: Literal["lite", "pro", "ultimate"] = "ultimate"
    startup: int = Field(default=8, ge=1)
    pruner: PrunerConfig = PrunerConfig()
