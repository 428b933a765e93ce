from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from evolve.cli.shared import failure
from population import errors
from tests.evolve.cli.conftest import Program


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("seed: too small"), 2),
        (errors.NotFound("no such head"), 2),
        (errors.StoreCorrupt("object x"), 1),
        (errors.StorageError("disk"), 3),
        (errors.NewerHome("newer"), 3),
        (errors.EvolveError("odd"), 70),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 3),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 3),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x/y"), 2),
    ],
)
def test_an_error_becomes_one_message_and_its_exit_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failure.report(error) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_a_full_disk_met_anywhere_is_called_so_with_the_file_and_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    failure.report(OSError(errno.ENOSPC, "No space left on device", "/x/y"))
    assert "/x/y: the disk is full; free some space" in capsys.readouterr().err


def test_a_file_that_is_gone_is_named_with_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    """A file of a home that was removed meanwhile once was "a fault of evolve, not yours", with exit code 70."""
    failure.report(FileNotFoundError(errno.ENOENT, "No such file or directory", "/x/y"))
    assert "/x/y: there is no such file; if it was removed meanwhile, put it back" in capsys.readouterr().err
    assert failure.report(FileNotFoundError(errno.ENOENT, "No such file or directory")) == 70  # nobody knows which


def test_an_unexpected_error_is_ours_and_its_traceback_lies_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError) as caught:
        {}["missing"]
    assert failure.report(caught.value) == 70
    err = capsys.readouterr().err
    assert "fault of evolve" in err
    assert "Traceback" not in err
    found = re.search(r"The details are in (\S+\.txt);", err)
    assert found is not None
    path = Path(found[1])
    assert "Traceback" in path.read_text()
    path.unlink()


def test_the_program_ends_with_70_for_a_fault_and_130_for_an_interrupt(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_duckdb = RuntimeError("Query interrupted")  # what DuckDB raises for Ctrl-C
    for error, code in ((RuntimeError("odd"), 70), (KeyboardInterrupt(), 130), (in_duckdb, 130)):

        def raise_it(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("evolve.cli.shared.options.open_home", raise_it)
        answer = program("status")
        assert answer.code == code
        assert "Traceback" not in answer.err
