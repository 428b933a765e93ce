"""What a jailed process may use, and what is said of one that used more or failed.

Nouns: a *failure* is a verdict about everything that was asked for at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """What one answer may use. CPU time is the limit meant; the wall clock is generous, so that a busy machine fails nobody.

    Attributes:
        memory_bytes: address space beyond what the process needs itself.
    """

    cpu_s: float = 60
    wall_s: float = 180.0
    memory_bytes: int = 2 << 30

    @staticmethod
    def of(seconds: float, memory_mib: int) -> Limits:
        """Returns limits for so many seconds of work, three times that by the wall clock."""
        return Limits(max(math.ceil(seconds), 1), 3.0 * seconds, memory_mib << 20)


@dataclass(frozen=True)
class Failure:
    """Why there is no answer: a cause of ``fitness.processes.verdicts`` and one line.

    Attributes:
        is_doubtful: the process was killed, by nobody of ours and far from its budget: perhaps not the candidate's doing.
    """

    cause: str
    detail: str
    is_doubtful: bool = field(default=False, compare=False)
