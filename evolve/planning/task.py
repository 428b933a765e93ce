"""Makes the task of a campaign from its config, and says what of the config does not fit it.

Nouns: none beyond *task* (of ``fitness.work.task``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evolve.config.campaign import CampaignConfig
from evolve.config.environment import EnvironmentConfig
from evolve.operators.registry import Operator
from evolve.planning.load_data import load_data, written_out
from evolve.planning.load_fitness import scored, with_source
from fitness.benchmarks import registry as datasets
from fitness.benchmarks.benchmark import Benchmark
from fitness.benchmarks.episodes import Episodes
from fitness.work.task import Task
from population.errors import BenchmarkError, ConfigError, InvalidGraph
from population.graphs.graph import OpGraph


def resolved(config: CampaignConfig) -> tuple[CampaignConfig, Task]:
    """Returns the config with what follows from its data written out, and the task that it names.

    Raises:
        ConfigError, BenchmarkError: there is none such, or it cannot be had.
    """
    section = config.benchmark
    config = with_source(config)
    if section.environment is not None:
        found: Task = _episodes(section.environment, section.split_seed)
    elif config.data is not None:
        config, found = load_data(config)
    else:
        assert section.dataset is not None, "a config names a data set, a file or an environment"
        found = replace(datasets.load(section.dataset, split_seed=section.split_seed), shares=section.shares)
    config = written_out(config, found)
    found = measured_by(found, config)
    if section.shuffled_labels and isinstance(found, Benchmark):
        return config, found.with_shuffled_labels(config.seed)
    return config, found


def measured_by(task: Task, config: CampaignConfig) -> Task:
    """Returns the task with the objectives that the config asks for, its own function's among them. Raises ConfigError."""
    try:
        if isinstance(task, Episodes):
            if config.fitness is not None:
                raise ConfigError("fitness: a function of one's own scores rows; episodes are scored by their return")
            return task.measuring(config.objectives)
        assert isinstance(task, Benchmark), "a task is rows or episodes"
        return scored(task, config).measuring(config.objectives)
    except ConfigError:
        raise
    except BenchmarkError as error:
        raise ConfigError(f"objectives: {error}") from error


def _episodes(section: EnvironmentConfig, split_seed: int) -> Episodes:
    variants = {name: world.model_dump(mode="json") for name, world in section.variants.items()}
    return Episodes.of(
        section.id,
        kwargs=dict(section.kwargs),
        variants=variants or None,
        max_steps=section.max_steps,
        episodes=section.episodes.model_dump(),
        split_seed=split_seed,
    )


def check_channels(graph: OpGraph, task: Task) -> None:
    """Refuses a graph whose channels do not fit a task. Raises ConfigError or InvalidGraph."""
    known = task.input_shapes
    for channel in graph.inputs:
        if channel.name not in known:
            raise ConfigError(
                f"graph.inputs.{channel.name}: {task.name!r} has no such channel; it has {', '.join(known)}"
            )
        shape = known[channel.name]
        if tuple(channel.shape) != shape:
            raise ConfigError(
                f"graph.inputs.{channel.name}: the data has shape {list(shape)}, not {list(channel.shape)}"
            )
        has_gaps = isinstance(task, Benchmark) and bool(np.isnan(task.inputs[channel.name]).any())
        if has_gaps and channel.name not in graph.channels_with_gaps:
            raise ConfigError(
                f"graph.inputs.{channel.name}: numbers are missing there (NaN): let operations that take them read it, e.g. "
                f"filters: {{{channel.name}: [{{name: filled, op: impute, inputs: [{channel.name}], value: [...]}}]}}"
            )
    for name, size in task.answers_of([channel for channel, _ in graph.outputs]):
        shape_out = graph.value_shapes[dict(graph.outputs)[name]]
        if len(shape_out) != 1 or any(symbol is not None for symbol, _ in shape_out[0]):
            raise InvalidGraph(f"graph.outputs.{name}: expected one fixed axis of {size} numbers, got {shape_out}")
        width = sum(factor for _, factor in shape_out[0])
        if width != size:
            raise ConfigError(
                f"graph.outputs.{name}: {task.name!r} {_wanted(task, name, size)}, the graph gives {width}"
            )


def _wanted(task: Task, channel: str, size: int) -> str:
    if isinstance(task, Episodes):
        return f"takes one of {size} actions" if task.actions.choices else f"takes actions of {size} numbers"
    assert isinstance(task, Benchmark), "a task is rows or episodes"
    kinds = {target.name: target.kind for target in task.targets}
    is_classes = kinds.get(channel, task.targets[0].kind) == "classes"
    return f"has {size} {'classes' if is_classes else 'numbers to answer with'}"


def check_learnable(operator: Operator, task: Task, where: str) -> None:
    """Refuses an operator that learns from training rows where there are none. Raises ConfigError."""
    if operator.reads_training and isinstance(task, Episodes):
        raise ConfigError(
            f"{where}: {operator.name} learns from training rows, and {task.name} is a simulator that has none; use mutation "
            "and crossover (gaussian, uniform), or strategy.kind: openai_es"
        )


def check_gate(config: CampaignConfig, task: Task) -> None:
    """Refuses floors and margins that no score of the task can have. Raises ConfigError."""
    section = config.promote
    if section is None or isinstance(task, Episodes):
        return
    if any(floor > 1 for floor in section.floors.values()) or section.margin >= 1:
        raise ConfigError(f"promote: {task.principal} is at most 1; give floors of at most 1 and a margin below 1")
