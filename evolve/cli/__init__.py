"""The program `evolve`: parses, checks, calls one function, prints; nothing heavy is imported before a command needs
it.

It may import `population.errors`, `evolve.ending`, `evolve.cli.shared` and the rooms of commands:
`evolve.cli.blocks`, `evolve.cli.home`, `evolve.cli.campaigns` and `evolve.cli.lineage`. Its public things are `main`,
`call`.

The commands are registered in `app`; each is a function in a room of its group.
"""

from __future__ import annotations

from evolve.cli.program import call, main

__all__ = ["call", "main"]
