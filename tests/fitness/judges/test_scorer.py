"""Users' scoring functions in their jail: what they return is checked, what they break is theirs alone."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from fitness.judges.scorer import Scorer
from fitness.processes import verdicts
from fitness.processes.limits import Failure, Limits
from population.errors import EvaluatorFailed, InputError
from tests.plugins import scoring

LIMITS = Limits(cpu_s=2, wall_s=3.0, memory_bytes=256 << 20)
NAMES = ("right", "margin")
OUTPUTS = np.random.Generator(np.random.Philox(3)).normal(size=(3, 50)).astype(np.float32)
TARGETS = np.arange(50, dtype=np.int64) % 3


def scorer_of(name: str, limits: Limits = LIMITS) -> Scorer:
    return Scorer(f"tests.plugins.scoring:{name}", NAMES, limits=limits)


@pytest.fixture(scope="module")
def honest() -> Iterator[Scorer]:
    found = scorer_of("honest")
    yield found
    found.close()
    found.close()


def test_the_numbers_are_those_of_the_function(honest: Scorer) -> None:
    assert honest.score(OUTPUTS, TARGETS) == scoring.honest(OUTPUTS, TARGETS)
    wide = np.tile(OUTPUTS, (1, 400)).repeat(40, axis=0)
    targets = np.tile(TARGETS, 400)
    assert honest.score(wide, targets) == scoring.honest(wide, targets)


def test_a_killed_process_is_replaced(honest: Scorer) -> None:
    first = honest.score(OUTPUTS, TARGETS)
    zygote = honest._cell.running
    assert zygote is not None
    os.kill(zygote.pid, 9)
    assert honest.score(OUTPUTS, TARGETS) == first


@pytest.mark.parametrize(
    ("name", "cause", "words"),
    [
        ("reads_a_file", verdicts.CRASH, "Error"),
        ("spoils_its_inputs", verdicts.CRASH, "read-only"),
        ("other_names", verdicts.OUTPUT, "exactly right, margin"),
        ("no_dict", verdicts.OUTPUT, "exactly right, margin"),
        ("an_array", verdicts.CRASH, "TypeError"),
        ("not_a_number", verdicts.NAN, "for right"),
        ("hangs", verdicts.TIMEOUT, verdicts.TIMEOUT_DETAIL),
        ("dies", verdicts.CRASH, "ended by SIGSEGV"),
        ("raises", verdicts.CRASH, "ValueError: no such score"),
    ],
)
def test_what_a_function_does_wrong_is_its_verdict(name: str, cause: str, words: str) -> None:
    scorer = scorer_of(name)
    found = scorer.score(OUTPUTS, TARGETS)
    scorer.close()
    assert isinstance(found, Failure)
    assert found.cause == cause
    assert words in found.detail


def test_what_it_prints_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    scorer = scorer_of("prints")
    found = scorer.score(OUTPUTS, TARGETS)
    scorer.close()
    assert found == scoring.honest(OUTPUTS, TARGETS)
    assert capfd.readouterr() == ("", "")


def test_after_a_failure_the_next_call_is_answered_by_a_new_process() -> None:
    scorer = scorer_of("fails_at_second")
    found = [scorer.score(OUTPUTS, TARGETS) for _ in range(3)]
    scorer.close()
    expected = scoring.honest(OUTPUTS, TARGETS)
    assert found == [expected, Failure(verdicts.CRASH, "ended with exit code 4 and no answer"), expected]


@pytest.mark.parametrize(
    "path", ["tests.plugins.scoring:nobody", "no_such_module:score", "tests.plugins.scoring:CALLS"]
)
def test_a_function_that_is_not_there_is_named(path: str) -> None:
    scorer = Scorer(path, NAMES, limits=LIMITS)
    with pytest.raises(EvaluatorFailed, match=path):
        scorer.score(OUTPUTS, TARGETS)
    scorer.close()


def test_arrays_and_names_are_checked_before_anything_runs(honest: Scorer) -> None:
    with pytest.raises(InputError, match="targets"):
        honest.score(OUTPUTS, TARGETS[:4])
    for names in ((), ("right", "right")):
        with pytest.raises(InputError, match="a name of its own"):
            Scorer("tests.plugins.scoring:honest", names)


def test_nothing_of_a_judge_is_in_the_scorers_process(honest: Scorer) -> None:
    """It never loaded what candidates are computed with, and holds one connection."""
    honest.score(OUTPUTS, TARGETS)
    child, zygote = honest._cell.child, honest._cell.running
    assert child is not None
    assert zygote is not None
    with open(f"/proc/{zygote.pid}/maps", encoding="utf-8") as maps:  # the child's own may be read by root alone
        assert "libtorch" not in maps.read()
    with open(f"/proc/{child.pid}/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
