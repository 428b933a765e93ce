"""Nodes that die, differ or stop answering, on real Ray nodes; each scene runs in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fitness import ray_scenes

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize(
    "scene", [ray_scenes.lost_nodes, ray_scenes.no_node_fits, ray_scenes.lost_head, ray_scenes.lost_own_node]
)
def test_what_befalls_nodes_changes_no_bit_or_is_said(scene: Callable[[], str], told: Callable[[str], None]) -> None:
    command = [sys.executable, "-m", "tests.fitness.ray_scenes", scene.__name__]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    told(done.stdout.strip())
