"""The section ``data`` of a config: a file of one's own in the place of a named benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from population.inputs.cells import MISSING


class TargetConfig(BaseModel):
    """One of several arrays to tell: what it is, its loss, what the loss weighs beside the others'."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    task: Literal["auto", "classification", "regression"] = "auto"
    loss: Literal["", "cross_entropy", "squared", "absolute", "huber"] = ""
    weight: float = Field(default=1.0, gt=0)
    class_weights: Literal["none", "balanced"] = "none"


class DataConfig(BaseModel):
    """A file of one's own in the place of a named benchmark: a table (CSV, Parquet, or rows of JSON) with a target column, or
    arrays (.npz, or one .npy with another one of targets).

    Attributes:
        path: of the file; it stays outside the campaign key, for which ``digest`` stands, BLAKE3 of the file's bytes.
        target: the column or array to tell. targets: several arrays to tell, by name, in its place. inputs: the arrays that
            blocks read; by default all that are not told. target_path: of a .npy, the .npy of what is to be told.
        task: what it is; found out by default. columns: what a column holds, by name, where it was taken for something else.
        missing: words that stand for a missing value. delimiter, encoding: of a CSV.
        class_weights: what a row of each class counts in training, "balanced" so that rare classes count as much.
        format: by the file's name where it is not said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    path: str
    target: str | None = None
    targets: Mapping[str, TargetConfig] = {}
    inputs: tuple[str, ...] = ()
    target_path: str | None = None
    task: Literal["auto", "classification", "regression"] = "auto"
    columns: Mapping[str, Literal["number", "boolean", "date", "date-dmy", "date-mdy", "category", "drop"]] = {}
    missing: tuple[str, ...] = MISSING
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    encoding: str = "utf-8"
    class_weights: Literal["none", "balanced"] = "none"
    format: Literal["csv", "parquet", "json", "npz"] | None = None
    digest: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")

    @model_validator(mode="after")
    def _has_one_kind_of_target(self) -> DataConfig:
        if self.target is not None and self.targets:
            raise ValueError("data.target names one, data.targets several: leave one of them out")
        return self

    @field_validator("target", mode="before")
    @classmethod
    def _is_a_name(cls, value: Any) -> Any:
        """A column may be called 1; what YAML takes for true must be quoted."""
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
