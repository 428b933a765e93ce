"""Tries the walls in worlds, from one process that has imported everything before: ``python -m tests.attacks.examine WORLD...``.

One JSON line a world: what ``try_walls`` found, as a worker there would.
"""

from __future__ import annotations

import codecs
import json
import os
import sys

from fitness.jail.attacks import try_walls
from fitness.jail.walls import Walls
from tests.attacks.worlds import become, take_away


def main() -> None:
    """Examines the worlds that the command line names, each in a process of its own."""
    codecs.lookup("ascii")  # a zygote has read it long before
    for world in sys.argv[1:]:
        pid = os.fork()
        if pid == 0:
            try:
                become(world)
                take_away(world)
                found = try_walls(Walls(256 << 20, cpu_s=60))
                os.write(1, json.dumps({"world": world, **found}).encode() + b"\n")
            finally:
                os._exit(0)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
