"""The section ``fitness`` of a config: a Python function of one's own that measures objectives.

Nouns: none beyond those of `evolve.config.campaign`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class FitnessConfig(BaseModel):
    """A Python function of one's own that measures objectives, run in a jail of its own.

    Attributes:
        file: where it is defined, beside the config or from the folder one is in; read when the campaign begins, and kept in
            ``source``. function: its name there.
        names: what it returns numbers for, each max or min.
        takes: "outputs": ``function(outputs, targets)``, candidate by candidate; "stack": ``function(stack)``, without data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = ""
    function: str = Field(default="fitness", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
    names: Mapping[str, Literal["max", "min"]] = Field(min_length=1)
    takes: Literal["outputs", "stack"] = "outputs"
    source: str = Field(default="", max_length=1 << 18)

    @model_validator(mode="after")
    def _has_one(self) -> FitnessConfig:
        if not self.file and not self.source:
            raise ValueError("name the file that defines it, e.g. file: my_fitness.py")
        return self


def with_fitness_defaults(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a config's plain values with what follows from its section ``fitness``: the function's numbers are the
    objectives where none are named; one of stacks needs no data, and has no rows to distil tiers on.
    """
    section = values.get("fitness")
    if not isinstance(section, Mapping):
        return values
    found = dict(values)
    if isinstance(section.get("names"), Mapping):
        named = [str(name) for name in section["names"]]
        found["objectives"] = named if found.get("objectives", ["auto"]) == ["auto"] else found["objectives"]
    if section.get("takes") == "stack":
        found.setdefault("benchmark", {"dataset": "nothing"})
        found.setdefault("tiers", None)
    return found


def find_beside(section: Any, config: Path) -> None:
    """Makes the path of a fitness function's file absolute where it lies beside the config."""
    if isinstance(section, dict) and isinstance(section.get("file"), str):
        beside = config.absolute().parent / section["file"]
        if beside.is_file():
            section["file"] = str(beside)
