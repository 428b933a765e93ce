"""What is measured of processes, shared memory and disk during a soak, and whether it grows.

Nouns: *sample* (values by name at one moment), *slope* (by Theil and Sen: the median of all slopes between two samples).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from scipy.stats import theilslopes

#: So much more at the end than at the beginning is no growth: allocators, caches and lazy imports.
ALLOWED: Mapping[str, float] = {
    "memory": 16 << 20,
    "descriptors": 2,
    "threads": 2,
    "processes": 2,
    "shared memory": 1 << 20,
    "disk": 1 << 20,
    "leftovers": 0,
}
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Growth:
    """How one value went. per_minute: the slope, with the ends of its 95 % interval; total: slope by duration."""

    name: str
    first: float
    last: float
    per_minute: float
    low: float
    high: float
    total: float

    @property
    def is_flat(self) -> bool:
        """Whether no growth can be told from noise, or too little to matter."""
        return self.low <= 0.0 or self.total <= ALLOWED[self.name]

    def __str__(self) -> str:
        interval = f"{self.low:+.4g} to {self.high:+.4g}"
        return f"{self.name} {self.first:.6g} -> {self.last:.6g}, slope a minute {self.per_minute:+.4g} ({interval})"


def growths(seconds: Sequence[float], samples: Sequence[Mapping[str, float]], skip: float = 0.25) -> list[Growth]:
    """Returns how every value went, without the first part of the time, in which caches fill."""
    start = seconds[0] + skip * (seconds[-1] - seconds[0])
    rows = [row for row, second in enumerate(seconds) if second >= start]
    minutes = np.array([seconds[row] for row in rows]) / 60.0
    return [_growth(name, minutes, np.array([samples[row][name] for row in rows])) for name in samples[0]]


def _growth(name: str, minutes: np.ndarray, values: np.ndarray) -> Growth:
    slope, _, low, high = theilslopes(values, minutes)
    total = slope * (minutes[-1] - minutes[0])
    return Growth(name, float(values[0]), float(values[-1]), float(slope), float(low), float(high), float(total))


def memory_of(pid: int) -> float:
    """Returns the bytes of a process that are its own or its share, files left out; 0 where it is gone.

    Pages of libraries count for whoever maps them: a process's share of them grows when others end.
    """
    with suppress(OSError):
        lines = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
        return float(sum(int(line[1]) for line in lines if line[0] in ("Pss_Anon:", "Pss_Shmem:"))) * 1024
    return 0.0


def descriptors_of(pid: int) -> float:
    """Returns how many descriptors a process has open; 0 where it is gone."""
    with suppress(psutil.Error):
        return float(psutil.Process(pid).num_fds())
    return 0.0


def threads_of(pid: int) -> float:
    """Returns how many threads a process has; 0 where it is gone."""
    with suppress(psutil.NoSuchProcess):
        return float(psutil.Process(pid).num_threads())
    return 0.0


def shared_bytes() -> float:
    """Returns the bytes of the shared memory objects of this machine; Ray's store is one. Folders there are not ours."""
    total = 0
    for entry in os.scandir(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else ():
        with suppress(OSError):
            total += entry.stat(follow_symlinks=False).st_size if entry.is_file(follow_symlinks=False) else 0
    return float(total)


def disk_bytes(home: Path) -> float:
    """Returns the bytes of a home without lineages and campaigns: what must not grow when campaigns repeat."""
    grows = (home / "lineage", home / "campaigns")
    return _bytes_below(home) - sum(_bytes_below(folder) for folder in grows)


def leftovers(home: Path) -> float:
    """Returns how many temporary files are older than any write takes."""
    return float(sum(_age(path) > 30.0 for path in _files_below(home) if path.name.startswith(".tmp-")))


def zombies(pids: Iterable[int]) -> list[int]:
    """Returns the dead among the children of these processes, as they are not reaped."""
    parents = set(pids)
    found = [process.info for process in psutil.process_iter(["pid", "ppid", "status"])]
    return [facts["pid"] for facts in found if facts["status"] == psutil.STATUS_ZOMBIE and facts["ppid"] in parents]


def _bytes_below(folder: Path) -> float:
    total = 0
    for path in _files_below(folder):
        with suppress(OSError):  # it is gone by now
            total += path.lstat().st_size
    return float(total)


def _files_below(folder: Path) -> list[Path]:
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


def _age(path: Path) -> float:
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime
    return 0.0
