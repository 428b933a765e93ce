"""Everything a campaign needs to know before its first second of compute, resolved and checked.

Nouns: *plan* (config, graph, benchmark, strategy and tiers that fit together), *environment* (what the bits of a result
depend on besides the recipe: versions, CPU capability, threads, kernel plan).
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any, TypeVar

import torch
from blake3 import blake3

from evolve import operators, strategies, templates
from evolve.config.campaign import CampaignConfig
from evolve.operators.registry import Operator, check_settings
from evolve.operators.training.distil import DistilSettings
from evolve.planning.load_data import written_out
from evolve.planning.load_fitness import check_without_data, with_source
from evolve.planning.origin import Origin
from evolve.planning.plugins import modules_of
from evolve.planning.task import check_channels, check_gate, check_learnable, measured_by, resolved
from evolve.recipes.recipe import canonical_settings, individual_id
from evolve.strategies import Problem, Strategy
from fitness.benchmarks.benchmark import Benchmark
from fitness.benchmarks.episodes import Episodes
from fitness.judges.tile_plan import DEFAULT_PLANS, KernelPlan, policy_plan
from fitness.work.task import Task
from population.errors import ConfigError, EvolveError, NotFound
from population.graphs.exit_gates import ExitGate, check_gates
from population.graphs.graph import OpGraph
from population.stacks.tiers import TIERS, tier_widths
from population.store.heads import check_name

#: Packages whose version can change bits.
FINGERPRINTED = ("torch", "numpy", "blake3")
#: Threads that a candidate is made and judged with, on every machine: workers and judges set it before they begin.
THREADS = 1


Found = TypeVar("Found")


@dataclass(frozen=True)
class Plan:
    """A campaign's fixed facts.

    Attributes:
        species: hex digest of the graph. environment: canonical JSON of the fingerprint.
        benchmark_name: as lineage rows name it: the data's name, split seed and digest.
        columns: positions of the config's objectives among the benchmark's.
        origin: where a forked campaign comes from.
        plugins: modules of other packages that its candidates need.
        fractions: part of each symbol's width by tier; empty without tiers.
    """

    config: CampaignConfig
    key: bytes
    graph: OpGraph
    species: str
    benchmark: Task
    benchmark_name: str
    strategy: Strategy[Any]
    problem: Problem
    kernel: KernelPlan
    environment: str
    sandbox_level: str
    columns: tuple[int, ...]
    fractions: Mapping[str, float]
    gates: tuple[ExitGate, ...]
    origin: Origin | None = None
    plugins: tuple[str, ...] = ()

    @property
    def foreign_code(self) -> tuple[str, ...]:
        """What of the campaign's code is not ours: modules of plugins and of an environment, the file of a fitness function."""
        section, environment = self.config.fitness, self.config.benchmark.environment
        module = environment.id.rpartition(":")[0] if environment is not None else ""
        function = (section.file or section.function,) if section is not None else ()
        return (*self.plugins, *((module,) if module else ()), *function)

    def individual(self, event: int) -> str:
        """Returns the id of a birth of this campaign, or of a founder, which a negative event number names."""
        if event < 0 and self.origin is not None:
            return self.origin.founder(event).individual
        return individual_id(self.key, event)

    def widths_of(self, settings: Mapping[str, int]) -> dict[str, int]:
        """Returns the full live widths of a row that was begun with these widths."""
        return {**self.graph.symbols, **settings}

    def tiers_of(self, widths: Mapping[str, int]) -> dict[str, dict[str, int]]:
        """Returns the widths of every tier of a row of these widths."""
        ladder = self.config.tiers.ladder if self.config.tiers else 1
        return {tier: dict(found) for tier, found in tier_widths(widths, self.fractions, ladder).items()}

    def tiers_judged(self, phase: str, widths: Mapping[str, int]) -> Mapping[str, Mapping[str, int]]:
        """Returns the tiers that candidates of these widths are judged at; no widths stand for a candidate's own."""
        tiers = self.config.tiers
        if tiers is not None and (phase == "distil" or tiers.trained == "search"):
            return self.tiers_of(widths)
        return {"ultimate": {}}


def benchmark_of(config: CampaignConfig) -> Benchmark:
    """Returns the rows that a config names. Raises ConfigError for an unknown name, or where it names none."""
    found = resolved(config)[1]
    if not isinstance(found, Benchmark):
        raise ConfigError(f"benchmark: {found.name} has no rows; name a dataset or a file")
    return found


