"""The file that says what a campaign ended with, ``summary.json``: read whole and checked, or named with its remedy.

Nouns: none beyond its fields, which ``evolve.campaign.summary.summary_of`` writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evolve.side_files import (
    COUNT,
    NUMBER,
    NUMBER_OR_NONE,
    NUMBERS,
    SCORES,
    TEXT,
    TEXT_OR_NONE,
    check_fields,
    read_record,
    rows_of,
)
from population.errors import NotFound
from population.files.local_files import FileSystem

#: What a finished campaign is shown by; the summary of an older version may lack what came later.
_SHOWN = {
    "campaign": TEXT,
    "state": TEXT,
    "seed": COUNT,
    "generations": COUNT,
    "evaluations": COUNT,
    "population": TEXT,
    "lineage": TEXT,
    "champion": TEXT_OR_NONE,
    "scores": SCORES,
    "seconds": NUMBER,
    "flops": NUMBER,
    "front": rows_of(individual=TEXT, operator=TEXT, flops=NUMBER),
    "operators": rows_of(operator=TEXT, births=COUNT, best=NUMBER_OR_NONE, flops=NUMBER),
}
_OTHERS = {
    "individual": TEXT_OR_NONE,
    "heldout": SCORES,
    "benchmark": TEXT_OR_NONE,
    "objective": TEXT,
    "metric": TEXT,
    "campaign_key": TEXT,
    "reason": TEXT_OR_NONE,
    "extended": NUMBERS,
    "inexact": COUNT,
    "quarantined": COUNT,
}


def read_summary(files: FileSystem, path: Path, handle: str, *, must_be_whole: bool = False) -> dict[str, Any] | None:
    """Returns the summary of a campaign, or None where it has none yet; its state is there, and no field is of another kind.

    Args:
        must_be_whole: everything that the last page shows is there.

    Raises: DamageError, StorageError.
    """
    remedy = f"remove it and resume {handle!r}, which writes it anew"
    try:
        found = read_record(files, path, remedy)
    except NotFound:
        return None
    needed = _SHOWN if must_be_whole else {"state": TEXT}
    check_fields(found, path, remedy, needed, {**_SHOWN, **_OTHERS})
    return found
