"""What every study keeps beside its numbers: settings, versions, machine.

Nouns: *record* (one JSON file a study).
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "ray", "deap", "moocore", "scikit-learn")


def write_record(path: Path, settings: Mapping[str, Any], results: Any) -> None:
    """Writes settings, versions and results as JSON, floats at full precision."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    record = {"settings": dict(settings), "versions": versions, "machine": machine, "results": results}
    path.write_text(json.dumps(record, indent=1) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """Returns a record as ``write_record`` wrote it."""
    record: dict[str, Any] = json.loads(path.read_text())
    return record
