"""The MLflow tracker of a home, as whoever launches or promotes holds it: made, closed, and told later what it missed.

In the home lies a note of what each MLflow was told about heads, so that looking at heads need not ask a server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evolve.home.home import Home
    from evolve.tracking.mlflow_tracker import MlflowTracker
    from evolve.tracking.protocol import Tracker

TOLD_FILE = "mlflow-heads.json"
#: How long MLflow is waited for at the end, and where a person has asked for the end at once.
PATIENCE_S, AT_ONCE_S = 30.0, 1.0


class RememberingTracker:
    """A tracker that passes everything on, and remembers which heads were told."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self.told: dict[str, str] = {}

    def begin(self, campaign: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Passes on."""
        self._tracker.begin(campaign, config, tags)

    def generation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Passes on."""
        self._tracker.generation(step, metrics)

    def finish(self, summary: Mapping[str, Any], front: Sequence[Mapping[str, Any]]) -> None:
        """Passes on."""
        self._tracker.finish(summary, front)

    def promoted(self, name: str, block_id: str, archive: Path) -> None:
        """Passes on, and remembers."""
        self.told[name] = block_id
        self._tracker.promoted(name, block_id, archive)

    def close(self, timeout_s: float = 30.0) -> None:
        """Passes on."""
        self._tracker.close(timeout_s)


@contextmanager
def tracking(home: Home, say: Callable[[str], None]) -> Iterator[Tracker]:
    """Yields the tracker of a home; at the end it delivers what it can, and what it could not is said in one line."""
    from evolve.tracking.mlflow_tracker import MlflowTracker

    tracker = MlflowTracker(home.mlflow_uri, home.artifacts_root)
    witness = RememberingTracker(tracker)
    try:
        with _closing(tracker, say):
            yield witness
    finally:
        if tracker.problem is None:
            _remember(home, witness.told)


@contextmanager
def tracking_a_study(home: Home, say: Callable[[str], None]) -> Iterator[tuple[Tracker, Tracker]]:
    """Yields the tracker of a study and that of its trials, whose runs are shown below the study's; as ``tracking``."""
    from evolve.tracking.mlflow_tracker import MlflowTracker

    tracker = MlflowTracker(home.mlflow_uri, home.artifacts_root)
    with _closing(tracker, say):
        yield tracker, tracker.nested()


@contextmanager
def _closing(tracker: MlflowTracker, say: Callable[[str], None]) -> Iterator[None]:
    patience_s = PATIENCE_S
    try:
        yield
    except KeyboardInterrupt:
        patience_s = AT_ONCE_S
        raise
    finally:
        tracker.close(patience_s)
        if tracker.problem is not None:
            say(tracker.problem)


def catch_up(home: Home) -> None:
    """Points MLflow's aliases where the heads stand, where a promotion or a rollback could not. Never fails a command."""
    from population.errors import InfrastructureError

    heads = home.heads()
    standing = {name: head.block for name in heads.names() if (head := heads.current(name)) is not None}
    if _told(home).get(home.mlflow_uri, {}) == standing:
        return
    from evolve.promotion import promote as promotion

    try:
        with tracking(home, lambda text: None) as tracker:
            promotion.catch_up(home, tracker=tracker)
    except InfrastructureError:
        return  # somebody else decides just now, or the home is not ours to write: the next command tells it


def _told(home: Home) -> dict[str, dict[str, str]]:
    """Returns what each MLflow was told; a note that cannot be read counts as none, and is written anew."""
    from evolve.side_files import read_record
    from population.errors import DamageError, NotFound, StorageError

    try:
        value = read_record(home.files, home.root / TOLD_FILE, "remove it")
    except (NotFound, DamageError, StorageError):
        return {}
    return {uri: heads for uri, heads in value.items() if isinstance(heads, dict)}


def _remember(home: Home, told: Mapping[str, str]) -> None:
    from population.errors import InfrastructureError

    before = _told(home)
    after = {**before, home.mlflow_uri: {**before.get(home.mlflow_uri, {}), **told}}
    if told and after != before:
        data = json.dumps(after, indent=2).encode() + b"\n"
        with suppress(InfrastructureError):  # it will be told once more
            home.files.write_atomic(home.root / TOLD_FILE, data, mode=0o644, replace=True)
