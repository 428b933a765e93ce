"""The doors that files of others come in by, each with whole files to begin from and what knows how they are built.

Nouns: *door* (a function that the command line hands a file to), *seed* (a whole file).
"""

from __future__ import annotations

import io
import json
import mmap
import random  # noqa: TID251 - nothing is derived from what is drawn here
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.torch
import torch
import yaml
from pyarrow import parquet
from torch import nn

from evolve.cli.blocks.models import _read_block
from evolve.config.campaign import load_config
from evolve.home.home import Home
from evolve.home.origins import campaign_by_key, key_of
from evolve.models.importer_answer import read_answer
from evolve.models.importer_process import _give_weights
from evolve.models.plain_files import block_bytes
from evolve.planning.load_data import load_data
from evolve.planning.plan import make_plan
from evolve.runtime.channels import channels_of, inputs_of
from evolve.templates import block_of
from population.blocks.block import TensorBlock
from population.encoding.cbor import Link, decode, encode
from population.errors import EvolveError, FormatError, InputError
from population.files.os_errors import typed_anywhere
from population.graphs.nodes import Channel
from population.inputs.input_files import read_inputs, read_rows
from population.pytorch import seeded_inputs
from tests.evolve.blocks import classifier
from tests.fuzz import mutations as change
from tests.old_homes import unpack

ROOT = Path(__file__).resolve().parents[2]
_NUMBERS = np.random.default_rng(3).normal(size=(40, 4))
CHANNELS = (Channel("a", (4,)), Channel("image", (1, 4, 4)))


@dataclass(frozen=True)
class Door:
    """Where a kind of file comes in.

    Attributes:
        suffix: of its name. seeds: whole files. enter: reads a file; raises what the command line would show.
        knowing: mutations that know the format.
    """

    suffix: str
    seeds: Callable[[], Sequence[bytes]]
    enter: Callable[[Path], object]
    knowing: Sequence[change.Mutation]
    allowed: tuple[type[Exception], ...] = field(default=(InputError,))


def _rows(num_rows: int = 60) -> dict[str, list[Any]]:
    rng = np.random.default_rng(1)
    return {
        "x": [None if n % 9 == 0 else float(v) for n, v in enumerate(rng.normal(size=num_rows).round(3))],
        "n": rng.integers(0, 50, num_rows).tolist(),
        "town": [f"town {k}" for k in rng.integers(0, 5, num_rows)],
        "day": [str(np.datetime64("2021-01-01") + int(k)) for k in rng.integers(0, 400, num_rows)],
        "open": rng.choice(["yes", "no"], num_rows).tolist(),
        "y": rng.choice(["low", "high"], num_rows).tolist(),
    }


def _csv() -> bytes:
    rows = _rows()
    lines = [list(rows), *zip(*rows.values(), strict=True)]
    return "\n".join(",".join("" if cell is None else str(cell) for cell in line) for line in lines).encode()


def _json() -> list[bytes]:
    rows = _rows()
    listed = [dict(zip(rows, cells, strict=True)) for cells in zip(*rows.values(), strict=True)]
    return [json.dumps(rows).encode(), json.dumps(listed).encode()]


def _parquet(**options: Any) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.table(_rows()), stream, **options)
    return stream.getvalue()


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _npz(packed: bool = True) -> bytes:
    rng = np.random.default_rng(2)
    stream = io.BytesIO()
    save = np.savez_compressed if packed else np.savez
    save(
        stream,
        a=rng.normal(size=(40, 4)),
        image=rng.normal(size=(40, 1, 4, 4)).astype("f4"),
        target=rng.integers(0, 3, 40),
    )
    return stream.getvalue()


def _table_config(path: Path) -> Any:
    return load_config(ROOT / "configs" / "tabular.yaml", [f"data.path={path}", "data.target=y"])


@cache
def table_block(folder: Path) -> TensorBlock:
    """A block that takes raw rows, as a campaign on the seed would publish."""
    path = folder / "seed.csv"
    path.write_bytes(_csv())
    plan = make_plan(_table_config(path))
    found = block_of(plan.graph, 0)
    return TensorBlock(found.graph, found.tensors, decoder=plan.benchmark.preparation.decoder)  # type: ignore[union-attr]


def _enter_table(path: Path) -> None:
    """As data of a campaign, and as raw rows of a block."""
    first: InputError | None = None
    try:
        load_data(_table_config(path))
    except InputError as error:
        first = error
    inputs_of(table_block(path.parent), read_rows(path))
    if first is not None:
        raise first