def make_plan(config: CampaignConfig, benchmark: Task | None = None, sandbox_level: str = "reduced") -> Plan:
    """Returns the plan of a config. Raises ConfigError or InvalidGraph that names what does not fit and the remedy."""
    config, data = _with_task(config, benchmark)
    config = with_whole_graph(config, data)
    graph = OpGraph.from_value(config.graph)
    if data.scoring is not None and data.scoring.takes == "stack":
        check_without_data(config)
    else:
        check_channels(graph, data)
    check_gate(config, data)
    search = _known(strategies.get, config.strategy.kind, "strategy.kind")
    problem = _problem(config, graph, data, search.options)
    kernel = DEFAULT_PLANS.plan_for(graph)
    kernel = policy_plan(kernel) if isinstance(data, Episodes) else kernel
    key = config.key if benchmark is None else _key_with_data(config, data)
    plan = Plan(
        config=config,
        key=key,
        graph=graph,
        species=graph.digest.hex(),
        benchmark=data,
        benchmark_name=f"{data.name}@{data.split_seed}:{data.digest_of_data.hex()[:16]}",
        strategy=search.make(problem.options),
        problem=replace(problem, key=key),
        kernel=kernel,
        environment=environment(kernel, ("gymnasium",) if isinstance(data, Episodes) else ()),
        sandbox_level=sandbox_level,
        columns=_columns(config, data),
        fractions=_fractions(config),
        gates=tuple(ExitGate.from_value(gate) for gate in config.gates),
        plugins=modules_of(config, graph),
    )
    _check_tiers(plan)
    check_gates(plan.gates, [name for name, _ in graph.outputs], list(plan.fractions))
    if config.promote is not None:
        check_name(config.promote.name)
    return plan


def _with_task(config: CampaignConfig, benchmark: Task | None) -> tuple[CampaignConfig, Task]:
    """Returns the config written out, and its task: what the config names, or the given one, measured as the config says."""
    for module in config.plugins:
        _import_plugin(module)
    if benchmark is None:
        return resolved(config)
    config = written_out(with_source(config), benchmark)
    return config, measured_by(benchmark, config)


def with_whole_graph(config: CampaignConfig, data: Task) -> CampaignConfig:
    """Returns the config with the graph in the place of a template's name. Raises ConfigError or InvalidGraph."""
    if not templates.is_template(config.graph):
        return config
    return config.model_copy(update={"graph": templates.resolve(config.graph, templates.interface_of(data))})


def environment(kernel: KernelPlan, packages: Sequence[str] = ()) -> str:
    """Returns the environment fingerprint as canonical JSON: what bits depend on besides the recipe.

    Args:
        packages: whose versions count too.
    """
    versions = {name: metadata.version(name) for name in (*FINGERPRINTED, *packages)}
    versions["python"] = ".".join(platform.python_version_tuple()[:2])  # a patch release changes no arithmetic
    return canonical_settings(
        {
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "kernel": kernel.to_value(),
            "machine": platform.machine(),
            "threads": THREADS,
            "versions": versions,
        }
    )


def _problem(config: CampaignConfig, graph: OpGraph, data: Task, options_model: Any) -> Problem:
    weights, settings, costs = {}, {}, {}
    flops, parameters = graph.flops(graph.symbols), graph.bytes(graph.symbols) // 4
    judged = flops * data.num_answers("validation")
    for name, section in config.operators.items():
        operator = _known(operators.get, name, f"operators.{name}")
        _check_portfolio(operator, name)
        check_learnable(operator, data, f"operators.{name}")
        typed = check_settings(operator, section.settings, f"operators.{name}.settings")
        weights[operator.key] = section.weight
        settings[operator.key] = canonical_settings(typed.model_dump(mode="json"))
        costs[operator.key] = float(operator.cost(flops, parameters, typed) + judged)
    try:
        options = options_model.model_validate(config.strategy.settings)
    except ValueError as error:
        known = ", ".join(options_model.model_fields)
        raise ConfigError(f"strategy.settings: {error.errors()[0]['msg'] if hasattr(error, 'errors') else error}. "
                          f"{config.strategy.kind!r} knows: {known}") from error  # fmt: skip
    if "widths" in config.init:
        raise ConfigError("init.widths: first widths are drawn from the section `widths`; write them there")
    check_settings(operators.get("init@1"), config.init, "init")
    if config.strategy.kind != "openai_es" and not weights:
        raise ConfigError("operators: name at least one, e.g. operators: {gaussian: {}, burst: {}}")
    return Problem(
        key=b"",
        objectives=config.objectives,
        population=config.strategy.population,
        operators=weights,
        settings=settings,
        costs=costs,
        train_digest=data.digest("train"),
        widths=_first_widths(config, graph),
        viability=_viability(config),
        init=dict(config.init),
        exploration=config.exploration,
        options=options,
    )


