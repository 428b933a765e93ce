from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from evolve.tracking import outbox
from evolve.tracking.outbox import Note, Outbox
from population.clock import SystemClock


class Listener:
    """Keeps what it is told; fails so many times first."""

    def __init__(self, failures: int = 0) -> None:
        self.heard: list[list[Any]] = []
        self.failures = failures
        self.gate = threading.Event()
        self.gate.set()

    def listen(self, contents: Sequence[Any]) -> None:
        self.gate.wait(20)
        if self.failures:
            self.failures -= 1
            raise OSError("nobody there")
        self.heard.append(list(contents))


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Outbox:
    monkeypatch.setattr(outbox, "RETRY_S", 0.02)
    return Outbox("test", SystemClock(), size=50)


def test_notes_are_said_in_order_and_those_that_can_wait_together(box: Outbox) -> None:
    listener = Listener()
    for number in range(5):
        box.put(Note(listener.listen, number, can_wait=True))
    box.put(Note(listener.listen, "now"))
    box.put(Note(listener.listen, 5, can_wait=True))
    box.close(10)
    assert listener.heard == [[0, 1, 2, 3, 4], ["now"], [5]]
    assert (box.lost, box.is_late) == (0, False)


def test_what_takes_long_to_say_is_said_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "SHARE", 0.5)
    monkeypatch.setattr(outbox, "FLUSH_S", 0.01)
    box = Outbox("test", SystemClock())
    heard: list[float] = []

    def laborious(contents: Sequence[Any]) -> None:
        heard.append(time.monotonic())
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass

    for number in range(2):
        box.put(Note(laborious, number, can_wait=True))
        while len(heard) <= number:
            time.sleep(0.01)
    box.close(10)
    assert heard[1] - heard[0] >= 0.59  # 0.2 s of saying, then twice as long of waiting


def test_a_note_is_tried_again_and_then_said_once(box: Outbox) -> None:
    listener = Listener(failures=2)
    box.put(Note(listener.listen, "a"))
    time.sleep(0.3)
    box.close(10)
    assert listener.heard == [["a"]]
    assert box.lost == 0


def test_a_note_that_is_refused_every_time_is_given_up_and_those_after_it_are_said(box: Outbox) -> None:
    listener, other = Listener(failures=outbox.TRIES), Listener()
    box.put(Note(listener.listen, "bad"))
    box.put(Note(other.listen, "good"))
    time.sleep(0.3)
    box.close(10)
    assert listener.heard == []
    assert other.heard == [["good"]]
    assert box.lost == 1
    assert box.reason == "OSError: nobody there"


def test_a_needed_note_is_never_passed_over(box: Outbox) -> None:
    listener = Listener(failures=outbox.TRIES + 3)
    box.put(Note(listener.listen, "begin", is_needed=True))
    box.put(Note(listener.listen, 1, can_wait=True))
    time.sleep(0.6)
    box.close(10)
    assert listener.heard == [["begin"], [1]]
    assert box.lost == 0


def test_closing_gives_up_what_nobody_takes_and_counts_it(box: Outbox) -> None:
    listener = Listener(failures=10**6)
    box.put(Note(listener.listen, "begin", is_needed=True))
    for number in range(7):
        box.put(Note(listener.listen, number, can_wait=True))
    box.close(10)
    assert box.lost == 8
    assert not box.is_late


def test_putting_and_closing_never_wait_for_somebody_who_hangs(box: Outbox) -> None:
    listener = Listener()
    listener.gate.clear()
    started = time.monotonic()
    for number in range(200):
        box.put(Note(listener.listen, number))
    assert time.monotonic() - started < 2
    box.close(0.2)
    assert time.monotonic() - started < 4
    assert box.is_late
    assert box.lost >= 200 - 50 - 1
    listener.gate.set()


def test_closing_an_outbox_that_nothing_was_put_into_starts_nothing(box: Outbox) -> None:
    before = threading.active_count()
    box.close(1)
    assert threading.active_count() == before
