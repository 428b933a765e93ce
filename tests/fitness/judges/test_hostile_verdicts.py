from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from fitness.judges.judge import InlineJudge, Judge, SubprocessJudge
from fitness.processes import verdicts
from fitness.processes.zygote import Child
from tests.fitness.outlaws import LIMITS, PLUGINS, TILE, bits_of, candidates, judged
from tests.plugins.outlaw import CRIMES, MARK, mark_of

LATE_S = 0.25
#: how it can end for who does not come back.
DEATHS = (verdicts.CRASH, verdicts.TIMEOUT, verdicts.MEMORY, verdicts.OUTPUT)
#: crime -> the verdicts that it may get, besides a timeout on a busy machine; who is alone among its processes cannot stop
#: itself.
TIMED = {
    "spin": {verdicts.TIMEOUT},
    "sleep": {verdicts.TIMEOUT},
    "memory": {verdicts.MEMORY, verdicts.TIMEOUT},
    "output": {verdicts.OUTPUT},
    "threads": {verdicts.TIMEOUT, verdicts.CRASH, verdicts.MEMORY},
    "segfault": {verdicts.CRASH},
    "hang_up": {verdicts.TIMEOUT, verdicts.CRASH},
    "stop": {verdicts.TIMEOUT, verdicts.OK},
    "drip": {verdicts.TIMEOUT, verdicts.OUTPUT},
    "large_output": {verdicts.OUTPUT, verdicts.MEMORY},
    "lie_about_time": {verdicts.TIMEOUT},
}
QUICK = (
    "abort",
    "segfault",
    "wrong_shape",
    "wrong_dtype",
    "nan",
    "infinity",
    "quit",
    "leave",
    "hostile_error",
    "forged_failure",
)
SLOW = ("spin", "sleep", "memory", "hang_up")


@pytest.fixture(scope="module")
def judge() -> Iterator[SubprocessJudge]:
    found = SubprocessJudge(plugins=PLUGINS, limits=LIMITS)
    assert judged(candidates([""]), found).verdicts == ["ok"]
    yield found
    found.close()


def seconds_to_verdict(judge: SubprocessJudge, crime: str) -> float:
    """Judges one candidate; returns how long beyond its deadline the verdict took (negative: before it)."""
    stack = candidates([crime])
    began = time.monotonic()
    found = judged(stack, judge)
    late_s = time.monotonic() - began - LIMITS.wall_s
    assert set(found.verdicts) <= {*TIMED[crime], verdicts.TIMEOUT}, (crime, found.verdicts, found.details)
    return late_s


def check_lateness(judge: SubprocessJudge, count: int, percentile: int, told: Callable[[str], None]) -> None:
    late = {crime: [seconds_to_verdict(judge, crime) for _ in range(count)] for crime in TIMED}
    worst = {crime: float(np.percentile(found, percentile)) for crime, found in late.items()}
    text = ", ".join(f"{crime} {1000 * late_s:+.0f} ms" for crime, late_s in worst.items())
    told(f"{count} verdicts a crime, percentile {percentile} from the deadline of {LIMITS.wall_s} s: {text}")
    assert {crime: late_s for crime, late_s in worst.items() if late_s >= LATE_S} == {}


def test_a_verdict_comes_soon_after_the_deadline(judge: SubprocessJudge, told: Callable[[str], None]) -> None:
    """The better of two, so that a busy machine fails nobody; the whole test holds the 99th percentile to it."""
    check_lateness(judge, 2, 0, told)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(1800)