def _enter_arrays(path: Path) -> None:
    config = load_config(
        ROOT / "configs" / "arrays.yaml", [f"data.path={path}", "data.target=target", "graph.template=mlp"]
    )
    first: InputError | None = None
    try:
        load_data(config)
    except InputError as error:
        first = error
    found = read_inputs(path)
    named = {name: array for name, array in found.items() if name != "target"} if isinstance(found, Mapping) else found
    channels_of(CHANNELS, named)
    if first is not None:
        raise first


def _enter_array(path: Path) -> None:
    targets = path.with_name("targets.npy")
    if not targets.exists():
        targets.write_bytes(_npy(np.arange(40) % 3))
    config = load_config(ROOT / "configs" / "arrays.yaml", [f"data.path={path}", f"data.target_path={targets}"])
    load_data(config)
    channels_of(CHANNELS[:1], read_inputs(path))


def _enter_inputs(path: Path) -> None:
    channels_of(CHANNELS[:1], read_inputs(path))


def _enter_weights(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _give_weights(_net(), path.name, path.read_bytes())


def _net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def _saved() -> list[bytes]:
    found = []
    for legacy in (True, False):
        stream = io.BytesIO()
        torch.save(_net().state_dict(), stream, _use_new_zipfile_serialization=not legacy)
        found.append(stream.getvalue())
    return found


def _enter_config(path: Path) -> None:
    make_plan(load_config(path))


def _configs() -> list[bytes]:
    wanted = ("digits.yaml", "digits-steady.yaml", "digits-es.yaml", "sequences.yaml")
    return [(ROOT / "configs" / name).read_bytes() for name in wanted] + [yaml.safe_dump(_plain_config()).encode()]


def _plain_config() -> dict[str, Any]:
    from tests.evolve.cli.conftest import CONFIG

    return CONFIG


# ---- an importer's answer --------------------------------------------------------------------------------------------


def _answers() -> list[bytes]:
    block = TensorBlock.from_torch(
        nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), {"input": torch.zeros(2, 3)}, ["y"]
    )
    value, leaves = block.manifest()
    with torch.no_grad():
        from population.stacks.interpreters import run_block

        told = run_block(block, seeded_inputs(block.graph))["y"].numpy().tobytes()
    index = {
        "manifest": value,
        "leaves": [[cid, len(leaf)] for cid, leaf in leaves.items()],
        "module": "Net",
        "answers": [["y", [1000, 2]]],
    }
    encoded = encode(index)
    return [len(encoded).to_bytes(8, "little") + encoded + b"".join(leaves.values()) + told]


def _change_answer(data: bytes, rng: random.Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    value = _linked(change.change_tree(_unlinked(decode(data[8 : 8 + size])), rng))
    try:
        made = encode(value)
    except (FormatError, RecursionError):
        return data[: rng.randrange(len(data))]
    return len(made).to_bytes(8, "little") + made + data[8 + size :]


def _unlinked(value: Any) -> Any:
    if isinstance(value, Link):
        return {"link ": value.cid}
    if isinstance(value, dict):
        return {key: _unlinked(item) for key, item in value.items()}
    return [_unlinked(item) for item in value] if isinstance(value, list) else value


def _linked(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"link "} and isinstance(value["link "], str):
        try:
            return Link(value["link "])
        except FormatError:
            return value["link "]
    if isinstance(value, dict):
        return {key: _linked(item) for key, item in value.items()}
    return [_linked(item) for item in value] if isinstance(value, list) else value


def _enter_answer(path: Path) -> None:
    data = path.read_bytes()
    with mmap.mmap(-1, 1 << 20) as memory:
        memory[: len(data)] = data[: 1 << 20]
        read_answer(memory, len(data), "net.py")


# ---- side files of a home --------------------------------------------------------------------------------------------


@cache
def golden_home(folder: Path) -> Path:
    """A home with a finished campaign and an interrupted one."""
    return unpack(folder)


#: Files of a home that are read by name, and are no part of its store or its log.
SIDE_FILES = ("VERSION", "campaigns/*/config.yaml", "campaigns/*/summary.json", "campaigns/*/data.json")


@cache
def side_files(folder: Path) -> tuple[tuple[str, bytes], ...]:
    """Name and content of the side files of the golden home."""
    home = golden_home(folder)
    paths = sorted(path for pattern in SIDE_FILES for path in home.glob(pattern))
    return tuple((str(path.relative_to(home)), path.read_bytes()) for path in paths)


def change_side_file(content: bytes, rng: random.Random) -> bytes:
    """A change that fits JSON where it is JSON, else one of YAML."""
    try:
        json.loads(content)
    except ValueError:
        return change.change_yaml(content, rng)
    return change.change_json(content, rng)


def _side_seeds() -> list[bytes]:
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="evolve-fuzz-"))
    return [name.encode() + b"\n" + content for name, content in side_files(folder)]


