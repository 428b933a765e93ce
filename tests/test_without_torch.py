"""What a block is made of can be imported, read and checked where no torch is: a runtime without it stands on that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from population.lazy_torch import functional, torch

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("files", "encoding", "store", "lineage", "operations", "graphs", "inputs", "stacks", "blocks")
#: Written in classes of torch, so that nothing of it can be had without.
KERNELS = "population.operations.kernels."

IMPORT_ALL = """
import importlib, json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)

sys.meta_path.insert(0, Absent())
failures = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except ImportError as problem:
        failures[name] = str(problem)
print(json.dumps(failures))
"""
CHECK_A_GRAPH = """
from population.graphs.graph import Channel, Node, OpGraph
from population.graphs.exit_gates import ExitGate

graph = OpGraph.build(
    inputs=(Channel("image", (1, 8, 8), "float32"),),
    nodes=(
        Node("seen", "conv2d", ("image",), {"weight": "k", "bias": "c"}, {"out": "c", "kernel": 3}),
        Node("best", "max_pool2d", ("seen",), {}, {"kernel": 2}),
        Node("live", "gelu", ("best",), {}, {}),
        Node("flat", "flatten", ("live",), {}, {}),
        Node("scores", "linear", ("flat",), {"weight": "w", "bias": "b"}, {"out": 10}),
    ),
    outputs=(("logits", "scores"),),
    symbols={"c": 4},
)
assert OpGraph.from_value(graph.to_value()) == graph
print(json.dumps([graph.parameter_shape(name, graph.symbols) for name in graph.parameters]))
try:
    from population.operations.kernels import windows
except ModuleNotFoundError as error:
    assert error.name == "torch"
else:
    raise AssertionError("torch was there")
"""


def modules() -> list[str]:
    """The modules that are meant, kernels left out."""
    folders = [*(ROOT / "population" / room for room in ROOMS), ROOT / "evolve" / "runtime"]
    paths = [path.relative_to(ROOT).with_suffix("") for folder in folders for path in sorted(folder.rglob("*.py"))]
    names = [".".join(path.parts).removesuffix(".__init__") for path in paths]
    return [name for name in names if not name.startswith(KERNELS)]


def ask_a_child(program: str) -> list[str]:
    command = [sys.executable, "-c", program, json.dumps(modules())]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()


def test_definitions_import_and_a_graph_is_checked_without_torch() -> None:
    assert len(modules()) > 80
    failures, shapes = ask_a_child(IMPORT_ALL + CHECK_A_GRAPH)
    assert json.loads(failures) == {}
    assert sorted(json.loads(shapes)) == [[4], [4, 1, 3, 3], [10], [10, 36]]


def test_what_is_lazy_is_torch_itself() -> None:
    import torch as eager

    assert (torch.relu, torch.Tensor, torch.float32) == (eager.relu, eager.Tensor, eager.float32)
    assert functional.gelu is eager.nn.functional.gelu


def test_what_is_lazy_is_found_at_once_from_the_first_use_on() -> None:
    assert torch.relu is vars(torch)["relu"]
    assert functional.relu is vars(functional)["relu"]
