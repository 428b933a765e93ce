"""Files of plain PyTorch: a Python file with its weights in safetensors, run by a Python that cannot import the project;
and blocks as safetensors, with the graph in the metadata.

Nouns: none.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch

from fitness.processes.child_process import python_command
from population.blocks.block import TensorBlock
from population.errors import FormatError, InputError
from population.graphs.exit_gates import ExitGate
from population.graphs.graph import OpGraph
from population.inputs.decoder import Decoder

FORMAT: Final = "tensor-block"
VERSION: Final = "1"
_PATIENCE_S: Final = 300.0
#: Runs an exported file on the inputs of another, with the project's packages made unimportable.
_RUN: Final = """
import importlib.util, sys
sys.modules.update(dict.fromkeys(("evolve", "fitness", "population")))
import torch
from safetensors.torch import load_file, save_file
source, given, taken = sys.argv[1:]
spec = importlib.util.spec_from_file_location("exported", source)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
torch.set_num_threads(1)
with torch.no_grad():
    found = module.load()(**load_file(given))
found = found if isinstance(found, dict) else {"": found}
save_file({name: value.contiguous() for name, value in found.items()}, taken)
"""


def run_source(source: Path, inputs: Mapping[str, torch.Tensor], outputs: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """The outputs of an exported file, by a fresh Python with torch and safetensors and without this project.

    Args:
        source: the file; its weights lie beside it, and so do inputs and outputs while it runs.

    Raises: InputError where it fails, with the last line that it says.
    """
    given, taken = source.with_name("inputs.safetensors"), source.with_name("outputs.safetensors")
    safetensors.torch.save_file({_identifier(name): value.contiguous() for name, value in inputs.items()}, given)
    command = python_command("-c", _RUN, str(source), str(given), str(taken))
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
            cwd=source.parent,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"the exported module gave no answer within {_PATIENCE_S:.0f} s") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"the exported module does not run in plain PyTorch: {last[:300]}")
    found = safetensors.torch.load_file(taken)
    return {outputs[0]: found[""]} if "" in found else found


def _identifier(name: str) -> str:
    from population.pytorch.source_code import identifier

    return identifier(name)


def block_bytes(block: TensorBlock) -> bytes:
    """A block as a safetensors file: its tensors by name, everything else as JSON in the metadata."""
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "block": block.id,
        "graph": json.dumps(block.graph.to_value()),
        "tiers": json.dumps(block.tiers),
        "gates": json.dumps([gate.to_value() for gate in block.gates]),
        **decoder_facts(block),
    }
    tensors = {name: tensor.contiguous().clone() for name, tensor in block.tensors.items()}
    return bytes(safetensors.torch.save(tensors, metadata=facts))


def decoder_facts(block: TensorBlock) -> dict[str, str]:
    """How a table's raw rows become a block's channels, as metadata of a file; nothing where it has no decoder."""
    return {} if block.decoder is None else {"decoder": json.dumps(block.decoder.to_value())}


def block_of(data: bytes) -> TensorBlock:
    """The block of such a file, which may come from a stranger. Raises: FormatError for everything wrong with it."""
    try:
        tensors = safetensors.torch.load(data)
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise FormatError(f"not a safetensors file: {str(error)[:200]}") from error
    facts: Any = header.get("__metadata__", {})
    if not isinstance(facts, dict) or facts.get("format") != FORMAT or facts.get("version") != VERSION:
        raise FormatError(
            "a safetensors file without a graph: weights alone are no block; give the .py file of their module, and "
            "these as --weights"
        )
    try:
        graph = OpGraph.from_value(json.loads(facts["graph"]))
        tiers, gates = json.loads(facts["tiers"]), json.loads(facts["gates"])
        gates = tuple(ExitGate.from_value(gate) for gate in gates)
        decoder = Decoder.from_value(json.loads(facts["decoder"])) if "decoder" in facts else None
        block = TensorBlock(graph, tensors, tiers, gates, decoder)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"its graph, tiers or gates are not in order: {str(error)[:300]}") from error
    if block.id != facts.get("block"):
        raise FormatError(f"it says that it is block {str(facts.get('block'))[:80]!r}, and is {block.id}")
    return block
