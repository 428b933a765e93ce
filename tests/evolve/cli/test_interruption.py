from __future__ import annotations

import os
import signal

import pytest

from evolve.cli.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_sets_the_event_and_the_second_interrupts(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    with Interruption() as interruption:
        os.kill(os.getpid(), number)
        assert interruption.event.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert capsys.readouterr().err.count("interrupted") == 1


def test_handlers_are_given_back_and_held_against_others() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as a library that starts processes does
        interruption.hold()
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.event.wait(5)
    assert signal.getsignal(signal.SIGTERM) is before
