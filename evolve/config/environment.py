"""The section ``benchmark.environment`` of a config: a simulator that policies play, in the place of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class VariantConfig(_Model):
    """Another world of an environment, a skill of its own. kwargs: to its constructor; attributes: set on it once it is made
    (a mass, a length); reset: options of every reset (where episodes begin)."""

    kwargs: Mapping[str, Any] = {}
    attributes: Mapping[str, float] = {}
    reset: Mapping[str, Any] = {}


class EpisodesConfig(_Model):
    """How many episodes each candidate plays, of every variant: in a generation, on validation, and held out."""

    train: int = Field(default=4, ge=1, le=4096)
    validation: int = Field(default=16, ge=1, le=4096)
    heldout: int = Field(default=16, ge=2, le=4096)


class EnvironmentConfig(_Model):
    """A Gymnasium environment. id: ``Name-v0``, or ``module:Name-v0`` for one that a module registers; max_steps: after so
    many an episode is over, the registered limit by default."""

    id: str
    kwargs: Mapping[str, Any] = {}
    max_steps: int | None = Field(default=None, ge=1, le=1_000_000)
    episodes: EpisodesConfig = EpisodesConfig()
    variants: Mapping[str, VariantConfig] = {}


def names_one_task(dataset: object, environment: object, data: object) -> None:
    """Refuses a config that names no task, or several. Raises ValueError."""
    named = {"benchmark.dataset": dataset, "benchmark.environment": environment, "data.path": data}
    given = [key for key, value in named.items() if value is not None]
    if not given:
        raise ValueError(
            "key 'benchmark.dataset' is missing (a known benchmark), or benchmark.environment (a simulator), or data.path (a "
            "file of your own)"
        )
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} exclude each other: leave one of them out")
