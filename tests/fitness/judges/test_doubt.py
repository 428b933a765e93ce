"""A judging process that somebody kills from outside: the candidate it judged keeps its score, to the bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import pytest

from fitness.judges.judge import Failure, InlineJudge, SubprocessJudge
from fitness.judges.tiles import Outputs, Tile
from fitness.processes import verdicts
from fitness.processes.jailed_process import Meanwhile, nothing
from tests.fitness.evaluators.test_orphans import killed_meanwhile
from tests.fitness.outlaws import LIMITS, PLUGINS, bits_of, candidates, judged

SHOT = Failure(verdicts.MEMORY, verdicts.MEMORY_DETAIL, is_doubtful=True)


class Shot:
    """A judge whose process somebody kills at these calls."""

    level = "none"

    def __init__(self, *moments: int) -> None:
        self._inner, self._moments, self.num_calls = InlineJudge(), moments, 0

    def holds(self, key: bytes) -> bool:
        return self._inner.holds(key)

    def load(self, key: bytes, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        self._inner.load(key, inputs)

    def run(self, tile: Tile, *, fresh: bool = False, meanwhile: Meanwhile = nothing) -> Outputs | Failure:
        self.num_calls += 1
        return SHOT if self.num_calls in self._moments else self._inner.run(tile, fresh=fresh, meanwhile=meanwhile)

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize(("num", "moments"), [(1, [1]), (1, [1, 2]), (3, [1]), (3, [1, 3])])
def test_a_candidate_whose_process_was_killed_is_judged_again_to_the_same_bits(num: int, moments: list[int]) -> None:
    """One alone in its tile once had the verdict "memory" for it, and the campaign another hash."""
    expected = judged(candidates([""] * num), InlineJudge())
    found = judged(candidates([""] * num), Shot(*moments))
    assert found.verdicts == ["ok"] * num
    assert [bits_of(found, row) for row in range(num)] == [bits_of(expected, row) for row in range(num)]


def test_one_that_is_killed_each_time_has_its_verdict_after_the_third() -> None:
    judge = Shot(1, 2, 3)
    assert judged(candidates([""]), judge).verdicts == [verdicts.MEMORY]
    assert judge.num_calls == 3


def test_a_real_kill_from_outside_is_no_verdict() -> None:
    killed: Counter[int] = Counter()
    judge = SubprocessJudge(plugins=PLUGINS, limits=LIMITS)
    judged(candidates([""]), judge)
    assert judge._cell.running is not None
    with killed_meanwhile(judge._cell.running.pid, 1, 0.3, killed):
        found = judged(candidates(["sleep"]), judge)
    judge.close()
    assert killed[1] == 1
    assert found.verdicts == [verdicts.TIMEOUT]  # its own, not that of the kill
