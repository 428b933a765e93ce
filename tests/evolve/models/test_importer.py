"""Users' modules in their jail: what they are comes back as a block, what they break is theirs alone."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
import safetensors.torch
import torch

from evolve.models.importer import Importer, Limits, Source
from population.errors import InputError
from population.stacks.interpreters import run_block

PLAIN = b"""
import torch
from torch import nn
from parts import Middle

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.middle = nn.Linear(3, 8), Middle(8)
    def forward(self, rows):
        return self.middle(torch.relu(self.first(rows)))
"""
PARTS = b"""
from torch import nn

class Middle(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.head = nn.Linear(width, 2)
    def forward(self, value):
        return self.head(value)
"""
ROWS = [("rows", (3,), "float32")]
BEGIN = """
import os, socket, torch
from torch import nn
class Net(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
"""
LIMITS = Limits(cpu_s=60, wall_s=240.0, memory_bytes=2 << 30)


@pytest.fixture(scope="module")
def importer() -> Iterator[Importer]:
    found = Importer(limits=LIMITS)
    yield found
    found.close()
    found.close()


def saved(value: object) -> bytes:
    """What ``torch.save`` writes of a value, whatever it is."""
    memory = io.BytesIO()
    torch.save(value, memory)
    return memory.getvalue()


def source(text: str, **others) -> Source:
    return Source([("net.py", text.encode())], inputs=others.pop("inputs", [("input", (3,), "float32")]), **others)


def test_a_module_with_weights_comes_back_as_a_block_that_computes_what_it_does(importer: Importer) -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = {"first.weight": (8, 3), "first.bias": (8,), "middle.head.weight": (2, 8), "middle.head.bias": (2,)}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    files = [("net.py", PLAIN), ("parts.py", PARTS)]
    blocks = []
    for weights in (("w.safetensors", safetensors.torch.save(state)), ("w.pt", saved(state))):
        found = importer.run(Source(files, "Net", weights, ROWS, ["logits"]))
        assert (found.module, found.num_inputs, found.parameters) == ("Net", 1000, 50)
        assert found.largest_difference < 1e-5
        blocks.append(found.block)
    assert blocks[0] == blocks[1]
    rows = torch.randn(20, 3, generator=generator)
    hidden = torch.relu(rows @ state["first.weight"].T + state["first.bias"])
    wanted = hidden @ state["middle.head.weight"].T + state["middle.head.bias"]
    torch.testing.assert_close(run_block(blocks[0], {"rows": rows})["logits"], wanted)
    assert blocks[0].graph.symbols == {"first": 8}


def test_an_example_in_the_file_names_the_inputs(importer: Importer) -> None:
    text = BEGIN + "def example():\n    return {'input': torch.zeros(2, 3)}\n"
    assert importer.run(source(text, inputs=[])).block.graph.inputs[0].shape == (3,)


def test_the_code_reaches_no_file_no_network_and_no_secret(importer: Importer) -> None:
    """A module that tries says what came of it in its weights."""
    tries = """
        found = []
        for attempt in (lambda: open('/etc/passwd'), lambda: os.listdir('/'), lambda: socket.socket(), lambda: os.fork()):
            try:
                attempt(); found.append(1.0)
            except OSError:
                found.append(0.0)
        with torch.no_grad():
            self.weight.zero_(); self.bias.zero_()
            self.weight.view(-1)[:4] = torch.tensor(found)
            self.bias[0] = len(os.environ)
"""
    block = importer.run(source(BEGIN + tries)).block
    assert not block.tensors["Net.weight" if "Net.weight" in block.tensors else "weight"].any()
    assert not block.tensors["bias"].any()


@pytest.mark.parametrize(
    ("text", "others", "message"),
    [
        (BEGIN + "        raise KeyError('mine')", {}, "its code failed in the jail.*mine"),
        (BEGIN + "        os._exit(3)", {}, "failed in the jail"),
        (BEGIN, {"name": "Nett"}, "no class or function 'Nett' in it; modules: Net"),
        ("import torch", {}, "it has none"),
        (BEGIN, {"inputs": []}, r"--input image=1,8,8, or give the file a function example\(\)"),
        ("import nowhere_to_be_found", {}, "no files; name your own files too"),
        (BEGIN, {"weights": ("w.safetensors", safetensors.torch.save({"x": torch.zeros(1)}))}, "Missing key"),
        (BEGIN, {"weights": ("w.pt", saved({"f": print}))}, "holds more than tensors"),
        (
            BEGIN + "    def forward(self, input):\n        return torch.erfinv(input).exp()",
            {},
            r"(?s)2 calls.*erfinv.*exp",
        ),
    ],
    ids=["raises", "leaves", "name", "none", "inputs", "import", "weights", "pickle", "unmapped"],
)
def test_what_is_wrong_with_it_is_told(importer: Importer, text, others, message) -> None:
    with pytest.raises(InputError, match=message):
        importer.run(source(text, **others))


@pytest.mark.slow
def test_code_that_does_not_end_is_ended() -> None:
    importer = Importer(limits=Limits(cpu_s=2, wall_s=30.0, memory_bytes=1 << 30))
    try:
        with pytest.raises(InputError, match="timeout"):
            importer.run(source("while True: pass"))
    finally:
        importer.close()


IMAGES = """
from torch import nn
from torch.nn import functional as F

class Block(nn.Module):
    def __init__(self, units, made):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(units, made, 3, 2, 1, bias=False), nn.BatchNorm2d(made)
        self.short = nn.Conv2d(units, made, 1, 2, bias=False)
    def forward(self, x):
        return F.relu(self.bn(self.conv(x)) + self.short(x))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.pool = nn.Conv2d(3, 16, 3, padding=1), nn.MaxPool2d(2)
        self.blocks = nn.Sequential(Block(16, 16), Block(16, 32), Block(32, 32))
        self.head = nn.Linear(32, 10)
    def forward(self, image):
        x = self.blocks(self.pool(F.relu(self.stem(image))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))
"""


@pytest.mark.slow
def test_a_network_for_images_of_224_is_taken_in_on_fewer_inputs_at_once() -> None:
    """The check ran 1,000 images at once: 3 GB of the first value alone, told as a module that went beyond its memory."""
    importer = Importer()
    try:
        found = importer.run(source(IMAGES, name="Net", inputs=[("image", (3, 224, 224), "float32")]))
    finally:
        importer.close()
    assert 50 <= found.num_inputs < 1000
    assert found.largest_difference < 1e-4 * max(1.0, found.scale)
    assert found.block.graph.inputs[0].shape == (3, 224, 224)
