"""Users' simulators in their jail: episodes in lockstep, and what a simulator that misbehaves costs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from fitness.processes import verdicts
from fitness.processes.limits import Failure, Limits
from fitness.simulators.simulator import Environment, Spaces, Step
from population.errors import EvaluatorFailed, InputError

LIMITS = Limits(cpu_s=2, wall_s=2.0, memory_bytes=256 << 20)
SPACES = Spaces(observation=(2,), action=(1,))
ONES = np.ones((4, 1), dtype=np.float32)


def environment_of(name: str, spaces: Spaces = SPACES) -> Environment:
    return Environment(f"tests.plugins.simulators:{name}", spaces, limits=LIMITS)


@pytest.fixture(scope="module")
def counter() -> Iterator[Environment]:
    found = environment_of("counter")
    yield found
    found.close()
    found.close()


def test_an_episode_is_the_simulators_own(counter: Environment) -> None:
    for start in (10, 20):
        first = counter.reset(range(start, start + 4))
        assert not isinstance(first, Failure)
        assert first.tolist() == [[start + lane, start + lane] for lane in range(4)]
        for number in (1, 2, 3):
            step = counter.step(ONES)
            assert isinstance(step, Step)
            assert step.observations[:, 0].tolist() == [start + lane + number for lane in range(4)]
            assert step.rewards.tolist() == [number] * 4
            assert step.terminated.tolist() == [number >= 3] * 4
            assert not step.truncated.any()


def test_a_policy_and_a_simulator_take_turns(counter: Environment) -> None:
    """What is chosen depends on what was seen, and is chosen outside the simulator's jail."""
    seen = counter.reset([0, 1, 2, 3])
    assert not isinstance(seen, Failure)
    for _ in range(5):
        step = counter.step((seen[:, 1:] - seen[:, :1] + 3) / 2)
        assert isinstance(step, Step)
        seen = step.observations
    assert seen[:, 0] - seen[:, 1] == pytest.approx([3 - 3 / 2**5] * 4)


@pytest.mark.parametrize(
    ("trick", "cause", "words"),
    [
        ("hang", verdicts.TIMEOUT, verdicts.TIMEOUT_DETAIL),
        ("die", verdicts.CRASH, "ended with exit code 5"),
        ("file", verdicts.CRASH, "Error"),
        ("nan", verdicts.NAN, "rewards hold NaN"),
        ("shape", verdicts.OUTPUT, "observations must have shape [4, 2], got [4, 1]"),
        ("objects", verdicts.OUTPUT, "rewards must hold numbers"),
        ("flags", verdicts.OUTPUT, "terminated must hold booleans"),
        ("few", verdicts.OUTPUT, "step must return"),
    ],
)
def test_what_a_simulator_does_wrong_ends_its_episode_with_a_verdict(trick: str, cause: str, words: str) -> None:
    environment = environment_of(f"trick_{trick}")
    environment.reset(range(4))
    found = environment.step(ONES)
    assert isinstance(found, Failure)
    assert found.cause == cause
    assert words in found.detail
    with pytest.raises(InputError, match="reset first"):
        environment.step(ONES)
    assert isinstance(environment.reset(range(4)), np.ndarray)
    environment.close()


def test_what_it_prints_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    environment = environment_of("trick_print")
    environment.reset(range(4))
    assert isinstance(environment.step(ONES), Step)
    environment.close()
    assert capfd.readouterr() == ("", "")


def test_a_factory_that_fails_is_a_verdict_and_one_that_is_not_there_an_error() -> None:
    environment = environment_of("cannot_be_made")
    assert environment.reset(range(4)) == Failure(verdicts.CRASH, "RuntimeError: no simulator here")
    environment.close()
    nobody = environment_of("nobody")
    with pytest.raises(EvaluatorFailed, match=r"tests\.plugins\.simulators:nobody"):
        nobody.reset(range(4))
    nobody.close()


def test_sizes_are_checked_before_anything_runs(counter: Environment) -> None:
    with pytest.raises(InputError, match="one seed and one variant a lane"):
        counter.reset([1, 2], [0])
    with pytest.raises(InputError, match="one seed and one variant a lane"):
        counter.reset([])
    counter.reset(range(4))
    with pytest.raises(InputError, match="actions"):
        counter.step(ONES[:2])


def test_arrays_larger_than_the_least_memory_fit() -> None:
    spaces = Spaces(observation=(2,), action=(8,))
    environment = environment_of("counter", spaces)
    assert isinstance(environment.reset(np.arange(300_000)), np.ndarray)
    step = environment.step(np.ones((300_000, 8), dtype=np.float32))
    environment.close()
    assert isinstance(step, Step)
    assert step.rewards.sum() == 300_000


def test_a_simulator_that_is_killed_from_outside_is_told_and_can_begin_again(counter: Environment) -> None:
    counter.reset(range(4))
    assert counter._cell.running is not None
    counter._cell.running._process.kill()
    counter._cell.running._process.wait()
    found: object = None
    try:
        found = counter.step(ONES)
    except EvaluatorFailed as error:
        found = error
    assert isinstance(found, EvaluatorFailed | Failure)
    assert isinstance(counter.reset(range(4)), np.ndarray)
