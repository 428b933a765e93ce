"""How a campaign goes, while it goes: a live display on a terminal, plain lines elsewhere; always on standard error.

Nouns: *display*.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from evolve import display
from evolve.cli.shared import output

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from evolve.campaign.summary import Progress

#: At most one plain line in so many seconds.
LINE_EVERY_S = 1.0


@contextmanager
def shown() -> Iterator[Callable[[Progress], None]]:
    """Shows every progress that the returned function is called with; tidies the terminal at the end."""
    if not sys.stderr.isatty():
        yield Lines(output.note, time.monotonic)
        return
    from rich.live import Live

    with Live(console=output.console(sys.stderr), refresh_per_second=4, transient=True) as live:
        yield lambda progress: live.update(live_table(progress))


class Lines:
    """Writes one plain line at every new phase, and at most one a second between."""

    def __init__(self, write: Callable[[str], None], now: Callable[[], float]) -> None:
        self._write, self._now = write, now
        self._phase = ""
        self._last: tuple[int, int] | None = None
        self._next_s = 0.0

    def __call__(self, progress: Progress) -> None:
        """Writes a line where there is something new to say."""
        place = (progress.generation, progress.evaluations)
        is_new_phase = progress.phase != self._phase
        if not is_new_phase and (place == self._last or self._now() < self._next_s):
            return
        self._phase, self._last, self._next_s = progress.phase, place, self._now() + LINE_EVERY_S
        self._write(line(progress))


def line(progress: Progress) -> str:
    """Returns a progress as one plain line."""
    parts = [
        f"{progress.phase:<8} generation {progress.generation:>3}  {progress.evaluations:>6,} evaluations",
        f"{progress.evaluations_per_s:,.0f}/s",
        *(f"{name} {display.number(value)}" for name, value in progress.best.items()),
    ]
    if progress.quarantined:
        parts.append(f"{progress.quarantined} in quarantine")
    parts.append(_time(progress))
    return "  ".join(parts)


def live_table(progress: Progress) -> Table:
    """Returns a progress as a small table for a terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("phase", Text(progress.phase, "bold").append(f"  generation {progress.generation}", "not bold"))
    table.add_row("best", _best(progress.best) if progress.best else "nothing judged yet")
    rate = f"{progress.evaluations:,} at {progress.evaluations_per_s:,.0f} per second, {display.count(progress.flops)} FLOPs"
    table.add_row("evaluations", rate)
    table.add_row("operators", Text(_shares(progress.operator_shares) or "-"))
    if progress.quarantined:
        table.add_row("quarantine", Text(str(progress.quarantined), "yellow"))
    table.add_row("time", _time(progress))
    return table


def _best(values: Mapping[str, float]) -> Text:
    """Returns objectives with their values; a name is text, whatever it holds."""
    from rich.text import Text

    found = Text()
    for name, value in values.items():
        found.append(f"{'   ' if found else ''}{display.visible(name)} ").append(display.number(value), "bold")
    return found


def _time(progress: Progress) -> str:
    left = progress.seconds_left
    return display.duration(progress.seconds) + (f", about {display.duration(left)} left" if left else "")


def _shares(shares: Any) -> str:
    largest = sorted(shares.items(), key=lambda item: -item[1])
    return "  ".join(f"{display.visible(name)} {share:.0%}" for name, share in largest[:6])
