"""A reader in a process of its own: counts individuals over and over, one line an answer, until it is killed.

Usage: python -m experiments.lineage.reader HOME
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from experiments.lineage import campaign
from population.files.local_files import LocalFiles
from population.lineage import LineageReader
from population.lineage.sql.query import run_query

SQL = f"""SELECT (SELECT count(*) FROM individuals), (SELECT count(*) FROM scores) // {len(campaign.MEASURES)},
    (SELECT coalesce(max(generation) + 1, 0) FROM generations) * {campaign.GENERATION}"""


def main(home: Path) -> None:
    """Prints the counts of individuals, judged individuals and individuals by generation, and the seconds it took."""
    reader = LineageReader(LocalFiles(), home)
    while True:
        began = time.perf_counter()
        (row,) = run_query(reader, SQL).to_pylist()
        sys.stdout.write(" ".join(map(str, (*row.values(), time.perf_counter() - began))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