def test_verdicts_come_soon_after_the_deadline_at_the_99th_percentile(
    judge: SubprocessJudge, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    check_lateness(judge, scaled(100), 99, told)


def check_neighbours(judge: SubprocessJudge, count: int, told: Callable[[str], None]) -> None:
    """Tiles of four with one to three criminals: the innocent get the very bits that they get alone, outside."""
    generator = np.random.Generator(np.random.Philox(count))
    alone: dict[int, bytes] = {}
    crimes: Counter[str] = Counter()
    mis_scored = innocents = 0
    for tile in range(count):
        kinds = SLOW if tile % 25 == 24 else QUICK
        criminals = generator.integers(1, TILE)
        row_crimes = [str(kind) for kind in generator.choice(kinds, size=criminals)] + [""] * (TILE - criminals)
        generator.shuffle(row_crimes)
        first_seed = TILE * int(generator.integers(0, 50))
        found = judged(candidates(row_crimes, first_seed), judge)
        for row, crime in enumerate(row_crimes):
            seed = first_seed + row
            crimes[crime] += 1
            if crime:
                assert found.verdicts[row] != verdicts.OK, (row_crimes, found.verdicts)
                continue
            if seed not in alone:
                alone[seed] = bits_of(judged(candidates([""], seed), InlineJudge()), 0)
            innocents += 1
            mis_scored += found.verdicts[row] != verdicts.OK or bits_of(found, row) != alone[seed]
    told(f"{count} poisoned tiles, {innocents} innocent neighbours, {mis_scored} mis-scored ({dict(crimes)})")
    assert mis_scored == 0


def test_a_poisoned_tile_costs_its_neighbours_no_bit(judge: SubprocessJudge, told: Callable[[str], None]) -> None:
    check_neighbours(judge, 12, told)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_poisoned_tiles_cost_their_neighbours_no_bit(
    judge: SubprocessJudge, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    check_neighbours(judge, scaled(1000), told)


@pytest.mark.parametrize("crime", sorted(set(CRIMES)))
def test_a_crime_gains_nothing_and_harms_nobody_who_is_judged_later(
    judge: SubprocessJudge, crime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The criminal fails or scores what it would have scored without; the next candidates get the bits they always get."""
    alone = judged(candidates(["", ""]), InlineJudge())
    marks: list[tuple[str, bool] | None] = []
    close = Child.close

    def look_and_close(child: Child) -> None:
        marks.append(mark_of(child.taken.memory[-MARK.size :]))
        close(child)

    with monkeypatch.context() as patch:
        patch.setattr(Child, "close", look_and_close)
        found = judged(candidates([crime]), judge)
    marked = {mark for mark in marks if mark is not None}
    assert {name for name, _ in marked} == {crime}, "a crime that never began proves nothing"
    assert (crime, True) in marked or found.verdicts[0] in DEATHS
    if found.verdicts == [verdicts.OK]:
        assert np.isfinite(found.scores).all()
        assert found.scores[0, 0, 0] < 0.55, "it knows more than noise tells"
    after = judged(candidates(["", ""]), judge)
    assert after.verdicts == [verdicts.OK, verdicts.OK]
    assert [bits_of(after, row) for row in range(2)] == [bits_of(alone, row) for row in range(2)]
    assert np.isfinite(after.scores).all()
    assert getattr(CRIMES[crime], "FELT", []) == [], "its code ran in the process that holds the labels"


@pytest.mark.parametrize("makes", [InlineJudge, lambda: SubprocessJudge(plugins=PLUGINS)], ids=["inline", "subprocess"])
def test_a_neighbours_answers_are_nowhere_in_reach(makes: Callable[[], Judge]) -> None:
    """Somebody answers 1234.5 to everything; who is judged next finds that number in the same process, never in a jail."""
    judge = makes()
    neighbour, searcher = candidates([""]), candidates(["read_neighbours"], 7)
    constant = {name: torch.zeros_like(tensor) for name, tensor in neighbour.tensors.items()}
    constant["out.bias"] = torch.full_like(constant["out.bias"], 1234.5)
    assert judged(neighbour.replace(tensors=constant), judge).verdicts == [verdicts.OK]
    kept = {"as who scores them holds them": np.full((3, 64), 1234.5, np.float32)}
    found = judged(searcher, judge)
    judge.close()
    assert len(kept) == 1
    assert found.verdicts == [verdicts.CRASH if isinstance(judge, InlineJudge) else verdicts.OK], found.details


def test_an_operation_cannot_spoil_the_other_rows_of_its_tile(judge: SubprocessJudge) -> None:
    alone = judged(candidates(["", "", ""], 1), InlineJudge())
    found = judged(candidates(["spoil_neighbours", "", "", ""]), judge)
    assert [bits_of(found, row + 1) for row in range(3)] == [bits_of(alone, row) for row in range(3)]


def test_labels_are_found_where_they_are() -> None:
    """The crime is able: in the process that holds the labels it answers with all of them."""
    found = judged(candidates(["read_labels"]), InlineJudge())
    assert found.scores[0, 0, 0] == 1.0
