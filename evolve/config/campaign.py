"""A campaign's configuration: one typed YAML file, every key checked before the first second of compute.

Frozen models refuse unknown keys with a suggestion. What only says where and how fast the work runs (name, home, workers,
address) stays outside the campaign key, the root of all randomness, ids and hashes.

Nouns: *config* (resolved, defaults filled in), *campaign key*, *override* (``key=value`` from the command line).
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from blake3 import blake3
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evolve.config.data import DataConfig
from evolve.config.environment import EnvironmentConfig, names_one_task
from evolve.config.fitness import FitnessConfig, find_beside, with_fitness_defaults
from evolve.config.model import ModelConfig, with_model_defaults
from evolve.config.tune import TuneConfig
from population.encoding.cbor import encode
from population.errors import ConfigError, NotFound
from population.files.user_file import read_user_file
from population.registry import nearest

MAX_BYTES = 1 << 20
#: A dotted key of an override has no more parts; what is looked for among names with dots grows with their cube.
MAX_PARTS = 64
MAX_INT_BITS = 1024
#: Sections that a text stands for on the command line: ``model=FILE``.
SHORT = {"model": "path"}
#: Keys that say where and how fast, never what: they lie outside the campaign key.
OUTSIDE_KEY = ("name", "run", "promote")
#: What the YAML library raises for text that is none, values that are not of their tag's kind, or nesting without end.
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class BenchmarkConfig(_Model):
    """Which data, and how its rows are split, or which environment is played. shares: of train, validation and held-out
    rows."""

    dataset: str | None = None
    environment: EnvironmentConfig | None = Field(default=None, exclude_if=lambda value: value is None)
    split_seed: int = Field(default=0, ge=0, lt=2**63)
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    shuffled_labels: bool = Field(default=False, description="train and judge on permuted labels: a check for leaks")


class StrategyConfig(_Model):
    """How the search goes. settings: of that kind of strategy, checked by it."""

    kind: str = "ga"
    population: int = Field(default=24, ge=2, le=1_000_000)
    settings: Mapping[str, Any] = {}


class OperatorConfig(_Model):
    """One operator of the portfolio: its weight before credit is known, and its settings."""

    weight: float = Field(default=1.0, gt=0)
    settings: Mapping[str, Any] = {}


class ViabilityConfig(_Model):
    """A child is viable if ``child >= parent - margin * |parent|`` on the objective, against its best parent."""

    objective: str
    margin: float = Field(default=0.1, ge=0)


class StopConfig(_Model):
    """When the search ends: whichever comes first. target: validation value by objective of the best individual."""

    generations: int | None = Field(default=None, ge=1)
    evaluations: int | None = Field(default=None, ge=1)
    flops: float | None = Field(default=None, gt=0)
    seconds: float | None = Field(default=None, gt=0, description="since it was launched or resumed")
    patience: int | None = Field(default=None, ge=1, description="generations without a better best individual")
    target: Mapping[str, float] = {}

    @model_validator(mode="after")
    def _ends(self) -> StopConfig:
        if not any((self.generations, self.evaluations, self.flops, self.seconds, self.patience, self.target)):
            raise ValueError("name at least one rule: generations, evaluations, flops, seconds, patience or target")
        return self


class TiersConfig(_Model):
    """The nested tiers. fractions: of each symbol's width. trained: "distil" after the search, or "search" when every
    candidate is judged at all tiers from the start (no gradient needed)."""

    fractions: Mapping[Literal["lite", "pro", "ultimate"], float] = {"lite": 0.25, "pro": 0.5, "ultimate": 1.0}
    ladder: int = Field(default=8, ge=1)
    trained: Literal["distil", "search"] = "distil"
    finalists: int = Field(default=2, ge=1)
    distil: Mapping[str, Any] = {}


class PromoteConfig(_Model):
    """The head to promote to, and its gate. floors: held-out accuracy (R2, return) by tier for a first head; margin: how much
    worse a later one may be at the edge of its confidence bound, in the same unit."""

    name: str
    floors: Mapping[Literal["lite", "pro", "ultimate"], float] = {}
    margin: float = Field(default=0.02, ge=0)


class LimitsConfig(_Model):
    """What one tile of candidates may take before it is judged a failure."""

    seconds: float = Field(default=60.0, gt=0)
    memory_mib: int = Field(default=2048, ge=64, le=1 << 24)


class RunConfig(_Model):
    """Where and how fast. address: "local" for child processes, "" for Ray on this machine, or a Ray cluster's address.

    accept_level: the least isolation at which code of plugins is run, and scores may carry a promotion.
    """

    workers: int = Field(default=2, ge=1, le=4096)
    address: str = ""
    accept_level: Literal["full", "reduced", "none"] = "full"


class CampaignConfig(_Model):
    """Everything a campaign is made of, and what `evolve tune` may change of it, which is no part of a campaign: it is
    neither hashed nor kept with one."""

    name: str = Field(default="campaign", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    seed: int = Field(default=0, ge=0, lt=2**63)
    benchmark: BenchmarkConfig = BenchmarkConfig()
    data: DataConfig | None = None
    model: ModelConfig | None = None
    fitness: FitnessConfig | None = None
    graph: Mapping[str, Any]
    widths: Mapping[str, tuple[int, ...] | Literal["auto"]] = Field(
        default={}, description="first widths to draw from, by symbol"
    )
    objectives: tuple[str, ...] = Field(default=("accuracy",), min_length=1)
    strategy: StrategyConfig = StrategyConfig()
    operators: Mapping[str, OperatorConfig] = {}
    init: Mapping[str, Any] = Field(default={}, description="settings of the init operator, but widths")
    exploration: float = Field(default=0.3, ge=0, le=1)
    viability: ViabilityConfig | None = None
    stop: StopConfig
    tiers: TiersConfig | None = TiersConfig()
    gates: tuple[Mapping[str, Any], ...] = ()
    keyframe: int = Field(default=10, ge=1, description="generations between weights kept in the store")
    promote: PromoteConfig | None = None
    limits: LimitsConfig = LimitsConfig()
    plugins: tuple[str, ...] = ()
    run: RunConfig = RunConfig()
    tune: TuneConfig | None = Field(default=None, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _follows_from_sections(cls, values: Any) -> Any:
        return with_model_defaults(with_fitness_defaults(values)) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _has_data(self) -> CampaignConfig:
        names_one_task(self.benchmark.dataset, self.benchmark.environment, self.data)
        if self.benchmark.environment is not None and self.benchmark.shuffled_labels:
            raise ValueError("benchmark.shuffled_labels: an environment has no labels; leave it out")
        return self

    @property
    def hashed(self) -> dict[str, Any]:
        """The part of the config that decides what happens, as plain values."""
        values = self.model_dump(mode="json")
        if self.fitness is None:
            del values["fitness"]  # keys of configs without it are what they always were
        else:
            del values["fitness"]["file"]
        if self.data is None:
            del values["data"]  # keys of configs without it are what they always were
        else:
            del values["data"]["path"], values["data"]["target_path"]
        if self.model is None:
            del values["model"]
        else:
            values["model"] = {"block": self.model.block}
        return {name: value for name, value in values.items() if name not in OUTSIDE_KEY}

    @property
    def key(self) -> bytes:
        """The campaign key, 32 bytes: BLAKE3 of the resolved config and the seed."""
        return blake3(canonical(self.hashed), derive_key_context="evolve 2026 campaign key").digest()

    @property
    def config_hash(self) -> str:
        """BLAKE3 of the resolved config without the seed, hex."""
        return blake3(canonical({k: v for k, v in self.hashed.items() if k != "seed"})).hexdigest()


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> CampaignConfig:
    """Returns the config of a YAML file with ``key.path=value`` overrides. Raises ConfigError naming file, key and remedy."""
    return check_config(read_config(path, overrides), str(path))


def read_config(path: Path | str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the plain values of a YAML file with ``key.path=value`` overrides, not checked yet. Raises ConfigError."""
    values = read_yaml(Path(path))
    set_keys(values, overrides)
    find_beside(values.get("fitness"), Path(path))
    return values


