"""Why a candidate has no score: one cause, one verdict.

Precedence, the first that applies: ``materialise`` (it could not be made) > ``memory`` > ``timeout`` > ``crash`` >
``output`` (wrong shape or size) > ``nan``. A judge that dies is ``memory`` when it said so, when the system killed it, or
when it had filled half of its memory budget, whichever limit fired first: something that eats memory until the clock
stops it has eaten memory. ``infra_failure`` is not about the candidate: its workers died again and again.
"""

from __future__ import annotations

import signal

OK = "ok"
MATERIALISE = "materialise"
MEMORY = "memory"
TIMEOUT = "timeout"
CRASH = "crash"
OUTPUT = "output"
NAN = "nan"
INFRA_FAILURE = "infra_failure"
CAUSES = (MATERIALISE, MEMORY, TIMEOUT, CRASH, OUTPUT, NAN, INFRA_FAILURE)

MEMORY_DETAIL = "went beyond its memory limit"
TIMEOUT_DETAIL = "gave no answer within its time limit"
#: What torch's and C++'s allocators say where Python would raise MemoryError.
_ALLOCATOR_WORDS = ("can't allocate memory", "bad_alloc", "out of memory", "Cannot allocate memory")
_SIGNAL_NAMES = {int(one): one.name for one in signal.Signals}


class WrongOutput(Exception):
    """Code that is judged returned something else than it promised."""


def verdict_of_error(error: BaseException) -> tuple[str, str]:
    """Returns the verdict and one line of detail for an exception raised while judging."""
    text = one_line(f"{type(error).__name__}: {error}")
    if isinstance(error, MemoryError) or any(words in text for words in _ALLOCATOR_WORDS):
        return MEMORY, MEMORY_DETAIL
    return CRASH, text


def verdict_of_death(wait_status: int, *, timed_out: bool, used_bytes: int, budget_bytes: int) -> tuple[str, str]:
    """Returns the verdict and one line of detail for a judge that ended without an answer.

    Args:
        wait_status: as ``os.wait4`` gives it. timed_out: whether the parent ended it at its deadline.
        used_bytes: the most memory it held beyond what it was born with. budget_bytes: what it was allowed.
    """
    signal_number = wait_status & 0x7F
    killed_by_system = signal_number == signal.SIGKILL and not timed_out
    if killed_by_system or used_bytes >= budget_bytes // 2:
        return MEMORY, MEMORY_DETAIL
    if timed_out or signal_number == signal.SIGXCPU:
        return TIMEOUT, TIMEOUT_DETAIL
    if signal_number:
        return CRASH, f"ended by {_SIGNAL_NAMES.get(signal_number, f'signal {signal_number}')}"
    return CRASH, f"ended with exit code {wait_status >> 8} and no answer"


def one_line(text: str, limit: int = 200) -> str:
    """Returns the text in one line of printable characters, cut to ``limit``."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:limit]
