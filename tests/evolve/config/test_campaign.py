"""A wrong config is refused with a message that names the file, the key and the remedy; a right one is taken whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evolve.config.campaign import MAX_BYTES, OUTSIDE_KEY, CampaignConfig, check_config, load_config, read_yaml, set_key
from evolve.planning.plan import make_plan
from population.errors import ConfigError, InputError
from tests.evolve import small, whole

#: Those that ask for files of one's own are tried with some, in the tests of the program.
ASKING = ("arrays.yaml", "improve.yaml", "tabular.yaml")
CONFIGS = sorted(path for path in (whole.ROOT / "configs").glob("*.yaml") if path.name not in ASKING)


def _file(folder: Path, text: str | bytes) -> Path:
    path = folder / "wrong.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _refusal(path: Path, *overrides: str) -> str:
    """Returns the message with which a config is refused, which names the file."""
    with pytest.raises(ConfigError) as refused:
        load_config(path, overrides)
    assert refused.value.exit_code == 2
    return str(refused.value)


# ---- files --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_configs_that_ship_fit(path: Path) -> None:
    plan = make_plan(load_config(path))
    assert plan.key == load_config(path).key


def test_a_missing_file_names_the_configs_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(whole.ROOT)
    message = _refusal(tmp_path / "digts.yaml")
    assert str(tmp_path / "digts.yaml") in message
    assert "configs/digits.yaml" in message
    monkeypatch.chdir(tmp_path)
    assert "none in this folder" in _refusal(tmp_path / "digts.yaml")


def test_a_folder_is_not_a_config(tmp_path: Path) -> None:
    assert f"{tmp_path}: it is a folder: name a file" in _refusal(tmp_path)


WRONG_FILES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "expected a mapping of keys, found NoneType"),
    "a list": ("- 1\n- 2\n", "expected a mapping of keys, found list"),
    "a word": ("digits", "expected a mapping of keys, found str"),
    "no YAML": ("name: [1, 2\nseed: 3", "not readable as YAML"),
    "tabs": ("name:\n\tseed: 3", "not readable as YAML"),
    "not text": (b"\xff\xfe\x00\x01\x80name", "not readable as YAML"),
    "two documents": ("name: a\n---\nname: b\n", "not readable as YAML"),
    "a key twice": ("name: a\nseed: 1\nname: b\n", "key 'name' stands twice"),
    "a nested key twice": ("stop: {generations: 1, generations: 2}\n", "key 'generations' stands twice"),
    "an alias": ("stop: &s {generations: 1}\nother: *s\n", "aliases are not allowed"),
    "a merge": ("stop: &s {generations: 1}\nother: {<<: *s}\n", "aliases are not allowed"),
    "a python object": ("name: !!python/object/apply:os.system ['true']\n", "not readable as YAML"),
    "a list as key": ("? [1, 2]\n: 3\n", "not readable as YAML"),
    "a mapping as key": ("? {a: 1}\n: 3\n", "not readable as YAML"),
    "deeply nested": ("a: " + "[" * 20_000 + "]" * 20_000, "not readable as YAML"),
    "deeply nested mappings": ("a: " + "{b: " * 5_000 + "1" + "}" * 5_000, "not readable as YAML"),
    "an impossible date": ("name: 2024-99-99\n", "not readable as YAML"),
    "a broken number": ("seed: !!int abc\n", "not readable as YAML"),
    "a truth of another kind": ("seed: !!bool x\n", "not readable as YAML"),
    "an empty number": ('seed: !!int ""\n', "not readable as YAML"),
    "a number of 6,000 digits": ("seed: 0x" + "f" * 5000 + "\n", "a whole number of more than 1024 bits"),
    "a date": ("name: 2024-01-01\n", "timestamp is no kind of config value: quote it"),
    "bytes": ("name: !!binary /w==\n", "binary is no kind of config value"),
    "a set": ("name: !!set {a, b}\n", "set is no kind of config value"),
    "2 MiB": ("# " + "x" * (2 << 20), f"at most {MAX_BYTES:,} are read"),
}


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_a_file_that_is_no_config_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    text, expected = WRONG_FILES[kind]
    path = _file(tmp_path, text)
    message = _refusal(path)
    assert message.startswith(f"{path}: ")
    assert expected in message
    assert len(message) < 1000


def test_a_bomb_of_aliases_costs_nothing(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    began = time.monotonic()
    assert "aliases are not allowed" in _refusal(_file(tmp_path, "\n".join(lines)))
    assert time.monotonic() - began < 5.0


@given(st.binary(max_size=200))
def test_any_bytes_give_a_mapping_or_a_config_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = _file(tmp_path_factory.mktemp("bytes"), data)
    try:
        found: object = read_yaml(path)
    except ConfigError as error:
        found = str(error)
    assert isinstance(found, dict) or str(path) in str(found)


# ---- keys and values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["sed=3"], ["unknown key 'sed'", "Did you mean 'seed'?"]),
        (["strategy.populaton=3"], ["unknown key 'strategy.populaton'", "Did you mean 'population'?"]),
        (["stop.generatons=3"], ["unknown key 'stop.generatons'", "Did you mean 'generations'?"]),
        (["run.zzz=3"], ["unknown key 'run.zzz'", "Known keys here: workers, address"]),
        (["operators.burst.setings={}"], ["unknown key 'operators.burst.setings'", "Did you mean 'settings'?"]),
        (["strategy.population=1"], ["strategy.population", "greater than or equal to 2", "got 1"]),
        (["strategy.population=many"], ["strategy.population", "valid integer", 'got "many"']),
        (["seed=-1"], ["seed", "greater than or equal to 0", "got -1"]),
        (["seed=9223372036854775808"], ["seed", "less than 9223372036854775808"]),
        (["seed=1.5"], ["seed", "valid integer", "got 1.5"]),
        (["name=Digits Of Mine"], ["name", "match pattern", 'got "Digits Of Mine"']),
        (["name=../escape"], ["name", "match pattern"]),
        (["stop={}"], ["stop", "name at least one rule", "generations"]),
        (["stop.seconds=0"], ["stop.seconds", "greater than 0"]),
        (["stop.seconds=.nan"], ["stop.seconds"]),
        (["benchmark.shares=[0.5, 0.5]"], ["benchmark.shares", "missing"]),
        (["benchmark={}"], ["key 'benchmark.dataset' is missing"]),
        (["tiers.fractions={tiny: 0.1, ultimate: 1}"], ["tiers.fractions", "'lite', 'pro' or 'ultimate'"]),
        (["tiers.trained=later"], ["tiers.trained", "'distil' or 'search'", 'got "later"']),
        (["run.workers=0"], ["run.workers", "greater than or equal to 1"]),
        (["exploration=1.5"], ["exploration", "less than or equal to 1"]),
        (["objectives=[]"], ["objectives", "at least 1 item"]),
        (["objectives=accuracy"], ["objectives", 'got "accuracy"']),
        (["promote={}"], ["key 'promote.name' is missing"]),
        (["limits.memory_mib=1"], ["limits.memory_mib", "greater than or equal to 64"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and "=" in value[0] else "",
)
def test_a_wrong_key_or_value_is_named_with_its_remedy(overrides: list[str], parts: list[str]) -> None:
    message = _refusal(whole.DIGITS, *overrides)
    assert message.startswith(f"{whole.DIGITS}: ")
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"strategy": {"kind": "gaa"}}, ["strategy.kind", "'gaa'", "ga"]),
        ({"operators": {"gausian": {}}}, ["operators.gausian", "gaussian"]),
        ({"operators": {"distil": {}}}, ["operators.distil", "not a variation operator"]),
        ({"operators": {"burst": {"settings": {"stepps": 3}}}}, ["operators.burst.settings", "stepps", "steps"]),
        ({"operators": {"burst": {"settings": {"steps": 0}}}}, ["operators.burst.settings", "steps"]),
        ({"tiers": {"fractions": {"lite": 0.5}}}, ["tiers.fractions", "name 'ultimate'"]),
        ({"tiers": {"distil": {"stepps": 3}}}, ["tiers.distil", "stepps"]),
        ({"init": {"gain": "much"}}, ["init", "gain"]),
        ({"stop": {"target": {"speed": 1.0}}}, ["'speed'", "accuracy"]),
        ({"plugins": ["tests.no_such_plugin"]}, ["plugins", "'tests.no_such_plugin'", "cannot be imported"]),
        ({"widths": {"hidden": []}}, ["widths.hidden", "choose from 1 to 16"]),
    ],
)
def test_what_only_a_plan_can_see_is_named_too(changes: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        small.plan_of(**changes)
    for part in parts:
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("section", "parts"),
    [
        ({"inputs": {"image": {"shape": [1, 9, 9], "dtype": "float32"}}}, ["graph.inputs.image", "[1, 8, 8]"]),
        ({"inputs": {"picture": {"shape": [1, 8, 8], "dtype": "float32"}}}, ["picture"]),
        ({"outputs": {"logits": "nowhere"}}, ["nowhere"]),
        ({"nodes": [{"name": "a", "op": "linea", "inputs": ["image"]}]}, ["linea", "linear"]),
        ({"nodes": "conv"}, ["nodes"]),
        ({"symbols": {"c1": 10**9, "c2": 8}}, ["c1"]),
        ({"nodess": []}, ["nodess"]),
    ],
)
def test_a_graph_that_cannot_compute_names_what_does_not_fit(section: dict[str, Any], parts: list[str]) -> None:
    values = read_yaml(whole.DIGITS)
    values["graph"] = {**values["graph"], **section}
    with pytest.raises(InputError) as refused:
        make_plan(check_config(values))
    for part in parts:
        assert part in str(refused.value)


def test_an_unknown_dataset_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"'digts'.*digits"):
        make_plan(load_config(whole.DIGITS, ["benchmark.dataset=digts"]))


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from([*CampaignConfig.model_fields, "other"]), value=_PLAIN)
def test_any_value_of_any_key_gives_a_config_or_a_config_error(key: str, value: Any) -> None:
    try:
        found: CampaignConfig | str = check_config({**small.values(), key: value}, "here.yaml")
    except ConfigError as error:
        found = str(error)
    if isinstance(found, str):
        assert found.startswith("here.yaml: ")
        assert key in found
    else:
        assert len(found.key) == 32


# ---- overrides ----------------------------------------------------------------------------------------------------------


def test_overrides_set_keys_at_any_depth_and_make_missing_sections() -> None:
    config = load_config(
        whole.DIGITS,
        ["seed=7", "strategy.population=32", "viability.margin=0.5", "operators.mean.settings.low=0.1", "limits.seconds=2",
         "run.address=local", "promote=null", "objectives=[accuracy]", 'run.address=""'],
    )  # fmt: skip
    assert (config.seed, config.strategy.population, config.promote, config.objectives) == (7, 32, None, ("accuracy",))
    assert config.viability is not None
    assert (config.viability.objective, config.viability.margin) == ("accuracy", 0.5)
    assert config.operators["mean"].settings == {"low": 0.1}
    assert config.limits.seconds == 2.0
    assert config.run.address == ""


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed", "write key=value"),
        ("=3", "write key=value"),
        ("seed=[1", "not readable as YAML"),
        ("seed=*x", "not readable as YAML"),
        ("seed=2024-01-01", "not readable as YAML"),
        ("seed=" + "[" * 20_000, "not readable as YAML"),
        ("name.deeper=1", "name is not a mapping"),
        ("strategy..population=3", "unknown key"),
        ("stop.generations={a: 1, a: 2}", "not readable as YAML"),
    ],
    ids=lambda value: value[:24],
)
def test_a_wrong_override_is_named(override: str, expected: str) -> None:
    message = _refusal(whole.DIGITS, override)
    assert expected in message
    assert override[:20] in message or str(whole.DIGITS) in message
    assert len(message) < 1000


# ---- the campaign key ---------------------------------------------------------------------------------------------------


def test_what_says_where_and_how_fast_is_outside_the_campaign_key() -> None:
    base = load_config(whole.DIGITS)
    outside = load_config(whole.DIGITS, ["name=other", "run.workers=9", "run.address=local", "promote=null"])
    assert set(OUTSIDE_KEY) == {"name", "run", "promote"}
    assert outside.key == base.key
    assert outside.config_hash == base.config_hash


def test_everything_else_is_inside_the_campaign_key() -> None:
    base = load_config(whole.DIGITS)
    keys = {base.key}
    changes = (
        "seed=1", "benchmark.split_seed=1", "strategy.population=25", "strategy.kind=ga", "objectives=[accuracy]",
        "operators.burst.settings.steps=31", "operators.burst.weight=3.5", "init.gain=0.9", "exploration=0.4",
        "stop.generations=13", "viability.margin=0.2", "tiers.ladder=4", "tiers=null", "gates=[]", "keyframe=9",
        "limits.seconds=61", "widths.c1=[8]", "graph.symbols.c1=24", "plugins=[os]",
    )  # fmt: skip
    for change in changes:
        keys.add(load_config(whole.DIGITS, [change]).key)
    assert len(keys) == 1 + len(changes)
    seeded = load_config(whole.DIGITS, ["seed=1"])
    assert seeded.config_hash == base.config_hash


@given(
    margin=st.floats(0.0, 1e6, allow_subnormal=True),
    generations=st.integers(1, 10**9),
    seed=st.integers(0, 2**63 - 1),
    name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,10}", fullmatch=True),
)
def test_a_config_written_down_and_read_again_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, margin: float, generations: int, seed: int, name: str
) -> None:
    viability = {"objective": "accuracy", "margin": margin}
    config = check_config(
        small.values(name=name, seed=seed, viability=viability, stop={"generations": generations}), "here.yaml"
    )
    path = _file(tmp_path_factory.mktemp("again"), yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    assert load_config(path) == config
    assert load_config(path).key == config.key


def test_a_key_of_thousands_of_parts_is_refused_at_once() -> None:
    """Three thousand parts took minutes: each was joined with all that follow."""
    with pytest.raises(ConfigError, match="3001 parts"):
        set_key({}, ".".join("a" * 3001), 1)
