"""What was found in a table, as a person reads it before a campaign begins."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from evolve import display
from evolve.cli.shared import output

MAX_COLUMNS = 30
MAX_CLASSES = 8


def show_table(report: Mapping[str, Any]) -> None:
    """Prints what a table's columns were taken for, its task, and what a person should know, on standard error."""
    target, columns = report["target"], report["columns"]
    used = [column for column in columns if column["kind"] != "dropped"]
    output.note(
        f"{report['rows_used']:,} rows, {len(used)} of {len(columns)} columns used; target {target['column']!r}: "
        f"{target['task']} ({target['why']}): {_shown_target(target)}"
    )
    shown = sorted(columns, key=lambda column: column["kind"] != "dropped" and not column["note"])[:MAX_COLUMNS]
    names = {column["name"] for column in shown}
    rows = [
        (
            _cut(column["name"], 40),
            column["kind"],
            f"{column['distinct']:,}" if column["distinct"] else "",
            f"{column['missing'] / report['rows_used']:.0%}" if column["missing"] else "",
            _cut(column["note"], 100),
        )
        for column in columns
        if column["name"] in names
    ]
    headings = ("column", "taken as", "different", "missing", "")
    output.show(display.table(headings, rows, right=("different", "missing")), file=sys.stderr)
    if len(columns) > len(rows):
        output.note(f"and {len(columns) - len(rows):,} more columns")
    for text in report["notes"]:
        output.note(f"note: {text}")


def _shown_target(target: Mapping[str, Any]) -> str:
    if "classes" not in target:
        return f"{target['least']:g} to {target['most']:g}, {target['mean']:g} on average"
    parts = [f"{_cut(name, 40)} {count:,}" for name, count in list(target["classes"].items())[:MAX_CLASSES]]
    more = len(target["classes"]) - len(parts)
    return ", ".join(parts) + (f" and {more} more classes" if more else "")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
