"""A campaign's own data: the file that a config names, read, prepared and kept.

The digest of the file's bytes is part of the campaign key, its path is not. The home keeps a copy of the bytes as an object
of its store, so that a campaign can be resumed, judged and rebuilt after the original has moved.

Nouns: none beyond those of configs and tables.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3

from evolve import templates
from evolve.config.campaign import BenchmarkConfig, CampaignConfig
from evolve.config.data import DataConfig
from evolve.templates.tabular import MANY_ROWS
from fitness.benchmarks.arrays import ArraySettings, ArrayTarget, benchmark_of_arrays
from fitness.benchmarks.benchmark import Benchmark
from fitness.measures.metrics import LOSS, Kind
from fitness.tables import TableSettings, read_table
from fitness.work.task import Task
from population.encoding.cid import cid_of_digest
from population.errors import BenchmarkError, ConfigError, InputError, NotFound, StoreCorrupt
from population.files.user_file import read_user_file
from population.inputs.archives import joined, read_npz
from population.inputs.table_bounds import look_for
from population.inputs.table_files import SUFFIXES

MAX_FILE_BYTES = 1 << 30
NPZ = "npz"
#: The array that is told where nobody names one: so a .npy of targets is called.
TARGET = "target"
#: What a config leaves to the data; and what a search follows then.
AUTO = "auto"
OBJECTIVES: Mapping[Kind, str] = {"classes": "cross_entropy", "numbers": "rmse"}

#: The last benchmarks that were read: a launch reads its data more than once.
_recent: OrderedDict[str, Benchmark] = OrderedDict()
_MOST_RECENT = 2


def load_data(config: CampaignConfig) -> tuple[CampaignConfig, Benchmark]:
    """Returns the benchmark of a config's data, and the config with what follows from them written out.

    Raises:
        ConfigError, NotFound: the file cannot be found, or is another one than the campaign was begun with.
        BenchmarkError: it cannot be learned from. StoreCorrupt: the home's copy is damaged.
    """
    section = config.data
    assert section is not None
    data = read_bytes(section)
    form = section.format or form_of(section.path)
    digest = blake3(data).hexdigest()
    if section.digest and digest != section.digest:
        if Path(section.path).name == cid_of_digest(bytes.fromhex(section.digest), "raw"):
            raise StoreCorrupt(
                f"object {Path(section.path).name}, the data of this campaign, does not hash to its name: {section.path} is not "
                "what was written; put it back from a copy of the store, or the original file in its place"
            )
        raise ConfigError(
            f"data.path: {section.path} holds other bytes than this campaign was begun with (BLAKE3 {digest[:16]}, not "
            f"{section.digest[:16]}): put the old file back, or begin a campaign of its own with `evolve run`"
        )
    found = section.model_copy(update={"digest": digest, "format": form, "path": str(Path(section.path).absolute())})
    resolved = config.model_copy(update={"data": found})
    benchmark = _prepared(resolved, data)
    return resolved, benchmark


def written_out(config: CampaignConfig, benchmark: Task) -> CampaignConfig:
    """Returns the config with every ``auto`` written out: objectives, and what so many training rows bear.

    That is ``steps``, ``batch`` and ``weight_decay`` of operators and of ``tiers.distil``, a template's ``hidden``, and what
    ``widths`` begin with. Of episodes the return is what the search follows, and there is nothing to train.
    """
    changed: dict[str, Any] = {}
    if not isinstance(benchmark, Benchmark):
        is_auto = config.objectives == (AUTO,)
        return config.model_copy(update={"objectives": (benchmark.principal,)}) if is_auto else config
    found = training_for(len(benchmark.rows("train")))
    if config.objectives == (AUTO,):
        first = OBJECTIVES[benchmark.targets[0].kind] if len(benchmark.targets) == 1 else LOSS
        changed["objectives"] = (first,)
    operators = {n: o.model_copy(update={"settings": _filled(o.settings, found)}) for n, o in config.operators.items()}
    if operators != dict(config.operators):
        changed["operators"] = operators
    if config.tiers is not None and AUTO in config.tiers.distil.values():
        changed["tiers"] = config.tiers.model_copy(update={"distil": _filled(config.tiers.distil, found)})
    if templates.is_template(config.graph) and AUTO in config.graph.values():
        changed["graph"] = _filled(config.graph, {"hidden": found["hidden"]})
    if AUTO in config.widths.values():
        some = widths_for(len(benchmark.rows("train")))
        changed["widths"] = {symbol: some if asked == AUTO else asked for symbol, asked in config.widths.items()}
    return config.model_copy(update=changed) if changed else config


def training_for(num_rows: int) -> dict[str, int | float]:
    """Returns what a training of a table with so many training rows takes, where nobody says otherwise, and how wide a
    network they bear.

    A burst sees every row about twice, and few rows often; the fewer they are, the more weights are held back. The numbers
    were found on the tables of experiments/tables, on split seeds 0 and from 101 on.

    >>> training_for(107)
    {'hidden': 64, 'batch': 128, 'steps': 60, 'weight_decay': 3.0}
    >>> training_for(30_000)
    {'hidden': 128, 'batch': 256, 'steps': 234, 'weight_decay': 0.033}
    """
    hidden, batch = (64, 128) if num_rows < MANY_ROWS else (128, 256)
    steps = min(400, max(60, 2 * num_rows // batch))
    return {
        "hidden": hidden,
        "batch": batch,
        "steps": steps,
        "weight_decay": min(3.0, max(0.03, round(1000 / num_rows, 3))),
    }


def widths_for(num_rows: int) -> tuple[int, ...]:
    """Returns what the widths of first individuals are drawn from: few rows are told better by few units, many by all."""
    hidden = int(training_for(num_rows)["hidden"])
    return (hidden,) if num_rows >= MANY_ROWS else (hidden // 4, hidden)


def _filled(settings: Mapping[str, Any], found: Mapping[str, int | float]) -> dict[str, Any]:
    return {name: found[name] if value == AUTO and name in found else value for name, value in settings.items()}


def form_of(path: str) -> str:
    """Returns the format that a file's name says. Raises ConfigError for one that none of ours has."""
    suffix, known = Path(path).suffix.lower(), {**SUFFIXES, ".npz": NPZ, ".npy": NPZ}
    if suffix not in known:
        raise ConfigError(f"data.path: {path}: the name must end in {', '.join(known)}; or say data.format")
    return known[suffix]


