"""The rules of the house that a reader can trust because they are checked: imports, size, public names, safety."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from importlinter.cli import lint_imports
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("population", "fitness", "evolve")
OUTSIDE = ("ray", "duckdb", "mlflow", "typer", "optuna", "onnx", "gymnasium")
HEAVY = (
    "torch",
    "ray",
    "duckdb",
    "mlflow",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "matplotlib",
    "deap",
    "optuna",
    "gymnasium",
)
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_PUBLIC_NAMES = 25
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base2"}
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle"}


def package_folder(package: str) -> Path:
    """The folder of an installed or checked-out package, without importing it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is not importable"
    assert spec.submodule_search_locations, f"{package} is not a package"
    return Path(next(iter(spec.submodule_search_locations)))


def modules() -> Iterator[tuple[str, Path]]:
    """Each module's dotted name and file, in sorted order."""
    for package in PACKAGES:
        folder = package_folder(package)
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((package, *(part for part in parts if part != "__init__"))), path


MODULES = dict(modules())
PER_MODULE = pytest.mark.parametrize("name", sorted(MODULES))


def syntax(name: str) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def edge_modules(library: str) -> list[str]:
    """The patterns of modules that may import a library, as pyproject's import contracts name them."""
    (contract,) = [c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["id"] == library]
    return [entry.split(" -> ")[0] for entry in contract["ignore_imports"]]


def is_edge(name: str) -> bool:
    """Whether a module may import one of the outside libraries."""
    patterns = [pattern.replace("**", "*") for library in OUTSIDE for pattern in edge_modules(library)]
    return any(fnmatchcase(name, pattern) for pattern in patterns)


# ---- imports ---------------------------------------------------------------------------------------------------------


def test_imports_run_one_way_and_only_named_modules_know_the_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


IMPORT_WITHOUT_THE_OUTSIDE = """
import importlib, json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)

blocked, names = json.loads(sys.argv[1])
sys.meta_path.insert(0, Absent())
failures = {}
for name in names:
    try:
        importlib.import_module(name)
    except ImportError as problem:
        failures[name] = str(problem)
print(json.dumps(failures))
"""


def test_the_core_imports_without_ray_duckdb_mlflow_or_typer() -> None:
    core = [name for name in sorted(MODULES) if not is_edge(name) and not name.endswith("__main__")]
    assert set(PACKAGES) <= set(core)
    assert import_in_a_child(core) == {}


def test_the_core_import_check_notices_a_module_that_needs_what_is_absent() -> None:
    assert "mlflow" in import_in_a_child(["mlflow"])


def import_in_a_child(names: list[str]) -> dict[str, str]:
    """What failed to import, and why, in a fresh interpreter to which the outside libraries are not installed."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_WITHOUT_THE_OUTSIDE, json.dumps([OUTSIDE, names])],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# Lists what is loaded, not how long it took: a wall clock would fail on a busy machine and pass on a fast one.
RUN_HELP = """
import json, sys
sys.argv = ["evolve", *json.loads(sys.argv[1])]
from evolve.cli import main
code = 0
try:
    main()
except SystemExit as leaving:
    code = leaving.code or 0