def _known(get: Callable[[str], Found], name: str, where: str) -> Found:
    try:
        return get(name)
    except NotFound as error:
        raise ConfigError(f"{where}: {error}") from error


def _check_portfolio(operator: Operator, name: str) -> None:
    if operator.num_parents == 0 or operator.name in ("adopt", "distil", "perturb", "openai_es"):
        raise ConfigError(f"operators.{name}: {operator.key} is not a variation operator; it is used where it belongs")


def _first_widths(config: CampaignConfig, graph: OpGraph) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for symbol, choices in config.widths.items():
        if isinstance(choices, str):
            raise ConfigError(
                f"widths.{symbol}: auto follows from rows to learn from, and there are none; write numbers"
            )
        if symbol not in graph.symbols:
            raise ConfigError(
                f"widths.{symbol}: the graph has no such symbol; it has {', '.join(graph.symbols) or 'none'}"
            )
        if not choices or min(choices) < 1 or max(choices) > graph.symbols[symbol]:
            raise ConfigError(f"widths.{symbol}: choose from 1 to {graph.symbols[symbol]}, got {list(choices)}")
        found[symbol] = tuple(choices)
    return found


def _viability(config: CampaignConfig) -> tuple[int, float] | None:
    rule = config.viability
    if rule is None:
        return None
    if rule.objective not in config.objectives:
        raise ConfigError(f"viability.objective: {rule.objective!r} is not among objectives {list(config.objectives)}")
    return config.objectives.index(rule.objective), rule.margin


def _columns(config: CampaignConfig, data: Task) -> tuple[int, ...]:
    names = [objective.name for objective in data.objectives]
    for name in config.stop.target:
        if name not in config.objectives:
            raise ConfigError(
                f"stop.target.{name}: the search follows {', '.join(config.objectives)}, not {name!r}; add it to objectives"
            )
    for name in config.objectives:
        if name not in names:
            raise ConfigError(f"objectives: {name!r} is not measured by {data.name!r}; it measures {', '.join(names)}")
    return tuple(names.index(name) for name in config.objectives)


def _fractions(config: CampaignConfig) -> dict[str, float]:
    if config.tiers is None:
        return {}
    given = config.tiers.fractions
    if "ultimate" not in given:
        raise ConfigError("tiers.fractions: name 'ultimate' (usually 1.0)")
    ordered = {tier: given[tier] for tier in TIERS if tier in given}
    parts = list(ordered.values())
    if parts != sorted(parts) or parts[0] <= 0 or parts[-1] > 1:
        raise ConfigError(f"tiers.fractions: must grow from lite to ultimate within (0, 1], got {ordered}")
    return ordered


def _check_tiers(plan: Plan) -> None:
    if plan.config.tiers is None:
        return
    if plan.config.tiers.trained == "distil":
        check_learnable(operators.get("distil@1"), plan.benchmark, "tiers.trained")
    tiers = plan.tiers_of(plan.graph.symbols)
    values = {**plan.config.tiers.distil, "tiers": tiers}
    check_settings(operators.get("distil@1"), values, "tiers.distil")


def distil_settings(plan: Plan, widths: Mapping[str, int]) -> str:
    """Returns the canonical settings of the ``distil`` recipe of a row of these widths."""
    assert plan.config.tiers is not None
    values = {**plan.config.tiers.distil, "tiers": plan.tiers_of(widths)}
    return canonical_settings(DistilSettings.model_validate(values).model_dump(mode="json"))


def _key_with_data(config: CampaignConfig, data: Task) -> bytes:
    return blake3(config.key + data.digest_of_data, derive_key_context="evolve 2026 campaign key with data").digest()


def _import_plugin(module: str) -> None:
    try:
        importlib.import_module(module)
    except EvolveError:
        raise
    except Exception as error:
        raise ConfigError(f"plugins: {module!r} cannot be imported: {error}") from error
