"""From a template's name and settings to the whole graph: what a config writes short is kept at length.

Nouns: none beyond those of `evolve.templates.registry`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from evolve.templates.registry import Interface, Template, get
from population.errors import ConfigError, InvalidGraph, NotFound
from population.graphs.graph import OpGraph
from population.graphs.nodes import Channel, suggest

KEY = "template"
#: Keys of a section that are no settings of the template.
SHAPES = ("inputs", "outputs")


def is_template(section: Mapping[str, Any]) -> bool:
    """Whether a config's section ``graph`` names a template."""
    return KEY in section


def resolve(section: Mapping[str, Any], known: Interface | None) -> dict[str, Any]:
    """The whole graph of ``{template: NAME, inputs: ..., outputs: ..., ...settings}``, in canonical form.

    Args:
        section: ``inputs`` (``{channel: {shape, dtype}}``) and ``outputs`` (``{channel: size}``) may be left out, in whole or
            in part, where ``known`` tells them.

    Raises:
        ConfigError: there is no such template, it has no such setting, or a shape is missing or does not fit.
        InvalidGraph: the settings make a graph that cannot compute.
    """
    try:
        template = get(str(section[KEY]))
    except NotFound as error:
        raise ConfigError(f"graph.template: {error}") from error
    interface = _interface(section, known)
    settings = _settings(template, {k: v for k, v in section.items() if k not in (KEY, *SHAPES)})
    return OpGraph.from_value(template.build(interface, settings)).to_value()


def _settings(template: Template, values: Mapping[str, Any]) -> Any:
    for name in values:
        if name not in template.settings.model_fields:
            known = suggest(name, [*template.settings.model_fields, *SHAPES])
            raise ConfigError(f"graph.{name}: template {template.name!r} has no such setting{known}")
    try:
        return template.settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["graph", *map(str, first["loc"])])
        raise ConfigError(f"{place}: {first['msg']} (got {str(first.get('input'))[:80]})") from error


def _interface(section: Mapping[str, Any], known: Interface | None) -> Interface:
    inputs = {channel.name: channel for channel in known.inputs} if known else {}
    if section.get("inputs") is not None:
        given = _mapping(section["inputs"], "graph.inputs", "{image: {shape: [1, 8, 8]}}")
        inputs = {
            name: _channel(name, value, inputs.get(name), f"graph.inputs.{name}") for name, value in given.items()
        }
    outputs = dict(known.outputs) if known else {}
    if section.get("outputs") is not None:
        given = _mapping(section["outputs"], "graph.outputs", "{logits: 10}")
        outputs = {name: _size(value, f"graph.outputs.{name}") for name, value in given.items()}
    for what, found, example in (("inputs", inputs, "{x: {shape: [4]}}"), ("outputs", outputs, "{logits: 3}")):
        if not found:
            raise ConfigError(f"graph.{what}: no benchmark tells them here: write them out, e.g. {what}: {example}")
    benchmark = known.benchmark if known else None
    return Interface(tuple(inputs[name] for name in sorted(inputs)), outputs, benchmark)


def _mapping(value: Any, where: str, example: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise ConfigError(f"{where}: expected a mapping by channel such as {example}, got {str(value)[:80]!r}")
    return value


def _channel(name: str, value: Any, known: Channel | None, where: str) -> Channel:
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = {"shape": value}
    if value is not None and (not isinstance(value, Mapping) or set(value) - {"shape", "dtype"}):
        raise ConfigError(f"{where}: expected {{shape: [...], dtype: float32}}, got {str(value)[:80]!r}")
    given = value or {}
    if known is None and "shape" not in given:
        raise ConfigError(f"{where}: its shape is not known: write it, e.g. {{shape: [4]}}")
    shape = given.get("shape", known.shape if known else ())
    try:
        return Channel(name, shape, given.get("dtype", known.dtype if known else "float32"))
    except InvalidGraph as error:
        raise ConfigError(f"{where}: {error}") from error


def _size(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{where}: expected how many numbers it gives, at least 1, got {str(value)[:80]!r}")
    return value
