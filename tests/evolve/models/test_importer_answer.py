"""A hostile module answers for itself: whatever its jail sends back is refused in words, or is a block that is whole."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from evolve.models.importer import Imported, Importer, Limits, Source
from population.blocks.block import TensorBlock
from population.encoding.cbor import encode
from population.errors import InputError
from population.graphs.graph import OpGraph
from population.pytorch import seeded_inputs

LIMITS = Limits(cpu_s=30, wall_s=60.0, memory_bytes=2 << 30)
INPUTS = [("input", (3,), "float32")]
#: What is told of these files, which have no module, where they do not put themselves in the place of what answers for them.
NEVER_RAN = "it has none"
TAKE_OVER = """
import sys
process, wire = sys.modules['__main__'], sys.modules['fitness.processes.messages']
Message, data = wire.Message, {data!r}
process._framed = lambda *parts: data
"""


@pytest.fixture(scope="module")
def importer() -> Iterator[Importer]:
    found = Importer(limits=LIMITS)
    assert found.report.level  # starts it
    yield found
    found.close()


def honest() -> tuple[dict[str, Any], dict[str, bytes], bytes]:
    """What the process answers of a linear layer: its index, leaves and outputs."""
    module = nn.Linear(3, 2)
    with torch.no_grad():
        module.weight.copy_(torch.arange(6.0).reshape(2, 3))
        module.bias.fill_(0.5)
    block = TensorBlock.from_torch(module, {"input": torch.zeros(2, 3)}, ["y"])
    value, leaves = block.manifest()
    with torch.no_grad():
        told = module(seeded_inputs(block.graph)["input"]).numpy().astype("<f4").tobytes()
    index = {
        "manifest": value,
        "leaves": [[cid, len(leaf)] for cid, leaf in leaves.items()],
        "module": "Linear",
        "answers": [["y", [1000, 2]]],
    }
    return index, leaves, told


def framed(index: object, rest: bytes) -> bytes:
    encoded = encode(index)
    return len(encoded).to_bytes(8, "little") + encoded + rest


def answer(**changes: Any) -> bytes:
    index, leaves, told = honest()
    rest = changes.pop("rest", b"".join(leaves.values()) + told)
    return framed({**index, **changes}, rest)


def without(name: str) -> bytes:
    index, leaves, told = honest()
    return framed({key: value for key, value in index.items() if key != name}, b"".join(leaves.values()) + told)


def manifest(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = honest()[0]["manifest"]
    change(value)
    return answer(manifest=value)


def given(importer: Importer, data: bytes, more: str = "") -> Imported:
    text = TAKE_OVER.format(data=data) + more
    return importer.run(Source([("net.py", text.encode())], inputs=INPUTS))


def _node() -> dict[str, Any]:
    return {"name": "n", "op": "linear", "inputs": ["input"], "out": 2**20}


def _big_graph(**changes: Any) -> Callable[[dict[str, Any]], object]:
    graph = {
        "inputs": {"input": {"dtype": "float32", "shape": [3]}},
        "nodes": [_node()],
        "outputs": [["y", "n"]],
        "symbols": {},
    }
    return lambda value: value.update({"graph": {**graph, **changes}})


NAN, HUGE = float("nan"), 2**62
GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "seven bytes": b"1234567",
    "only a size": (8).to_bytes(8, "little"),
    "a size beyond all": b"\xff" * 8,
    "an index of 3 MiB": (3 << 20).to_bytes(8, "little") + b"\0" * (3 << 20),
    "no CBOR": (4).to_bytes(8, "little") + b"\xff\xff\xff\xff",
    "CBOR without end": (1000).to_bytes(8, "little") + b"\x9f" * 1000,
    "CBOR nested": (1000).to_bytes(8, "little") + b"\x81" * 1000,
    "a list": framed([1, 2, 3], b""),
    "a number": framed(7, b""),
    "an empty map": framed({}, b""),
    "no manifest": without("manifest"),
    "no leaves": without("leaves"),
    "no module": without("module"),
    "no answers": without("answers"),
    "a module that is a map": answer(module={"a": 1}),
    "a module that is bytes": answer(module=b"x"),
    "a manifest that is a list": answer(manifest=[]),
    "a manifest that is text": answer(manifest="x" * 100_000),
    "an empty manifest": answer(manifest={}),
    "leaves that are a map": answer(leaves={}),
    "leaves of three parts": answer(leaves=[["a", 1, 2]]),
    "a leaf of -1 bytes": answer(leaves=[["a", -1]]),
    "a leaf of true bytes": answer(leaves=[["a", True]]),
    "a leaf of 1.5 bytes": answer(leaves=[["a", 1.5]]),
    "a leaf of 2**62 bytes": answer(leaves=[["a", HUGE]]),
    "a leaf twice": answer(leaves=[["a", 1], ["a", 1]]),
    "40,000 leaves": answer(leaves=[[str(n), 0] for n in range(40_000)]),
    "other leaves": answer(leaves=[[cid[:-1] + "a", size] for cid, size in honest()[0]["leaves"]]),
    "leaves of other bytes": answer(rest=b"\0" * (32 + 8000)),
    "bytes left over": answer(rest=b"\0" * 100_000),
    "too few bytes": answer(rest=b""),
    "answers that are a map": answer(answers={"y": [1000, 2]}),
    "answers of three parts": answer(answers=[["y", [1000, 2], 1]]),
    "a shape that is text": answer(answers=[["y", "1000"]]),
    "a shape of text": answer(answers=[["y", ["1000", 2]]]),
    "a negative shape": answer(answers=[["y", [-1000, -2]]]),
    "a shape of nothing": answer(answers=[["y", [0, 2]]], rest=b"".join(honest()[1].values())),
    "a huge shape": answer(answers=[["y", [HUGE, HUGE]]]),
    "a shape of NaN": answer(answers=[["y", [1000.0, 2]]]),
    "a shape of 10,000 axes": answer(answers=[["y", [1] * 10_000]]),
    "another shape": answer(answers=[["y", [2, 1000]]]),
    "more samples": answer(answers=[["y", [2000, 1]]]),
    "another channel": answer(answers=[["z", [1000, 2]]]),
    "a channel twice": answer(answers=[["y", [1000, 1]], ["y", [1000, 1]]]),
    "2,000 channels": answer(answers=[[str(n), [1, 1]] for n in range(2000)], rest=b"".join(honest()[1].values()) + b"\0" * 8000),
    "answers of NaN": answer(rest=b"".join(honest()[1].values()) + np.full(2000, np.nan, "<f4").tobytes()),
    "answers of infinity": answer(rest=b"".join(honest()[1].values()) + np.full(2000, np.inf, "<f4").tobytes()),
    "a manifest of tiers": manifest(lambda value: value.update(tiers={"lite": {"a": 1}, "ultimate": {"a": 2}})),
    "a manifest of gates": manifest(lambda value: value.update(gates=[{"when": "x"}] * 10_000)),
    "a manifest of tomorrow": manifest(lambda value: value.update(version=99)),
    "a manifest with a decoder": manifest(lambda value: value.update(version=2, decoder={})),
    "tensors that are a list": manifest(lambda value: value.update(tensors=[])),
    "tensors of text": manifest(lambda value: value.update(tensors={"weight": "x", "bias": {"leaves": "x"}})),
    "a dtype that is a map": manifest(lambda value: value["tensors"]["bias"].update(dtype={})),
    "a graph that is text": manifest(lambda value: value.update(graph="x")),
    "a graph without end": manifest(_big_graph(nodes=[{**_node(), "name": f"n{n}"} for n in range(5000)])),
    "a graph of 2 GiB": manifest(_big_graph(inputs={"input": {"dtype": "float32", "shape": [2**20]}})),
    "30,000 inputs": manifest(_big_graph(inputs={f"i{n}": {"dtype": "float32", "shape": [1]} for n in range(30_000)})),
    "30,000 outputs": manifest(_big_graph(outputs=[[f"y{n}", "n"] for n in range(30_000)])),
}  # fmt: skip


def test_the_honest_answer_is_a_block(importer: Importer) -> None:
    found = given(importer, answer())
    assert (found.module, found.num_inputs, found.parameters) == ("Linear", 1000, 8)
    assert found.largest_difference < 1e-6


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_refused_in_words_and_soon(importer: Importer, kind: str) -> None:
    began = time.monotonic()
    with pytest.raises(InputError) as refused:
        given(importer, GARBAGE[kind])
    assert str(refused.value).startswith("net.py: ")
    assert NEVER_RAN not in str(refused.value)
    assert len(str(refused.value)) < 1000
    assert time.monotonic() - began < 20


REPLIES = {
    "a size that is text": "wire.Message = lambda kind, fields: Message(kind, {'bytes': 'many'})",
    "a size that is NaN": "wire.Message = lambda kind, fields: Message(kind, {'bytes': float('nan')})",
    "a size that is negative": "wire.Message = lambda kind, fields: Message(kind, {'bytes': -1})",
    "a size that is true": "wire.Message = lambda kind, fields: Message(kind, {'bytes': True})",
    "a size beyond the memory": "wire.Message = lambda kind, fields: Message(kind, {'bytes': 2**40})",
    "no size": "wire.Message = lambda kind, fields: Message(kind, {})",
    "another kind": "wire.Message = lambda kind, fields: Message('judged', fields)",
    "a failure of numbers": "wire.Message = lambda kind, fields: Message('failed', {'cause': 3, 'detail': 4})",
    "a failure of 60 kB": "wire.Message = lambda kind, fields: Message('failed', {'cause': 'crash', 'detail': 'x' * 60_000})",
    "blobs": "wire.Message = lambda kind, fields: Message(kind, fields, [b'x' * 1000])",
    "no message": "wire._send_all = lambda connection, data, deadline: connection.sendall(b'\\xff' * 100)",
    "a header of 4 GiB": "wire._send_all = lambda connection, data, deadline: connection.sendall(b'\\xff\\xff\\xff\\xff')",
    "bytes without end": (
        "def _flood(connection, data, deadline):\n    while True:\n"
        "        connection.sendall(b'\\x00\\x00\\x00\\x01' * 100_000)\n"
        "wire._send_all = _flood"
    ),
    "a trickle": (
        "import time\ndef _drip(connection, data, deadline):\n    connection.sendall(b'\\x10\\0\\0\\0')\n"
        "    while True:\n        connection.sendall(b'x'); time.sleep(1)\nwire._send_all = _drip"
    ),
    "nothing, and an end": "wire._send_all = lambda connection, data, deadline: connection.close()",
}


@pytest.mark.parametrize("kind", REPLIES)
def test_a_reply_that_is_none_is_refused_in_words_and_soon(importer: Importer, kind: str) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=r"net\.py: ") as refused:
        given(importer, answer(), REPLIES[kind])
    assert NEVER_RAN not in str(refused.value)
    assert time.monotonic() - began < 30


def test_what_is_told_of_the_module_is_printed_as_one_name(importer: Importer) -> None:
    assert given(importer, answer(module="\x1b[31mred\x07" + "x" * 1000)).module == " [31mred " + "x" * 71
    with pytest.raises(InputError) as refused:
        given(importer, framed({"refused": "\x1b]0;title\x07" + "x" * 100_000}, b""))
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 20_100


def test_a_graph_that_would_take_too_long_is_taken_in_and_not_computed(importer: Importer) -> None:
    """Arithmetic finds it: nothing of it runs here, whatever the child says that it gave."""
    node = {"name": "a", "op": "multi_head_attention", "inputs": ["x"], "out": 8, "heads": 2, "head_width": 4}
    value = {
        "inputs": {"x": {"dtype": "float32", "shape": [8, 2**20]}},
        "nodes": [node],
        "outputs": [["y", "a"]],
        "symbols": {},
    }
    graph = OpGraph.from_value(value)
    tensors = {name: torch.zeros(graph.parameter_shape(name, {})) for name in graph.parameters}
    made, leaves = TensorBlock(graph, tensors).manifest()
    index = {
        "manifest": made,
        "leaves": [[c, len(d)] for c, d in leaves.items()],
        "module": "N",
        "answers": [["y", [1, 1]]],
    }
    began = time.monotonic()
    found = given(importer, framed(index, b"".join(leaves.values()) + b"\0" * 4))
    assert (found.num_inputs, found.largest_difference) == (0, 0.0)
    assert time.monotonic() - began < 20
    assert math.prod(found.block.graph.inputs[0].shape) == 2**23
