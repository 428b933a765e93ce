from __future__ import annotations

import os
import signal

import pytest

from evolve.cli.shared.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_sets_the_event_and_the_second_interrupts(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    with Interruption() as interruption:
        os.kill(os.getpid(), number)
        assert interruption.event.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert capfd.readouterr().err.count("interrupted") == 1


def test_handlers_are_given_back_and_held_against_others() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as a library that starts processes does
        interruption.hold()
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.event.wait(5)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_comes_while_the_event_is_locked_neither_hangs_nor_is_lost() -> None:
    """The handler runs within whatever it interrupts: it once set the event itself, whose lock this thread may hold."""
    with Interruption() as interruption:
        with interruption.event._cond:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGINT)
        assert interruption.event.wait(5)
