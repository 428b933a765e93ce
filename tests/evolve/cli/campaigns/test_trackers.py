from __future__ import annotations

from pathlib import Path

import pytest

from evolve.driver import trackers
from evolve.home.home import Home
from tests.evolve.cli.conftest import Done


class Recorder:
    """Stands where MLflow's tracker stands, and may be out of reach."""

    def __init__(self, *_: object) -> None:
        self.problem = Recorder.trouble

    trouble: str | None = None
    told: list[tuple[str, str]] = []
    waited: list[float] = []

    def promoted(self, name: str, block_id: str, archive: Path) -> None:
        Recorder.told.append((name, block_id))

    def close(self, timeout_s: float = 30.0) -> None:
        Recorder.waited.append(timeout_s)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    monkeypatch.setattr("evolve.tracking.mlflow_tracker.MlflowTracker", Recorder)
    Recorder.trouble, Recorder.told, Recorder.waited = None, [], []
    return Recorder


def test_what_was_told_at_the_promotion_is_not_told_again(
    finished: Done, own_home: Path, recorder: type[Recorder]
) -> None:
    home = Home.open(finished.home)  # a copy lies elsewhere, and so has another tracking database
    trackers.catch_up(home)
    assert recorder.told == []
    trackers.catch_up(Home.open(own_home))
    assert recorder.told == [("tiny", finished.summary["champion"])]
    trackers.catch_up(Home.open(own_home))
    assert len(recorder.told) == 1


def test_a_move_that_was_missed_is_made_up_for_when_the_tracker_is_back(
    finished: Done, own_home: Path, recorder: type[Recorder]
) -> None:
    home = Home.open(own_home)
    recorder.trouble = "away"
    trackers.catch_up(home)
    recorder.trouble = None
    trackers.catch_up(home)
    assert recorder.told == [("tiny", finished.summary["champion"])] * 2


def test_who_asks_twice_for_the_end_does_not_wait_for_mlflow(own_home: Path, recorder: type[Recorder]) -> None:
    """A server that did not answer once kept a driver for seconds after the second Ctrl-C."""
    with trackers.tracking(Home.open(own_home), print):
        pass
    with pytest.raises(KeyboardInterrupt), trackers.tracking(Home.open(own_home), print):
        raise KeyboardInterrupt
    assert recorder.waited == [30.0, 1.0]
