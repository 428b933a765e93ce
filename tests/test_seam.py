"""Everything durable is written through the file system of `population.files`: the source is read for whoever does not."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Methods of paths (and of nothing else here) that change a disk.
METHODS = {
    "mkdir",
    "write_text",
    "write_bytes",
    "touch",
    "unlink",
    "rmdir",
    "rename",
    "symlink_to",
    "hardlink_to",
    "chmod",
}
OF_OS = {"open", "mkdir", "makedirs", "unlink", "remove", "removedirs", "rmdir", "rename", "renames", "replace", "link"}
OF_OS |= {"symlink", "truncate", "mkfifo", "mknod", "chmod", "chown", "utime"}
OF_SHUTIL = {"copy", "copy2", "copyfile", "copyfileobj", "copytree", "move", "rmtree", "make_archive", "unpack_archive"}
OF_TEMPFILE = {
    "NamedTemporaryFile",
    "TemporaryFile",
    "TemporaryDirectory",
    "mkdtemp",
    "mkstemp",
    "SpooledTemporaryFile",
}
OF_MODULES = {"os": OF_OS, "shutil": OF_SHUTIL, "tempfile": OF_TEMPFILE}

SEAM = "population/files/local_files.py"
#: Who may, what, how often, and why.
ALLOWED: dict[str, tuple[str, dict[str, int]]] = {
    "evolve/cli/home/ui.py": (
        "what MLflow's page says, and a folder that it runs in: both end with it",
        {"tempfile.TemporaryFile": 1, "tempfile.TemporaryDirectory": 1},
    ),
    "evolve/cli/shared/failure.py": (
        "the traceback of a fault of ours, below the machine's temporary folder",
        {"tempfile.NamedTemporaryFile": 1},
    ),
    "evolve/cli/shared/streams.py": ("/dev/null in the place of a closed stream", {"os.open": 2}),
    "evolve/models/export.py": (
        "a copy that is run once, below the machine's temporary folder",
        {"tempfile.TemporaryDirectory": 1, "write_bytes": 1},
    ),
    "evolve/runtime/mlflow_model.py": (
        "a model's folder, below the machine's temporary folder, which MLflow then copies",
        {"shutil.copytree": 1, "write_text": 2},
    ),
    "evolve/tracking/mlflow_tracker.py": (
        "mlflow.db is MLflow's own: SQLite writes it; and models as above",
        {"tempfile.TemporaryDirectory": 1, "unlink": 2, "os.link": 1},
    ),
    "evolve/tuning/study.py": ("tune.db is Optuna's own: SQLite writes it", {"unlink": 1, "rename": 1}),
    "population/files/user_file.py": ("reads what a user names, wherever it lies", {"os.open": 1}),
    "population/lineage/journal/follow.py": ("reads a journal from a place on", {"os.open": 1}),
}


def effects(tree: ast.Module) -> Iterator[str]:
    """Calls that write to a disk, and what they are called through."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from effects_of(node)
        elif isinstance(node, ast.ImportFrom) and node.module in OF_MODULES:
            yield from (f"from {node.module} import {alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            renamed = (alias for alias in node.names if alias.name in OF_MODULES and alias.asname)
            yield from (f"import {alias.name} as {alias.asname}" for alias in renamed)


def effects_of(call: ast.Call) -> Iterator[str]:
    function = call.func
    if isinstance(function, ast.Name):
        if function.id == "open" and writes(call.args[1:2], call):
            yield "open"
    elif isinstance(function, ast.Attribute):
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        if owner in OF_MODULES:
            if function.attr in OF_MODULES[owner]:
                yield f"{owner}.{function.attr}"
        elif function.attr in METHODS:
            yield function.attr
        elif function.attr == "open" and writes([each for each in call.args if isinstance(each, ast.Constant)], call):
            yield "open"


def writes(modes: list[ast.expr], call: ast.Call) -> bool:
    """Whether a call of `open` names a mode that writes, or one that cannot be read here."""
    for mode in (*modes, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")):
        if not isinstance(mode, ast.Constant) or (isinstance(mode.value, str) and set("wax+") & set(mode.value)):
            return True
    return False


def test_nobody_writes_past_the_file_system() -> None:
    """What judges and workers write (`fitness`) lies below the machine's temporary folder: they know no home."""
    found: dict[str, dict[str, int]] = {}
    for path in (path for package in ("evolve", "population") for path in (ROOT / package).rglob("*.py")):
        if str(path.relative_to(ROOT)) == SEAM:
            continue
        if counts := Counter(effects(ast.parse(path.read_text(encoding="utf-8")))):
            found[str(path.relative_to(ROOT))] = dict(counts)
    assert found == {name: counts for name, (_, counts) in ALLOWED.items()}


@pytest.mark.parametrize(
    "source",
    [
        "path.mkdir(parents=True)",
        "(folder / 'a').write_text('b')",
        "open('a', 'wb')",
        "open('a', mode='a')",
        "path.open('r+')",
        "path.open(mode=mode)",
        "os.rename(a, b)",
        "os.open(a, os.O_RDONLY)",
        "shutil.rmtree(a)",
        "tempfile.mkdtemp()",
        "from shutil import rmtree",
        "import os as machine",
    ],
)
def test_the_check_sees_each_way_of_writing(source: str) -> None:
    assert list(effects(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "open('a')",
        "path.open('rb')",
        "Home.open(path)",
        "archive.open(entry)",
        "text.replace('a', 'b')",
        "files.remove(path)",
    ],
)
def test_the_check_leaves_others_alone(source: str) -> None:
    assert not list(effects(ast.parse(source)))
