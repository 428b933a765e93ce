from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.evolve.cli.conftest import Program, environment, run_apart

COMMANDS = (
    "run", "resume", "status", "report", "query", "lineage", "rebuild", "promote", "rollback", "heads", "infer", "ui", "doctor",
    "blocks list", "blocks show",
)  # fmt: skip
HEAVY = {
    "numpy",
    "torch",
    "ray",
    "duckdb",
    "mlflow",
    "pyarrow",
    "pydantic",
    "pandas",
    "matplotlib",
    "deap",
    "rich",
    "yaml",
}


def test_help_names_every_command_and_the_exit_codes(program: Program) -> None:
    answer = program("--help")
    assert answer.code == 0
    for name in COMMANDS:
        assert f"\n  {name.split()[0]} " in answer.out
    assert "130 interrupted" in answer.out
    assert "  evolve run configs/digits.yaml          launch" in answer.out  # a line of its own, not filled up


def test_no_command_prints_the_help_and_is_a_wrong_usage(program: Program) -> None:
    answer = program()
    assert answer.code == 2
    assert "Usage: evolve" in answer.out + answer.err


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_an_example_on_a_line_of_its_own(program: Program, name: str) -> None:
    answer = program(*name.split(), "--help")
    assert answer.code == 0
    assert any(line.startswith(f"    evolve {name}") for line in answer.out.splitlines())


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("ui", "doctor")])
def test_commands_that_print_results_take_json_and_home(program: Program, name: str) -> None:
    text = program(*name.split(), "--help").out
    assert "--json" in text
    assert "--home" in text


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, json, atexit\n"
        "atexit.register(lambda: print(json.dumps(sorted({name.split('.')[0] for name in sys.modules}))))\n"
        "sys.argv = ['evolve', '--help']\n"
        "from evolve.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    assert "typer" in imported
    assert not imported & HEAVY


def test_a_misspelt_command_and_a_misspelt_option_are_wrong_usages_with_a_suggestion(program: Program) -> None:
    answer = program("qurey", "SELECT 1")
    assert answer.code == 2
    assert "'query'" in answer.err
    answer = program("status", "--jsn")
    assert answer.code == 2
    assert "--json" in answer.err


def test_python_dash_m_evolve_is_the_program() -> None:
    answer = run_apart("--version")
    assert answer.code == 0
    assert answer.out.startswith("evolve")
