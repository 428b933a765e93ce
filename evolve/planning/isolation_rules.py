"""Levels of isolation: what user code needs to be run at all, and what a promotion may rest on.

Nouns: *level* ("full", "reduced" or "none", see ``fitness/JAIL.md``), *accepted level* (the least that somebody takes).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fitness.processes.isolation import FULL, LEVELS
from population.errors import ConfigError, InputError


def lowest(levels: Iterable[str]) -> str | None:
    """Returns the lowest of some levels, None of none."""
    return min(levels, key=LEVELS.index, default=None)


def is_enough(level: str, accepted: str) -> bool:
    """Returns whether a level is at least the accepted one."""
    return LEVELS.index(level) >= LEVELS.index(accepted)


def checked_level(accepted: str) -> str:
    """Returns the name of a level. Raises InputError where no level has this name."""
    if accepted not in LEVELS:
        raise InputError(f"--accept-level {accepted!r}: choose full, reduced or none")
    return accepted


def check_user_code(accepted: str, brought: Sequence[str], level: str) -> None:
    """Refuses to run a plugin's code in a jail below the accepted level; validated graphs run at any level.

    Args:
        accepted: the least level that is accepted. brought: the modules with code that is not ours.

    Raises:
        ConfigError: with what to do.
    """
    if brought and not is_enough(level, accepted):
        raise ConfigError(
            f"run.accept_level is {accepted!r}, and this machine's jail has level {level!r}: code of {brought[0]!r} could "
            f"reach what is open. `evolve doctor` shows what is; close it, or accept the risk with --accept-level {level}"
        )


def objections_to(level: str | None, accepted: str = FULL) -> list[str]:
    """Returns why evidence made at a level is not enough for a promotion; None: no evidence of any level."""
    if level is None or is_enough(level, accepted):
        return []
    remedy = f"see `evolve doctor`, judge it anew where the jail is whole, or accept it with --accept-level {level}"
    return [f"its scores were made at isolation level {level!r}, and {accepted!r} is asked for: {remedy}"]
