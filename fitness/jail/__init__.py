"""The jail that candidates are judged in: walls of several kinds around a process, each told whether it stands.

``fork_inside`` forks a process into namespaces of its own, ``enter`` puts up the walls in it; see ``fitness/JAIL.md``.
"""

from __future__ import annotations

from fitness.jail.namespaces import Birth, fork_inside
from fitness.jail.walls import LAYERS, Entered, Walls, enter

__all__ = ["LAYERS", "Birth", "Entered", "Walls", "enter", "fork_inside"]