print(json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["query", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN_HELP, json.dumps(arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    code, loaded = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    assert "usage" in done.stdout.lower()
    assert sorted(set(loaded) & set(HEAVY)) == []


# ---- public names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, path in sorted(MODULES.items()) if path.name == "__init__.py"])
def test_the_public_names_of_a_package_are_listed_and_real(name: str) -> None:
    bound = set(public_bindings(syntax(name)))
    if not bound and "__all__" not in MODULES[name].read_text():
        return  # an empty __init__ promises nothing
    module = importlib.import_module(name)
    listed = list(getattr(module, "__all__", []))
    assert len(listed) == len(set(listed)), "a name stands twice in __all__"
    assert len(listed) <= MAX_PUBLIC_NAMES
    assert bound <= set(listed), "bound in __init__ but not listed in __all__ (or spell it with an underscore)"
    assert [public for public in listed if not hasattr(module, public)] == []


def public_bindings(tree: ast.Module) -> Iterator[str]:
    """Names that the top level of a module binds and a reader would take for its public ones.

    Whole modules imported for use (`import os`) are not among them: nobody takes those for ours.
    """
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            own = (node.module or "").split(".")[0] in PACKAGES
            yield from (
                alias.asname or alias.name for alias in node.names if own and not (alias.asname or "").startswith("_")
            )
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


# ---- size and names --------------------------------------------------------------------------------------------------


@PER_MODULE
def test_a_module_is_short_documented_and_named_for_what_it_holds(name: str) -> None:
    text = MODULES[name].read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_FILE_LINES
    assert name.rsplit(".", 1)[-1] not in VAGUE_NAMES
    tree = syntax(name)
    if tree.body:
        assert ast.get_docstring(tree), "a module starts with a docstring"
    if len(tree.body) > 1:
        assert "from __future__ import annotations" in text


@PER_MODULE
def test_a_function_is_short(name: str) -> None:
    long = {
        f"{name}.{function.name}"
        for function in functions_of(syntax(name))
        if lines_of(function, name) > MAX_FUNCTION_LINES
    }
    assert long == set()


def functions_of(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions of a module, methods and inner ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> int:
    """How many lines a function has, signature and docstring included.

    Of the command line's functions only the body counts: each option needs its lines in the signature, and the docstring is
    the text of ``--help`` with its examples.
    """
    assert function.end_lineno is not None
    if not name.startswith("evolve.cli."):
        return function.end_lineno - function.lineno + 1
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return function.end_lineno - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize(("lines", "name", "counted"), [(40, "a", 42), (40, "evolve.cli.a", 40)])
def test_the_body_of_a_command_is_counted_and_all_of_other_functions(lines: int, name: str, counted: int) -> None:
    (function,) = functions_of(ast.parse('def f():\n    """Text."""\n' + "    pass\n" * lines))
    assert lines_of(function, name) == counted


def test_every_source_file_belongs_to_a_regular_package() -> None:
    """A folder without __init__.py works in a checkout and is missing from the wheel."""
    missing = {str(path.parent) for path in MODULES.values() if not (path.parent / "__init__.py").exists()}
    assert missing == set()


# ---- safety ----------------------------------------------------------------------------------------------------------


@PER_MODULE
def test_no_module_unpickles_evaluates_text_or_starts_a_shell(name: str) -> None:
    assert list(dangers(syntax(name))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from dill import loads",
        "eval('1')",
        "exec('x = 1')",
        "import yaml\nyaml.load(text)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import os\nos.system('ls')",
        "import numpy\nnumpy.load(path, allow_pickle=True)",
    ],
)
def test_the_safety_check_sees_each_danger(source: str) -> None:
    assert list(dangers(ast.parse(source)))


def dangers(tree: ast.Module) -> Iterator[str]:
    """What in a module could run what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"imports {alias.name}" for alias in node.names if alias.name.split(".")[0] in UNPICKLERS)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLERS:
            yield f"imports from {node.module}"
        elif isinstance(node, ast.Call):
            yield from dangers_of_call(node)


def dangers_of_call(call: ast.Call) -> Iterator[str]:
    """What in one call could run what it reads."""
    called = ast.unparse(call.func)
    if called == "torch.load" and any(ast.unparse(keyword) == "weights_only=True" for keyword in call.keywords):
        return  # tensors and containers only
    if called in {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "yaml.load"}:
        yield f"line {call.lineno}: {called}"
    for keyword in call.keywords:
        is_true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        if keyword.arg in {"shell", "allow_pickle"} and is_true:
            yield f"line {call.lineno}: {keyword.arg}=True"


# ---- what is installed -----------------------------------------------------------------------------------------------


def pins(name: str) -> dict[str, Requirement]:
    """The requirements of one file of requirements/, by canonical name."""
    text = (ROOT / "requirements" / name).read_text().replace("\\\n", " ")
    lines = [re.split(r"\s#|\s--hash", line)[0].strip() for line in text.splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def pinned_version(requirement: Requirement) -> str:
    """The version of an exact pin."""
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", f"{requirement} is not an exact pin"
    return specifier.version


def test_every_direct_dependency_is_pinned_within_its_range() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for extra in extras for line in extra)]
    chosen = pins("lock.in") | pins("torch.txt")
    for requirement in map(Requirement, wanted):
        version = pinned_version(chosen[canonicalize_name(requirement.name)])
        assert version in requirement.specifier, f"{requirement} does not admit the pinned {version}"


def imported_packages() -> set[str]:
    """The packages from an index whose modules the three packages import anywhere, by canonical name."""
    nodes = [node for name in MODULES for node in ast.walk(syntax(name))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    owners = packages_distributions()
    roots = {name.split(".")[0] for name in names} - set(PACKAGES) - sys.stdlib_module_names
    return {canonicalize_name(owner) for root in roots for owner in owners.get(root, [root])}


def test_what_is_installed_with_us_is_what_we_import() -> None:
    """pandas stood among them for the tests' sake; what torch writes ONNX with is imported by torch."""
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    assert declared - imported_packages() == {"onnxscript"}
    undeclared = {name for name in imported_packages() - declared if not name.startswith("mlflow-")}
    assert undeclared == {"markupsafe"}, "declare what is imported; MarkupSafe is Jinja's own"


def test_the_lock_pins_everything_by_hash_and_names_no_host_and_no_torch() -> None:
    text = (ROOT / "requirements" / "lock.txt").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [entry for entry in entries if "--hash=sha256:" not in entry or "==" not in entry] == []
    assert not re.search(r"https?:|file:|--(extra-)?index-url|--find-links", text)
    locked = pins("lock.txt")
    assert [name for name in locked if re.match(r"torch|triton|nvidia|cuda", name)] == []
    for name, requirement in pins("lock.in").items():
        if any(specifier.operator == "==" for specifier in requirement.specifier):
            assert pinned_version(locked[name]) == pinned_version(requirement)
