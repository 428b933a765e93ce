"""Moves a home to the newest format, one version at a time; each step may be repeated, and the VERSION file comes last.

    1   as begun
    2   tombstones/ holds what is known of purged campaigns, whose handles nobody gets again; logs may hold marks (paused,
        stopped, failed, running), extensions, changes of environment, and forks

A program reads every older version. It writes campaigns only into homes of its own version, so that a program of the older
one never meets a log that it would take for damaged.

Nouns: *migration*.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evolve.home.home import LOCK_FILE, VERSION, VERSION_FILE, Home
from population.errors import Locked
from population.files.local_files import FileSystem

UPGRADE_LOCK = "upgrade.lock"


def _to_2(files: FileSystem, root: Path) -> None:
    files.make_dirs(root / "tombstones")


#: From which version -> what moves a home to the next one. Each is repeatable, and leaves readers of the home untouched.
MIGRATIONS: Mapping[int, Callable[[FileSystem, Path], None]] = {1: _to_2}


def upgrade(home: Home) -> dict[str, Any]:
    """Returns from which version to which a home was moved; the same one twice where nothing was to do.

    Raises:
        Locked: a campaign of this home runs, or somebody else upgrades it. StorageError: run it again, nothing is lost.
    """
    with home.files.lock(home.root / UPGRADE_LOCK):
        before = home.version
        for handle in home.campaigns():
            if home.is_running(handle):
                raise Locked(f"campaign {handle!r} runs in {home.root} ({LOCK_FILE} is held); stop it first")
        for version in range(before, VERSION):
            MIGRATIONS[version](home.files, home.root)
            data = json.dumps({"version": version + 1}).encode() + b"\n"
            home.files.write_atomic(home.root / VERSION_FILE, data, replace=True)
    return {"home": str(home.root), "before": before, "after": home.version}
