"""Makes tasks of either kind again from what travelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fitness.benchmarks.benchmark import Benchmark
from fitness.benchmarks.episodes import Episodes
from fitness.work.task import Task


def task_from_parts(value: Mapping[str, Any], parts: Sequence[bytes]) -> Task:
    """Returns the task of ``to_parts``."""
    return Episodes.from_parts(value) if value.get("kind") == Episodes.KIND else Benchmark.from_parts(value, parts)