def _change_side(data: bytes, rng: random.Random) -> bytes:
    name, _, content = data.partition(b"\n")
    how = rng.choice((change_side_file, change_side_file, change.flip, change.cut, change.junk))
    return name + b"\n" + how(content, rng)


def _enter_side_file(path: Path) -> None:
    """Puts the file in its place in a home, and asks for what commands ask for."""
    name, _, content = path.read_bytes().partition(b"\n")
    root = golden_home(path.parent)
    place = root / name.decode()
    before = place.read_bytes()
    place.chmod(0o644)
    place.write_bytes(content)
    failed: Exception | None = None
    try:
        home = Home.open(root)
        for handle in home.campaigns():
            for ask in (home.state_of, home.summary_of, home.config_of, partial(key_of, home)):
                try:
                    ask(handle)
                except (EvolveError, OSError) as error:
                    failed = error
        campaign_by_key(home, "00")
    finally:
        place.write_bytes(before)
    if failed is not None:
        raise typed_anywhere(failed) or failed if isinstance(failed, OSError) else failed


DOORS: Mapping[str, Door] = {
    "npz": Door(".npz", lambda: [_npz(), _npz(False)], _enter_arrays, (change.change_zip,) * 6),
    "npy": Door(
        ".npy",
        lambda: [_npy(_NUMBERS), _npy(np.asfortranarray(_NUMBERS.astype("f4")))],
        _enter_array,
        (change.change_npy,) * 6,
    ),
    "csv": Door(".csv", lambda: [_csv()], _enter_table, (change.change_csv,) * 6),
    "numbers": Door(".csv", lambda: [b"a,b,c,d\n" + b"1,2.5,-3e5,4\n" * 20], _enter_inputs, (change.change_csv,) * 6),
    "parquet": Door(
        ".parquet",
        lambda: [_parquet(), _parquet(compression="zstd"), _parquet(use_dictionary=False, data_page_version="2.0")],
        _enter_table,
        (change.relength, change.flip),
    ),
    "json": Door(".json", _json, _enter_table, (change.change_json,) * 8),
    "lists": Door(
        ".json",
        lambda: [json.dumps({"a": [[1, 2, 3, 4]] * 3}).encode(), b"[[1, 2, 3, 4]]"],
        _enter_inputs,
        (change.change_json,) * 8,
    ),
    "safetensors": Door(
        ".safetensors", lambda: [block_bytes(classifier())], _read_block, (change.change_safetensors,) * 10
    ),
    "weights": Door(
        ".safetensors",
        lambda: [safetensors.torch.save(_net().state_dict())],
        _enter_weights,
        (change.change_safetensors,) * 5,
    ),
    "pt": Door(".pt", _saved, _enter_weights, ()),
    "yaml": Door(".yaml", _configs, _enter_config, (change.change_yaml,) * 12),
    "answer": Door(".bin", _answers, _enter_answer, (_change_answer,) * 12),
    "home": Door(".side", _side_seeds, _enter_side_file, (_change_side,) * 200, (EvolveError,)),
}


def mutant(form: str, number: int, seed: int) -> bytes:
    """The changed file of a number: the same for the same seed."""
    rng = random.Random(f"{form} {number} {seed}")
    door = DOORS[form]
    data = rng.choice(_seeds(form))
    ways = [*door.knowing, *change.PLAIN] if form != "home" else list(door.knowing)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        try:
            data = rng.choice(ways)(data, rng)
        except Exception:  # noqa: BLE001 - what a mutation cannot read any more is changed as plain bytes
            data = rng.choice(change.PLAIN)(data, rng) if form != "home" else data
    return data


@cache
def _seeds(form: str) -> Sequence[bytes]:
    return DOORS[form].seeds()
