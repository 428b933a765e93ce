"""A materialise function for tests: children are parents plus noise of their seed; settings set what a graph's test
operation does; operator "explode@1" raises, "count@1" reads an input object, "dead@1" ends its worker, and others do what
``_misbehave`` says."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from collections.abc import Callable

import numpy as np
import torch

from fitness.benchmarks.benchmark import Benchmark
from fitness.work.work_unit import NO_PARENT, WorkUnit
from population.graphs.graph import OpGraph
from population.randomness import normals
from population.stacks.row_format import decode_rows
from population.stacks.stack import Stack


def materialise(unit: WorkUnit, read_object: Callable[[bytes], bytes], benchmark: Benchmark) -> Stack:
    graph = OpGraph.from_value(unit.graph)
    parents = decode_rows(graph, [read_object(digest) for digest in unit.parents]) if unit.parents else None
    return Stack.concat([_child(unit, graph, parents, row, read_object) for row in range(len(unit.candidates))])


def _misbehave(operator: str) -> None:
    if operator == "hang@1":
        time.sleep(3600)
    elif operator == "spin@1":
        while True:
            pass
    elif operator == "eat@1":
        held = []
        while True:
            held.append(torch.ones(1 << 22))
    elif operator == "crash@1":
        ctypes.string_at(1)
    elif operator == "leave@1":
        os._exit(3)
    elif operator == "read@1":
        with open("/proc/self/environ", "rb") as file:
            file.read()


def _child(
    unit: WorkUnit, graph: OpGraph, parents: Stack | None, row: int, read_object: Callable[[bytes], bytes]
) -> Stack:
    candidate = unit.candidates[row]
    operator = unit.operators[int(candidate["operator"])]
    settings = json.loads(unit.settings[int(candidate["settings"])])
    if operator == "explode@1":
        raise ArithmeticError("boom")
    if operator == "dead@1":
        os.kill(os.getpid(), signal.SIGKILL)
    _misbehave(operator)
    parent = int(candidate["parents"][0])
    widths = {**graph.symbols, **settings.get("widths", {})}
    base = Stack.zeros(graph, 1, [widths]) if parent == NO_PARENT or parents is None else parents.gather([parent])
    scale = float(len(read_object(unit.inputs[0]))) if operator == "count@1" else 0.5
    tensors = {}
    for stream, name in enumerate(sorted(base.tensors)):
        tensor = base.tensors[name]
        noise = normals(int(candidate["seed"]), stream, tensor.numel()) * np.float32(scale)
        tensors[name] = tensor + torch.from_numpy(noise.reshape(tuple(tensor.shape)))
        if name == "hostile.trigger":
            tensors[name] = torch.full_like(tensor, float(settings.get("trigger", 0.0)))
        if settings.get("not_finite") == name:
            tensors[name] = torch.full_like(tensor, float("nan"))
    return base.replace(tensors=tensors).masked()