def check_config(values: Mapping[str, Any], where: str = "config") -> CampaignConfig:
    """Returns the typed config of plain values. Raises ConfigError for the first wrong key, with a suggestion."""
    try:
        return CampaignConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error)}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Returns a YAML mapping; refuses aliases, repeated keys, files above 1 MiB and anything that is not a mapping."""
    try:
        data = read_user_file(path, MAX_BYTES, str(path), remedy="is it a config?", error=ConfigError)
    except NotFound as error:
        raise ConfigError(f"{error}. Configs that ship with the project: {_shipped()}") from None
    try:
        values = _load(data)
    except _UNREADABLE as error:
        raise ConfigError(f"{path}: not readable as YAML: {str(error)[:300]}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, found {type(values).__name__}")
    return values


class _StrictLoader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            reason = "aliases are not allowed: write the value out where it is used"
            raise yaml.constructor.ConstructorError(None, None, reason, None)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is no text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def refuse(self, node: yaml.Node) -> None:
        reason = f"{node.tag.rpartition(':')[2]} is no kind of config value: quote it if it is text"
        raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark)

    def construct_yaml_int(self, node: Any) -> int:
        """The number; one beyond all that a setting can be is refused, since nothing can even write it down."""
        value = int(super().construct_yaml_int(node))
        if value.bit_length() > MAX_INT_BITS:
            reason = f"a whole number of more than {MAX_INT_BITS} bits"
            raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark)
        return value


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)
for _kind in ("binary", "timestamp", "set", "omap", "pairs"):  # what JSON cannot say
    _StrictLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _StrictLoader.refuse)


def _load(text: bytes | str) -> Any:
    loader = _StrictLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def set_key(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets the value at a dotted key in place; mappings that are missing are made, and a name with dots that stands there
    is taken for one name. Raises ConfigError where something on the way is no mapping."""
    target, parts = values, key.split(".")
    if len(parts) > MAX_PARTS:
        raise ConfigError(f"the key has {len(parts)} parts, at most {MAX_PARTS} are read")
    while True:
        taken = next((n for n in range(len(parts), 1, -1) if ".".join(parts[:n]) in target), 1)
        name, parts = ".".join(parts[:taken]), parts[taken:]
        if not parts:
            target[name] = value
            return
        target = target.setdefault(name, {})
        if not isinstance(target, dict):
            raise ConfigError(f"{name} is not a mapping")


