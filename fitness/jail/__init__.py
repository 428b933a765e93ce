"""The jail that candidates are judged in: walls around a process, each told whether it stands, and attacks that try
them.

It may import nothing of the project. Its public things are `enter`, `fork_inside`, `Walls`, `Entered`, `Birth`,
`LAYERS`.

See `fitness/JAIL.md`.
"""

from __future__ import annotations

from fitness.jail.namespaces import Birth, fork_inside
from fitness.jail.walls import LAYERS, Entered, Walls, enter

__all__ = ["LAYERS", "Birth", "Entered", "Walls", "enter", "fork_inside"]
