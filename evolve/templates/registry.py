"""The registry of templates: graphs to start from, by name, that fit the inputs and outputs they are asked for.

Adding one is a file with one ``register`` call, here or in a package that names its module under the entry-point group
``evolve.templates``; such packages are loaded when a name is asked for that is not known yet.

Nouns: *template* (a name and a function that writes a graph), *interface* (the channels that the graph reads and gives).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evolve.operators.registry import Settings
from fitness.benchmarks.benchmark import Benchmark
from fitness.benchmarks.episodes import ACTION
from fitness.work.task import Task
from population.graphs.nodes import Channel
from population.registry import Registry

ENTRY_POINTS = "evolve.templates"


@dataclass(frozen=True)
class Interface:
    """What a graph is to read and to give.

    Attributes:
        inputs: the channels, sorted by name. outputs: how many numbers each output channel gives, the principal one first.
        benchmark: the data, where they are known; templates read training rows of it.
    """

    inputs: tuple[Channel, ...]
    outputs: Mapping[str, int]
    benchmark: Benchmark | None = field(default=None, repr=False)

    def training_rows(self, channel: str) -> np.ndarray[Any, Any] | None:
        """Returns the training rows of a channel ``[R, *shape]``, or None where there are no data."""
        if self.benchmark is None or channel not in self.benchmark.inputs:
            return None
        found: np.ndarray[Any, Any] = self.benchmark.inputs[channel][self.benchmark.rows("train")]
        return found

    def scale_of(self, output: str) -> tuple[float, float] | None:
        """Returns mean and deviation of the training rows' answers, of an output that tells one number; else None."""
        parts = zip(self.benchmark.targets, self.benchmark.scales, strict=True) if self.benchmark is not None else ()
        for target, scale in parts:
            if target.name == output and target.kind == "numbers" and target.size == 1:
                return float(scale.mean[0]), float(scale.deviation[0])
        return None


@dataclass(frozen=True)
class Template:
    """A named graph to start from.

    Obligations of ``build``: a pure function; its graph reads the interface's inputs and gives its outputs, and can be
    built from its plain value by `population.graphs.graph.OpGraph.from_value`.

    Attributes:
        summary: one line on what it is and for what.
        settings: the model of what can be set, with defaults for all of it.
        build: (interface, settings) -> the graph's plain value; raises ConfigError for an interface that does not fit.
    """

    name: str
    summary: str
    settings: type[Settings]
    build: Callable[[Interface, Any], Mapping[str, Any]]


_templates: Registry[Template] = Registry("template", ENTRY_POINTS)


def register(template: Template) -> Template:
    """Adds a template and returns it. Raises ValueError where another one has its name."""
    return _templates.add(template.name, template)


def get(name: str) -> Template:
    """The template of this name. Raises NotFound that suggests the nearest."""
    return _templates.get(name)


def names() -> tuple[str, ...]:
    """The names of all templates, sorted; those of other packages too."""
    _templates.load_packages()
    return _templates.names()


def interface_of(task: Task) -> Interface:
    """What a graph must read and give to be judged on a task."""
    if not isinstance(task, Benchmark):
        channels = tuple(Channel(name, shape, "float32") for name, shape in sorted(task.input_shapes.items()))
        return Interface(channels, dict(task.answers_of([ACTION])))
    benchmark = task
    inputs = tuple(
        Channel(name, tuple(array.shape[1:]), "int64" if array.dtype.kind == "i" else "float32")
        for name, array in sorted(benchmark.inputs.items())
    )
    return Interface(inputs, {target.name: target.size for target in benchmark.targets}, benchmark)
