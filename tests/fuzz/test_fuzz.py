"""Thousands of changed files behind the doors that the command line uses: taken, or refused by an error that says so.

Nothing else may come of one: no fault of ours, no hang, no memory beyond 1 GiB. Told as JSON by `tests.fuzz.driver`, a process
for each format, so that its memory is measured.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evolve.cli import main
from evolve.home.home import Home
from tests.evolve.blocks import classifier
from tests.fuzz.doors import DOORS, ROOT, mutant, table_block

MOST_MIB = 1024
#: How many of 10,000 are of each format.
SHARES = {
    "npz": 1500, "npy": 1000, "csv": 900, "numbers": 500, "parquet": 1500, "json": 900, "lists": 500, "safetensors": 1000,
    "weights": 400, "pt": 600, "yaml": 400, "answer": 500, "home": 300,
}  # fmt: skip


def test_the_seeds_are_taken(tmp_path: Path) -> None:
    for form, door in DOORS.items():
        for data in door.seeds():
            path = tmp_path / f"seed{door.suffix}"
            path.write_bytes(data)
            door.enter(path)
        assert mutant(form, 1, 1) == mutant(form, 1, 1)


def driven(form: str, count: int, seed: int = 0, first: int = 0) -> dict[str, Any]:
    """What a driver tells of so many changed files."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz.driver", form, str(first), str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("form", ["npz", "parquet", "json", "yaml", "safetensors", "answer"])
def test_a_changed_file_is_taken_or_refused(form: str, tmp_path: Path) -> None:
    """The quick share, in this process."""
    from tests.fuzz.driver import drive

    found = drive(form, 0, 40, 0, tmp_path)
    assert found["faults"] == []
    assert found["taken"] + found["refused"] == 40
    assert found["refused"]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("form", SHARES)
def test_thousands_of_changed_files_are_taken_or_refused(
    form: str, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    found = driven(form, scaled(SHARES[form]))
    told(
        f"{found['taken']} taken, {found['refused']} refused, slowest {found['slowest'][0]} s, most {found['mib']} MiB"
    )
    assert found["faults"] == []
    assert found["mib"] < MOST_MIB


# ---- through the command line ----------------------------------------------------------------------------------------


def _call(arguments: list[str], patience_s: int = 120) -> tuple[int, str, int]:
    """Exit code, standard error and most memory in MiB of the program, in a fork of this process that ends with it."""
    with tempfile.TemporaryFile("w+") as err:
        pid = os.fork()
        if pid == 0:
            try:
                import signal

                signal.alarm(patience_s)
                os.dup2(err.fileno(), 2)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                sys.argv = ["evolve", *arguments]
                main()
            except SystemExit as leaving:
                os._exit(leaving.code if isinstance(leaving.code, int) else 0)
            finally:
                os._exit(99)
        _, status, usage = os.wait4(pid, 0)
        err.seek(0)
        return os.waitstatus_to_exitcode(status), err.read(), usage.ru_maxrss // 1024


def _asked(form: str, path: Path, folder: Path, blocks: dict[str, str]) -> list[str]:
    """The command that a file of this form is handed to. A campaign never begins: its home is refused after all else."""
    home, nowhere = str(folder / "home"), ["--home", str(folder / "no home")]
    if form in ("csv", "parquet", "json"):
        if path.stem.endswith("0"):
            return ["infer", blocks["rows"], "--input", str(path), "--home", home]
        return ["run", str(ROOT / "configs/tabular.yaml"), f"data.path={path}", "data.target=y", *nowhere]
    if form in ("npz", "npy", "numbers", "lists"):
        if form == "npz" and not path.stem.endswith("0"):
            return ["run", str(ROOT / "configs/arrays.yaml"), f"data.path={path}", "data.target=target", *nowhere]
        return ["infer", blocks["plain"], "--input", str(path), "--home", home]
    if form == "safetensors":
        return ["blocks", "import", str(path), "--home", str(folder / "imports")]
    return ["run", str(path), *nowhere]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_hundreds_of_changed_files_through_the_command_line_end_with_0_or_2(
    tmp_path: Path, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    assert torch.get_num_threads() == 1
    home = Home.create(tmp_path / "home")
    (tmp_path / "no home").mkdir()
    (tmp_path / "no home" / "thesis.tex").write_text("...")
    rows = table_block(tmp_path)
    blocks = {"plain": home.block_store().put(classifier()), "rows": home.block_store().put(rows)}
    forms = ["npz", "npy", "csv", "numbers", "parquet", "json", "lists", "safetensors", "yaml"]
    codes: dict[int, int] = {}
    most = 0
    for number in range(scaled(300)):
        form = forms[number % len(forms)]
        path = tmp_path / f"file{number}{DOORS[form].suffix}"
        path.write_bytes(mutant(form, number, 7))
        code, err, mib = _call(_asked(form, path, tmp_path, blocks))
        codes[code], most = codes.get(code, 0) + 1, max(most, mib)
        assert code in (0, 2), (number, form, code, err[-2000:])
        assert "Traceback" not in err
        assert mib < MOST_MIB, (number, form, mib)
        path.unlink()
    told(
        f"exit codes {codes}, most {most} MiB, of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB"
    )
