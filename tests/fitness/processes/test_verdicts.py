from __future__ import annotations

import signal

import pytest

from fitness.processes import verdicts


def death(status: int, *, timed_out: bool = False, used: int = 0) -> str:
    return verdicts.verdict_of_death(status, timed_out=timed_out, used_bytes=used, budget_bytes=1000)[0]


def test_memory_comes_before_time_and_time_before_a_crash() -> None:
    assert death(signal.SIGKILL, timed_out=True, used=600) == verdicts.MEMORY
    assert death(signal.SIGXCPU, used=600) == verdicts.MEMORY
    assert death(signal.SIGABRT, used=600) == verdicts.MEMORY
    assert death(signal.SIGKILL, timed_out=True, used=10) == verdicts.TIMEOUT
    assert death(signal.SIGXCPU) == verdicts.TIMEOUT
    assert death(signal.SIGSEGV) == verdicts.CRASH


def test_a_kill_that_was_not_ours_is_the_system_short_of_memory() -> None:
    assert death(signal.SIGKILL) == verdicts.MEMORY


def test_both_clocks_give_the_same_words() -> None:
    by_wall = verdicts.verdict_of_death(signal.SIGKILL, timed_out=True, used_bytes=0, budget_bytes=10)
    by_cpu = verdicts.verdict_of_death(signal.SIGXCPU, timed_out=False, used_bytes=0, budget_bytes=10)
    assert by_wall == by_cpu


@pytest.mark.parametrize("number", [signal.SIGSEGV, 35, 64])
def test_every_signal_has_words(number: int) -> None:
    cause, detail = verdicts.verdict_of_death(int(number), timed_out=False, used_bytes=0, budget_bytes=10)
    assert cause == verdicts.CRASH
    assert "ended by" in detail


def test_an_exit_without_an_answer_names_its_code() -> None:
    assert verdicts.verdict_of_death(3 << 8, timed_out=False, used_bytes=0, budget_bytes=10) == (
        verdicts.CRASH,
        "ended with exit code 3 and no answer",
    )


def test_allocators_words_are_memory() -> None:
    torch_words = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 10 bytes")
    assert verdicts.verdict_of_error(torch_words)[0] == verdicts.MEMORY
    assert verdicts.verdict_of_error(MemoryError())[0] == verdicts.MEMORY
    assert verdicts.verdict_of_error(ValueError("no")) == (verdicts.CRASH, "ValueError: no")


def test_details_are_one_short_line() -> None:
    assert verdicts.one_line("a\nb\x00c\x1b[31m" + "x" * 999)[:12] == "a b c [31mxx"
    assert len(verdicts.one_line("x" * 999)) == 200
