"""The seam between a campaign and whatever shows its progress to people elsewhere.

Nouns: *tracker*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    """Shows a campaign outside.

    Obligations: no method waits for a server or raises because one is dead; losing the tracker never loses the run. All
    methods are called from the campaign's thread.
    """

    def begin(self, campaign: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Opens the run of a campaign."""

    def generation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds one point to every named metric."""

    def finish(self, summary: Mapping[str, Any], front: Sequence[Mapping[str, Any]]) -> None:
        """Records the outcome and the Pareto front, and ends the run."""

    def promoted(self, name: str, block_id: str, archive: Path) -> None:
        """Registers a block (exported under ``archive``) as the newest version of ``name`` with alias "production"."""

    def close(self, timeout_s: float = 30.0) -> None:
        """Delivers what can be delivered within the time, then lets go."""


class NullTracker:
    """A tracker that shows nothing."""

    def begin(self, campaign: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Does nothing."""

    def generation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Does nothing."""

    def finish(self, summary: Mapping[str, Any], front: Sequence[Mapping[str, Any]]) -> None:
        """Does nothing."""

    def promoted(self, name: str, block_id: str, archive: Path) -> None:
        """Does nothing."""

    def close(self, timeout_s: float = 30.0) -> None:
        """Does nothing."""