def _prepared(config: CampaignConfig, data: bytes) -> Benchmark:
    assert config.data is not None
    section, split = config.data, config.benchmark
    settings = section.model_dump(mode="json", exclude={"path", "target_path"})
    key = json.dumps([settings, split.split_seed, split.shares], sort_keys=True)
    if key in _recent:
        _recent.move_to_end(key)
        return _recent[key]
    try:
        found = (_from_arrays if section.format == NPZ else _from_table)(section, split, data)
    except (InputError, BenchmarkError) as error:
        raise BenchmarkError(f"{section.path}: {error}") from error
    _recent[key] = found
    while len(_recent) > _MOST_RECENT:
        _recent.popitem(last=False)
    return found


def _from_table(section: DataConfig, split: BenchmarkConfig, data: bytes) -> Benchmark:
    for name in ("targets", "inputs", "target_path"):
        if getattr(section, name):
            raise ConfigError(f"data.{name}: of arrays (.npz, .npy) only; a table has one data.target")
    if section.target is None:
        raise ConfigError("data.target: name the column that is to be told, e.g. data.target=price")
    wanted = TableSettings(
        target=section.target,
        task=section.task,
        columns=section.columns,
        missing=section.missing,
        class_weights=section.class_weights,
        split_seed=split.split_seed,
        shares=split.shares,
    )
    table = read_table(data, str(section.format), delimiter=section.delimiter, encoding=section.encoding)
    return Benchmark.of_table(table, wanted)


def _from_arrays(section: DataConfig, split: BenchmarkConfig, data: bytes) -> Benchmark:
    arrays = read_npz(data)
    told = {name: ArrayTarget(**target.model_dump()) for name, target in section.targets.items()}
    name = section.target or (TARGET if TARGET in arrays else None)
    if name is not None and not told:
        told = {name: ArrayTarget(section.task, class_weights=section.class_weights)}
    if not told:
        raise ConfigError(
            f"data.target: name the array that is to be told, or several in data.targets; there are {', '.join(arrays)}"
        )
    return benchmark_of_arrays(arrays, ArraySettings(told, section.inputs, split.split_seed, split.shares))


def read_bytes(section: DataConfig) -> bytes:
    """Returns the bytes of a config's data: of its file, or the archive of a .npy and that of its targets."""
    if Path(section.path).suffix.lower() != ".npy":
        return _bytes_of(section.path, "data.path", section.digest, section.format)
    if section.target_path is None:
        raise ConfigError("data.target_path: name the .npy of what is to be told, e.g. data.target_path=labels.npy")
    inputs = _bytes_of(section.path, "data.path", section.digest)
    targets = _bytes_of(section.target_path, "data.target_path", section.digest)
    try:
        return joined(inputs, targets)
    except InputError as error:
        raise BenchmarkError(f"{section.path}, {section.target_path}: {error}") from error


def _bytes_of(name: str, key: str, digest: str, form: str | None = None) -> bytes:
    form = form or {**SUFFIXES, ".npz": NPZ, ".npy": "npy"}.get(Path(name).suffix.lower(), "")
    try:
        return read_user_file(
            Path(name).absolute(),
            MAX_FILE_BYTES,
            f"{key}: {name}",
            remedy="take a sample of rows",
            error=ConfigError,
            look=look_for(form, f"{key}: {name}"),
        )
    except NotFound as error:
        hint = f", and this home holds no copy of it (BLAKE3 {digest[:16]})" if digest else ""
        raise NotFound(f"{error}{hint}; say where it is with {key}=FILE") from None
