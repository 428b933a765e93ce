"""Numbers turned into places on paper: axes with their ticks, curves, bands and clouds, for a template to draw as SVG.

Paper is small, 380 by 250 units, so that its writing can be read on a phone. Nouns: *axis*, *tick* (a place with its label),
*plot* (what a template draws; all strings in it but labels are numbers of ours).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evolve.display import count

WIDTH, HEIGHT = 380, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 12, 38


@dataclass(frozen=True)
class Axis:
    """A span of values laid on a span of paper, linearly or by logarithms. begin, end: on paper. is_whole: only
    whole numbers are ticks."""

    low: float
    high: float
    begin: float
    end: float
    is_log: bool = False
    is_whole: bool = False

    def place(self, value: float) -> float:
        """Returns where a value lies on paper, a tenth of a unit exact."""
        low, high, at = (math.log(v) if self.is_log else v for v in (self.low, self.high, value))
        return round(self.begin + (at - low) / (high - low) * (self.end - self.begin), 1)

    def sql(self, column: str) -> str:
        """Returns the same as an SQL expression over a column of ours."""
        low, high = (math.log(v) if self.is_log else v for v in (self.low, self.high))
        at = f"ln({column})" if self.is_log else column
        return f"{self.begin!r} + ({at} - ({low!r})) / ({high - low!r}) * ({self.end - self.begin!r})"

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Round values with their places, four to seven of them where that is possible."""
        return [(self.place(value), text) for value, text in _labelled(self)]


def across(low: float, high: float, *, is_log: bool = False, is_whole: bool = False) -> Axis:
    """Returns the horizontal axis of a plot, a little wider than the values."""
    return Axis(*_wider(low, high, is_log), LEFT, WIDTH - RIGHT, is_log, is_whole)


def upwards(low: float, high: float) -> Axis:
    """Returns the vertical axis of a plot, a little higher than the values."""
    return Axis(*_wider(low, high, is_log=False), HEIGHT - BOTTOM, TOP)


def steps(points: Iterable[tuple[float, float]]) -> str:
    """Returns the path of a staircase through points on paper: each value holds until the next."""
    path = ""
    for x, y in points:
        path += f"H{x}V{y}" if path else f"M{x} {y}"
    return path


def curve(points: Iterable[tuple[float, float]]) -> str:
    """Returns the path of straight lines through points on paper."""
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def band(above: Sequence[tuple[float, float]], below: Sequence[tuple[float, float]]) -> str:
    """Returns the path of the area between two curves."""
    return curve([*above, *reversed(below)]) + "Z"


def squares(cells: Iterable[tuple[int, int]], size: float) -> str:
    """Returns the path of small squares, given by their column and row."""
    return "".join(f"M{x * size:g} {y * size:g}h{size - 1:g}v{size - 1:g}h{1 - size:g}z" for x, y in cells)


def begin_of_interest(values: Sequence[float], low: float) -> float:
    """Returns where an axis of such values (larger is better) may begin: at ``low`` where little and far lies below it."""
    worst, best = min(values), max(values)
    return low if low - worst > (best - low) else worst


def _wider(low: float, high: float, is_log: bool) -> tuple[float, float]:
    is_point = high - low <= 1e-9 * max(abs(low), abs(high))
    if is_log:
        factor = 1.3 if is_point else (high / low) ** 0.06
        return low / factor, high * factor
    margin = (abs(high) * 0.05 or 1.0) if is_point else (high - low) * 0.06
    return low - margin, high + margin


def _labelled(axis: Axis) -> list[tuple[float, str]]:
    low, high = axis.low, axis.high
    if axis.is_log and high / low > 8:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        factors = (1, 2, 5) if high / low < 200 else (1,) if high / low > 1e5 else (1, 3)
        values = [factor * 10.0**power for power in powers for factor in factors]
    else:
        widths = (width for width in _round_widths(high - low) if not axis.is_whole or width >= 1)
        width = next(width for width in widths if (high - low) / width <= 7)
        values = [width * number for number in range(math.ceil(low / width), math.floor(high / width) + 1)]
    kept = [value for value in values if low <= value <= high]
    kept = kept[:: math.ceil(len(kept) / 8) or 1]
    return list(zip(kept, _texts(kept), strict=True))


def _round_widths(span: float) -> Iterable[float]:
    power = math.floor(math.log10(span)) - 1
    return [factor * 10.0**exponent for exponent in range(power, max(power + 4, 1)) for factor in (1, 2, 5)]


def _texts(values: Sequence[float]) -> list[str]:
    if any(abs(value) >= 1e4 for value in values):
        return [count(value) for value in values]
    digits = next((d for d in range(9) if all(abs(round(v, d) - v) <= 1e-9 * max(1.0, abs(v)) for v in values)), 9)
    return [f"{value:,.{digits}f}" for value in values]
