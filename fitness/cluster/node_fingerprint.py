"""What the bits of a result depend on besides its unit: two machines that differ in it may not judge one campaign.

Nouns: a *fingerprint* names each such thing by a short text; the *probe* is a handful of kernels on fixed numbers, so that
another kernel shows by its bits, whatever its version says.
"""

from __future__ import annotations

import functools
import importlib.util
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from blake3 import blake3

from fitness.judges.tile_plan import PlanTable
from population.encoding.cbor import encode
from population.randomness import normals
from population.stacks.threads import single_threaded

VERSIONED = ("numpy", "torch")
OURS = ("population", "fitness")
ABSENT = "absent"
_PROBE_SEED = 2_026


@dataclass(frozen=True)
class Fingerprint:
    """What a machine computes with, field by field, in a fixed order."""

    fields: Mapping[str, str]

    def differences(self, found: Mapping[str, str]) -> list[str]:
        """Returns a line for each field in which another machine's fields differ from these."""
        names = [*self.fields, *(name for name in found if name not in self.fields)]
        pairs = [(name, self.fields.get(name, ABSENT), found.get(name, ABSENT)) for name in names]
        return [f"{name} is {there} there and {here} here" for name, here, there in pairs if here != there]


def fingerprint_here(materialise: str, plugins: Iterable[str], plans: PlanTable) -> Fingerprint:
    """Returns the fingerprint of this process for workers made with these settings; imports none of what they name."""
    modules = sorted({materialise.partition(":")[0], *plugins})
    return Fingerprint(
        {
            "python": platform.python_version(),
            "machine": platform.machine(),
            **{name: metadata.version(name) for name in VERSIONED},
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "kernels": probe(),
            "plan": blake3(encode(plans.to_value())).hexdigest()[:16],
            **{f"source of {name}": source_digest(name) for name in (*OURS, *modules)},
        }
    )


@functools.cache
def source_digest(name: str) -> str:
    """Returns a short digest of the Python files of the package that a module belongs to, or "absent"; imports nothing.

    A module of a namespace package, whose folders nobody can enumerate, stands for itself.
    """
    root, _, below = name.partition(".")
    found = importlib.util.find_spec(root)
    folders = [Path(folder) for folder in (found.submodule_search_locations or ())] if found else []
    if found is not None and found.origin is not None:
        files = {"": Path(found.origin)} | {_label(file, folder): file for folder in folders for file in _tree(folder)}
    else:
        first = next((file for folder in folders for file in _of_module(folder, below)), None)
        files = {} if first is None else {"": first}
    hasher = blake3()
    for label, file in sorted(files.items()):
        hasher.update(encode([label, file.read_bytes()]))
    return hasher.hexdigest()[:16] if files else ABSENT


def _tree(folder: Path) -> Iterator[Path]:
    return folder.rglob("*.py")


def _label(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _of_module(folder: Path, below: str) -> list[Path]:
    stem = folder.joinpath(*below.split("."))
    return [file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()]


@functools.cache
def probe() -> str:
    """Returns a short digest of what this machine's kernels make of fixed numbers, with one thread."""
    hasher = blake3()
    with single_threaded(), torch.no_grad():
        for tensor in _probed():
            hasher.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return hasher.hexdigest()[:16]


def _probed() -> Iterator[torch.Tensor]:
    drawn = torch.from_numpy(normals(_PROBE_SEED, 0, 1 << 14).copy())
    rows = drawn.reshape(128, 128)
    yield rows @ rows
    yield torch.bmm(drawn.reshape(4, 64, 64), drawn.reshape(4, 64, 64))
    yield torch.nn.functional.conv2d(drawn.reshape(16, 1, 32, 32), drawn[:72].reshape(8, 1, 3, 3), padding=1)
    yield torch.softmax(rows, dim=1)
    yield torch.nn.functional.layer_norm(rows, (128,))
    for kernel in (torch.tanh, torch.exp, torch.sigmoid, torch.nn.functional.gelu, torch.sin):
        yield kernel(rows)
    yield torch.stack([rows.sum(), rows.mean(), rows.var()])
