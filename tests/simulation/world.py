"""A world of one thread and one seed: its time, what is under way in it, and what goes wrong.

Nouns: *world*, *weather* (which faults one seed knows, and how often), *crash* (the driver's process is no more).
"""

from __future__ import annotations

import heapq
import random  # noqa: TID251 - draws a schedule of faults; nothing of the product follows from it
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

DAY_S = 86_400.0
#: No campaign of the simulation takes so much of its own time: one that does waits for what will never come.
MAX_SECONDS = 20_000.0


class Crash(BaseException):
    """The driver's process is gone; no handler of its own may catch this."""


class Violation(AssertionError):
    """Something happened that never may."""


@dataclass(frozen=True)
class Weather:
    """What may go wrong under one seed. Rates are probabilities for each message, run, start or call.

    Attributes:
        spread_s: the longest delay of a message. is_ordered: messages of one connection keep their order and come once, as on
            a socket; otherwise they come in any order and some twice, as calls of a cluster may.
        crashes: so many drivers die. disk_errors: so often the disk refuses for a while.
    """

    spread_s: float
    is_ordered: bool
    die_rate: float
    hang_rate: float
    late_rate: float
    refuse_rate: float
    duplicate_rate: float
    bad_start_rate: float
    crashes: int
    disk_errors: int
    interruptions: int
    jump_rate: float

    @staticmethod
    def draw(rng: random.Random) -> Weather:
        """Returns the weather of a seed: each fault is absent under half of the seeds, so that the others are met alone."""

        def rate(highest: float) -> float:
            return rng.choice([0.0, rng.uniform(0.0, highest)])

        return Weather(
            spread_s=rng.choice([0.001, 0.1, 1.0, 5.0]),
            is_ordered=rng.random() < 0.5,
            die_rate=rate(0.3),
            hang_rate=rate(0.2),
            late_rate=rate(0.2),
            refuse_rate=rate(0.2),
            duplicate_rate=rate(0.5),
            bad_start_rate=rate(0.4),
            crashes=rng.choice([0, 1, 1, 2, 3]),
            disk_errors=rng.choice([0, 0, 0, 1, 2]),
            interruptions=rng.choice([0, 0, 0, 1, 2]),
            jump_rate=rate(0.3),
        )


class World:
    """Time and messages under way. As a clock it is the one of the driver's machine."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.weather = Weather.draw(self.rng)
        self.counts: Counter[str] = Counter()
        self.seconds = 0.0
        self._date = 1.7e9
        self._pending: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0

    def now(self) -> float:
        """The date, which jumps."""
        if self.rng.random() < self.weather.jump_rate:
            self.counts["clock jumps"] += 1
            self._date += self.rng.choice([-DAY_S, DAY_S, 0.5])
        return self._date + self.seconds

    def monotonic(self) -> float:
        """The time that never goes back."""
        return self.seconds

    def chance(self, rate: float) -> bool:
        """Whether something of this probability happens now."""
        return self.rng.random() < rate

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Does something after a delay."""
        self._serial += 1
        heapq.heappush(self._pending, (self.seconds + delay_s, self._serial, action))

    def wait(self, until: float) -> bool:
        """Waits until the next thing happens, and lets it; returns False where the time came first."""
        if self._pending and self._pending[0][0] <= until:
            at, _, action = heapq.heappop(self._pending)
            self.seconds = max(self.seconds, at)
            action()
            return True
        if until == float("inf"):
            raise Violation("deadlock: the driver waits for ever and nothing is under way")
        self.seconds = max(self.seconds, until)
        if self.seconds > MAX_SECONDS:
            raise Violation(f"no end after {MAX_SECONDS} simulated seconds")
        return False

    def reboot(self) -> None:
        """Begins a new life of the driver: what was under way to the old one is lost, and time has passed."""
        self._pending.clear()
        self.seconds += self.rng.uniform(0.0, 100.0)
