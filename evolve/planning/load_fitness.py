"""A campaign's own fitness function: read from the file that its config names, and checked before anything is computed.

The text is kept in the config, so that a campaign is what it was begun with whatever becomes of the file.

Nouns: none beyond *scoring* (of ``fitness.measures.user_function``).
"""

from __future__ import annotations

import ast
from pathlib import Path

from evolve import operators
from evolve.config.campaign import CampaignConfig
from evolve.config.fitness import FitnessConfig
from fitness.benchmarks.benchmark import Benchmark
from fitness.measures.user_function import Scoring
from population.errors import BenchmarkError, ConfigError, NotFound
from population.files.user_file import read_user_file

MAX_BYTES = 1 << 18
#: How many arguments the function is called with.
ARGUMENTS = {"outputs": 2, "stack": 1}


def with_source(config: CampaignConfig) -> CampaignConfig:
    """Returns the config with the text of its fitness function in it.

    Raises:
        ConfigError: the file cannot be read, is no Python, or defines no such function.
    """
    section = config.fitness
    if section is None or section.source:
        return config
    text = _read(section.file)
    _check(text, section)
    return config.model_copy(update={"fitness": section.model_copy(update={"source": text})})


def scored(benchmark: Benchmark, config: CampaignConfig) -> Benchmark:
    """Returns the benchmark with the config's fitness function, where it has one. Raises ConfigError."""
    section = config.fitness
    if section is None:
        return benchmark
    try:
        return benchmark.scored_by(Scoring.of(section.source, section.function, section.names, section.takes))
    except BenchmarkError as error:
        raise ConfigError(str(error)) from error


def check_without_data(config: CampaignConfig) -> None:
    """Refuses what needs rows of data where a fitness function of stacks has none. Raises ConfigError."""
    reason = "a fitness function of stacks has no data"
    for name in config.operators:
        if operators.get(name).reads_training:
            raise ConfigError(
                f"operators.{name}: it learns from training rows, and {reason}: use mutation and crossover, or "
                "strategy.kind: openai_es"
            )
    if config.promote is not None:
        raise ConfigError(f"promote: a head is tested on held-out rows, and {reason}: leave the section out")
    if config.tiers is not None and config.tiers.trained == "distil":
        raise ConfigError(f"tiers: distillation learns from training rows, and {reason}: write tiers.trained: search")


def _read(file: str) -> str:
    remedy = "put what is large into a package and import it"
    try:
        data = read_user_file(file, MAX_BYTES, f"fitness.file: {file}", remedy=remedy, error=ConfigError)
    except NotFound as error:
        raise ConfigError(f"{error}, neither beside the config nor in {Path.cwd()}") from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"fitness.file: {file}: is no UTF-8 text") from error


def _check(text: str, section: FitnessConfig) -> None:
    """Refuses a text that is no Python or defines no such function; nothing of it is run here."""
    try:
        tree = ast.parse(text, section.file)
    except (SyntaxError, ValueError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ConfigError(f"fitness.file: {section.file}{where}: {getattr(error, 'msg', error)}") from error
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    found = functions.get(section.function)
    if found is None:
        if section.function in _other_names(tree):
            return  # a lambda, a class, something imported: calling it will tell
        known = ", ".join(functions) or "none"
        raise ConfigError(f"fitness.function: {section.file} defines no {section.function!r}; its functions: {known}")
    wanted, arguments = ARGUMENTS[section.takes], found.args
    most = len(arguments.posonlyargs) + len(arguments.args)
    least = most - len(arguments.defaults)
    if not least <= wanted <= (wanted if arguments.vararg else most) or any(d is None for d in arguments.kw_defaults):
        call = "outputs, targets" if wanted == 2 else "stack"
        raise ConfigError(
            f"fitness.function: {section.file}: {section.function} is called as {section.function}({call}), and does not "
            "take that"
        )


def _other_names(tree: ast.Module) -> set[str]:
    """The names that a module's top level binds otherwise than by a function."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ClassDef):
            found.add(node.name)
    return found
