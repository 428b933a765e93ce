"""``cnn``: a small convolutional network on one image, or on one signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from evolve.operators.registry import Settings
from evolve.templates.parts import Activation, Nodes, Widths, heads, layers, node, standardising, whole
from evolve.templates.registry import Interface, Template, register
from population.errors import ConfigError
from population.graphs.nodes import Channel


class CnnSettings(Settings):
    """Attributes:
    channels: widest width of each convolution. kernel: odd, padded so that sizes stay. axes: 2 where an input of two axes is
        an image [rows, columns], 1 where it is a signal [units, places]. pool: halve the image after each convolution but
        the last, while it is at least 4 wide. hidden: linear layers before the heads.
    """

    channels: Widths = Field(default=(16, 32), min_length=1)
    kernel: Annotated[int, Field(ge=1, le=31)] = 3
    axes: Literal[1, 2] = 2
    pool: bool = True
    hidden: Widths = ()
    activation: Activation = "relu"
    standardise: bool = True


def build(interface: Interface, settings: CnnSettings) -> Mapping[str, Any]:
    """Returns the graph: convolutions with their activations, halved in between; what else there is joins before the heads."""
    if settings.kernel % 2 == 0:
        raise ConfigError(f"graph.kernel: expected an odd number, so that padding keeps sizes, got {settings.kernel}")
    image, others = _image(interface)
    nodes, places, last = _as_units(image, settings.axes)
    symbols: dict[str, int] = {}
    axes = len(places)
    for index, width in enumerate(settings.channels, 1):
        symbols[f"c{index}"] = width
        nodes.append(
            node(
                f"conv{index}",
                f"conv{axes}d",
                last,
                out=f"c{index}",
                kernel=settings.kernel,
                padding=settings.kernel // 2,
            )
        )
        nodes.append(node(f"conv{index}.act", settings.activation, f"conv{index}"))
        last = f"conv{index}.act"
        if settings.pool and index < len(settings.channels) and min(places) >= 4:
            nodes.append(node(f"pool{index}", f"max_pool{axes}d", last, kernel=2))
            places, last = tuple(size // 2 for size in places), f"pool{index}"
    nodes.append(node("flat", "flatten", last))
    last = "flat"
    if others:
        nodes.append(node("joined", "concatenate", "flat", *(channel.name for channel in others)))
        last = "joined"
    hidden, last, more = layers(last, settings.hidden, settings.activation)
    ends, outputs = heads(last, interface)
    filters = standardising(interface) if settings.standardise else {}
    return whole(interface, [*nodes, *hidden, *ends], {**symbols, **more}, outputs, filters)


def _image(interface: Interface) -> tuple[Channel, list[Channel]]:
    images = [channel for channel in interface.inputs if 2 <= len(channel.shape) <= 3]
    others = [channel for channel in interface.inputs if len(channel.shape) == 1]
    if len(images) != 1 or len(images) + len(others) != len(interface.inputs):
        found = ", ".join(f"{channel.name} {list(channel.shape)}" for channel in interface.inputs)
        raise ConfigError(
            f"graph.template: cnn reads one image [units, rows, columns] or [rows, columns] or one signal [units, places], and "
            f"vectors beside it, but the inputs are {found}: use mlp, or name one image in graph.inputs"
        )
    return images[0], others


def _as_units(image: Channel, axes: int) -> tuple[Nodes, tuple[int, ...], str]:
    """Nodes that give the image its axis of units, its sizes without it, and the name of the result."""
    shape = image.shape
    if len(shape) == 3 or axes == 1:
        return [], shape[1:], image.name
    return [node("units", "reshape", image.name, shape=[1, *shape])], shape, "units"


cnn = register(Template("cnn", "convolutions on one image or signal: pictures, sensors", CnnSettings, build))