def set_keys(values: dict[str, Any], texts: Sequence[str], what: str = "override") -> None:
    """Sets the values of ``key.path=value`` texts in place; ``what`` is what messages call them. Raises ConfigError."""
    for text in texts:
        _set(values, text, what)


def _set(values: dict[str, Any], text: str, what: str) -> None:
    key, equals, raw = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"{what} {text!r}: write key=value, e.g. strategy.population=64")
    try:
        value = _load(raw)
    except _UNREADABLE as error:
        raise ConfigError(f"{what} {text[:80]!r}: the value is not readable as YAML") from error
    if key in SHORT and isinstance(value, str):
        key = f"{key}.{SHORT[key]}"
    try:
        set_key(values, key, value)
    except ConfigError as error:
        raise ConfigError(f"{what} {text[:200]!r}: {error}") from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        known = _fields_at(place[:-1])
        near = nearest(place[-1], known)
        hint = f" Did you mean {near!r}?" if near else f" Known keys here: {', '.join(known)}."
        return f"unknown key {'.'.join(place)!r}.{hint}"
    if first["type"] == "missing":
        return f"key {'.'.join(place)!r} is missing."
    if not place:
        return str(first["msg"]).removeprefix("Value error, ") + "."
    got = json.dumps(first.get("input"), default=str)[:80]
    return f"{'.'.join(place)}: {first['msg']} (got {got})."


def _fields_at(place: Sequence[str]) -> list[str]:
    model: Any = CampaignConfig
    for part in place:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            continue  # a key of a mapping whose values are models
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return list(getattr(model, "model_fields", {}))


def canonical(values: Mapping[str, Any]) -> bytes:
    """Returns the bytes that plain values of a config are hashed as."""
    return encode(_plain(values))


def _plain(value: Any) -> Any:
    """Returns JSON-like values with floats written as shortest text, so that no encoder can round them, and whole numbers
    too where they exceed 64 bits."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    is_long = isinstance(value, int) and not -(2**63) <= value < 2**64
    return repr(value) if is_long or isinstance(value, float) else value


def _shipped() -> str:
    folder = Path("configs")
    names = sorted(str(path) for path in folder.glob("*.yaml")) if folder.is_dir() else []
    return ", ".join(names) or "none in this folder"
