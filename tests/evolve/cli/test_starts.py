"""Where the project starts processes, and that none of them runs a file of the folder it was called in."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fitness.processes import child_process
from tests.evolve.cli.conftest import CONFIG, ROOT, Done, environment

# ---- the list of starts ------------------------------------------------------------------------------------------------

#: Every call that starts a process. A new one belongs here once it is known to be isolated from the current folder.
STARTS = {
    "evolve/cli/home/ui.py": ["subprocess.Popen"],  # python_command, python_variables, an empty folder
    "evolve/models/plain_files.py": ["subprocess.run"],  # python_command, no variables
    "evolve/home/jailed_query.py": ["subprocess.Popen"],  # python_command, python_variables
    "fitness/processes/child_process.py": ["subprocess.Popen"],  # start_process
    "fitness/jail/namespaces.py": ["os.fork", "os.fork", "call clone"],  # forks import nothing anew
    "fitness/jail/attacks.py": ["os.fork", "os.execv"],  # attacks from within the jail, which are refused
    "fitness/processes/zygote.py": ["start_process"],
    "fitness/cluster/reaper.py": ["start_process"],
    "fitness/evaluators/child_processes.py": ["start_process"],
    "fitness/cluster/ray_cluster.py": ["ray.init"],  # without the current folder that Ray adds; the same variables
}
#: Where the interpreter's path stands: in the one function that makes command lines, in a text, in an attack.
INTERPRETERS = {"fitness/processes/child_process.py": 1, "evolve/display.py": 1, "fitness/jail/attacks.py": 1}
_NAMES = {"Popen", "start_process", "ProcessPoolExecutor", "create_subprocess_exec", "create_subprocess_shell"}
_MODULES = {"subprocess", "multiprocessing", "pty"}
_OF_OS = ("os.exec", "os.spawn", "os.posix_spawn", "os.fork", "os.popen", "os.system")


def sources(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def starts_of(tree: ast.Module) -> Iterator[str]:
    """The calls of a module that start a process, in order."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        called = ast.unparse(call.func)
        first = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
        is_start = called.rpartition(".")[2] in _NAMES or called.partition(".")[0] in _MODULES or called == "ray.init"
        if is_start or called.startswith(_OF_OS):
            yield called
        elif called == "call" and first in {"clone", "clone3", "fork", "vfork", "execve"}:
            yield f"call {first}"


def test_every_start_of_a_process_is_on_the_list() -> None:
    """`evolve query` and `evolve ui` ran `fitness.py` and `random.py` of the current folder, and so did Ray's workers."""
    found = {
        name: calls for name, tree in sources("population", "fitness", "evolve") if (calls := list(starts_of(tree)))
    }
    assert found == STARTS


def test_the_interpreter_s_path_stands_where_command_lines_are_made() -> None:
    found = {}
    for name, tree in sources("population", "fitness", "evolve"):
        count = sum(isinstance(n, ast.Attribute) and ast.unparse(n) == "sys.executable" for n in ast.walk(tree))
        found |= {name: count} if count else {}
    assert found == INTERPRETERS


def test_studies_start_python_without_the_current_folder() -> None:
    for name, tree in sources("experiments"):
        if name == "experiments/lineage/study.py":  # from the project's own folder, where experiments lie
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.List) and node.elts and ast.unparse(node.elts[0]) == "sys.executable":
                assert ast.unparse(node.elts[1]) == "'-P'", f"{name}, line {node.lineno}"


@pytest.mark.parametrize(
    "source",
    [
        "subprocess.run(x)", "subprocess.Popen(x)", "Popen(x)", "os.execv(x, y)", "os.posix_spawn(x)", "os.fork()",
        "multiprocessing.Process()", "ray.init()", "start_process(x)", "call('clone', 1)",
    ],
)  # fmt: skip
def test_the_list_sees_each_way_to_start_one(source: str) -> None:
    assert len(list(starts_of(ast.parse(source)))) == 1


# ---- the command line and the variables --------------------------------------------------------------------------------

SAY = "import json, sys; print(json.dumps([sys.flags.safe_path, sys.flags.no_user_site, sys.path]))"


