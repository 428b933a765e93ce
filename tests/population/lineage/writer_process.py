"""A writer in a process of its own: commits sample steps to HOME until it is killed, printing each step once it is durable.

Usage: python writer_process.py HOME STEPS BIRTHS SEAL_ROWS
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from population.clock import SystemClock
from population.files.local_files import LocalFiles
from population.lineage import LineageWriter
from tests.population.lineage.lineage_samples import sample_commit


def _tell(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main(home: Path, steps: int, births: int, seal_rows: int) -> None:
    with LineageWriter(LocalFiles(), home, "digits-1", SystemClock(), seal_rows=seal_rows) as writer:
        _tell("open")
        for step in range(writer.next_step, steps):
            writer.commit(sample_commit(step, births))
            _tell(step)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
