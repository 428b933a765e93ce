"""The lineage: who came from whom, by which operation, with which score; one durable log per campaign, read by SQL.

It may import `population.lineage.format`, `population.lineage.journal` and `population.lineage.sql`. Its public
things are `LineageWriter`, `LineageReader`, `Commit`, `Births`, `Measure`, `QueryLimits`.

The formats stand in LINEAGE.md. The reader and the writer bring Arrow with them and are imported when they are first
asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from population.lineage.format.records import STATUSES, Births, Commit, Measure
from population.lineage.format.schema import HOME_HANDLE, VIEW_NAMES
from population.lineage.sql.limits import QueryLimits

if TYPE_CHECKING:
    from population.lineage.journal.reader import LineageReader, Snapshot
    from population.lineage.journal.writer import LineageWriter

__all__ = [
    "HOME_HANDLE",
    "STATUSES",
    "VIEW_NAMES",
    "Births",
    "Commit",
    "LineageReader",
    "LineageWriter",
    "Measure",
    "QueryLimits",
    "Snapshot",
]

_LAZY = {"LineageReader": "journal.reader", "Snapshot": "journal.reader", "LineageWriter": "journal.writer"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