def say(command: list[str], folder: Path, **variables: str) -> list[object]:
    done = subprocess.run(
        command, cwd=folder, env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_a_child_has_neither_the_current_folder_nor_the_user_s_site(tmp_path: Path) -> None:
    safe, alone, path = say(child_process.python_command("-c", SAY), tmp_path)
    assert (safe, alone) == (True, 1)
    assert "" not in path
    assert str(tmp_path) not in path


def test_what_a_child_starts_has_neither_too(tmp_path: Path) -> None:
    safe, alone, path = say([sys.executable, "-c", SAY], tmp_path, **child_process.python_variables())
    assert (safe, alone) == (True, 1)
    assert "" not in path
    assert str(tmp_path) not in path


def test_what_pythonpath_names_is_found_by_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin, an environment or a module of one's own is found there."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    _, _, path = say(child_process.python_command("-c", SAY), ROOT, **child_process.python_variables())
    assert str(tmp_path) in path


@pytest.mark.parametrize("is_needed", [False, True])
def test_the_user_s_site_is_left_out_unless_the_project_needs_it(
    is_needed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "site-packages"
    own.mkdir()
    if is_needed:
        (own / "torch.py").write_text("")
    monkeypatch.setattr(child_process.site, "ENABLE_USER_SITE", True)
    monkeypatch.setattr(child_process.site, "getusersitepackages", lambda: str(own))
    monkeypatch.setattr(child_process, "find_spec", lambda name: type("Spec", (), {"origin": str(own / "torch.py")}))
    if not is_needed:
        monkeypatch.setattr(child_process, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "path", [*sys.path, str(own)])
    child_process.needs_user_site.cache_clear()
    try:
        assert child_process.needs_user_site() is is_needed
        assert ("-s" in child_process.python_command()) is not is_needed
        assert ("PYTHONNOUSERSITE" in child_process.python_variables()) is not is_needed
        assert (str(own) in child_process.module_path().split(os.pathsep)) is is_needed
    finally:
        child_process.needs_user_site.cache_clear()


# ---- commands, called from a folder full of traps ----------------------------------------------------------------------

TRAPS = (
    "fitness", "population", "random", "json", "numpy", "torch", "pyarrow", "mlflow", "uvicorn", "ray", "subprocess",
    "typing", "sitecustomize", "usercustomize", "gunicorn.conf",
)  # fmt: skip
TRAP = """
import sys
with open({trace!r}, "a") as trace:
    trace.write({name!r} + " by " + " ".join(sys.orig_argv)[:300] + "\\n")
raise SystemExit("a file of the current folder was run")
"""
PROGRAM = (
    "import sys; sys.path.pop(0); from evolve.cli import main; main()"  # as the installed script: no current folder
)


class Trapped:
    """Calls the program from a folder that holds a file for each of the traps."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.trace = folder / "traps", folder / "trace"
        self.folder.mkdir()
        for name in (*TRAPS, "evolve"):
            (self.folder / f"{name}.py").write_text(TRAP.format(trace=str(self.trace), name=name))

    def command(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-c", PROGRAM, *map(str, arguments)]

    def call(self, *arguments: str | Path, codes: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            self.command(*arguments), cwd=self.folder, env=environment(), capture_output=True, text=True, check=False
        )
        assert self.sprung() == []
        assert done.returncode in codes, done.stderr
        return done.stdout

    def sprung(self) -> list[str]:
        return self.trace.read_text().splitlines() if self.trace.exists() else []


@pytest.fixture
def trapped(tmp_path: Path) -> Trapped:
    return Trapped(tmp_path)


def test_a_trap_notes_that_it_was_imported(trapped: Trapped) -> None:
    subprocess.run([sys.executable, "-c", "import fitness"], cwd=trapped.folder, check=False, capture_output=True)
    assert [line.split()[0] for line in trapped.sprung()] == ["fitness"]


def test_looking_runs_no_file_of_the_current_folder(trapped: Trapped, own_home: Path) -> None:
    assert "15" in trapped.call("query", "SELECT 15 AS n FROM individuals LIMIT 1", "--home", own_home)
    assert "whole" in trapped.call("fsck", "lineage", "--home", own_home)
    trapped.call("report", "tiny", "--home", own_home)


@pytest.mark.slow
def test_infer_and_import_run_no_file_of_the_current_folder(trapped: Trapped, own_home: Path, tmp_path: Path) -> None:
    module = tmp_path / "small.py"
    module.write_text(
        "from torch import nn\nclass Small(nn.Linear):\n    def __init__(self):\n        super().__init__(3, 2)\n"
    )
    trapped.call("blocks", "import", f"{module}:Small", "--input", "input=3", "--home", own_home)
    trapped.call("infer", "tiny", "--input", ROOT / "experiments" / "digits" / "samples.npz", "--home", own_home)


def test_a_run_without_ray_runs_no_file_of_the_current_folder(trapped: Trapped, tmp_path: Path) -> None:
    trapped.call("run", _config(tmp_path, "local"), "--home", tmp_path / "home")


@pytest.mark.slow
def test_a_run_with_ray_runs_no_file_of_the_current_folder(trapped: Trapped, tmp_path: Path) -> None:
    """Ray puts the folder that one is in before all others on its workers' import path: none of them started."""
    trapped.call("run", _config(tmp_path, ""), "--home", tmp_path / "home")


@pytest.mark.slow
def test_doctor_runs_no_file_of_the_current_folder(trapped: Trapped, tmp_path: Path) -> None:
    said = trapped.call("doctor", "--home", tmp_path / "home", codes=(0, 1))
    assert "a worker started and ended" in said


def _config(folder: Path, address: str) -> Path:
    path = folder / "tiny.yaml"
    changes = {"stop": {"generations": 1}, "run": {"workers": 1, "address": address}}
    path.write_text(yaml.safe_dump({**CONFIG, **changes}, sort_keys=False))
    return path


@pytest.mark.slow
def test_the_ui_runs_no_file_of_the_current_folder(trapped: Trapped, finished: Done) -> None:
    """Its server put the current folder first by itself: uvicorn does."""
    process = subprocess.Popen(
        trapped.command("ui", "--home", finished.home),
        cwd=trapped.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert trapped.sprung() == []
        with urllib.request.urlopen(f"{address}/health", timeout=60) as answer:
            assert answer.status == 200
    finally:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert (process.returncode, trapped.sprung()) == (0, [])


def test_python_m_evolve_leaves_the_current_folder_at_once(trapped: Trapped, finished: Done) -> None:
    """Python itself puts it first there, and looks in it for the program and for what the package's first lines import
    (typing); `python -P -m evolve` never looks there. No other file of it is run."""
    (trapped.folder / "evolve.py").unlink()
    (trapped.folder / "typing.py").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "evolve", "fsck", "lineage", "--home", str(finished.home)],
        cwd=trapped.folder, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, trapped.sprung()) == (0, []), done.stderr
