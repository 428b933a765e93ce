"""The section ``model`` of a config: a PyTorch module of one's own that a campaign begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ModelConfig(BaseModel):
    """A module that is taken in and made better: its block is the first individual, and the first head.

    Attributes:
        path: of the Python file. name: the class or function in it that makes the module, where it has several.
        weights: of a safetensors file, or of one of ``torch.save``. files: others that it imports; modules: installed ones.
        block: the id of the block that it became; it alone is part of the campaign key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = ""
    name: str | None = None
    weights: str | None = None
    files: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    block: str = Field(default="", pattern=r"^(b[a-z2-7]{20,100})?$")


def with_model_defaults(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the values of a config, in which ``model: FILE`` means its path, and a model brings the graph."""
    model = values.get("model")
    if model is None:
        return values
    return {"graph": {}, **values, "model": {"path": model} if isinstance(model, str) else model}
