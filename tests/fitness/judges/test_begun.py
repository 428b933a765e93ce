"""A judge's zygote that starts while its worker imports: it is the one that judges, and one that dies or fails is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest

from fitness.judges.judge import Limits, SubprocessJudge
from fitness.processes.jailed_process import begin
from fitness.processes.zygote import PROCESS
from population.errors import EvaluatorFailed

LIMITS = Limits(cpu_s=2, wall_s=4.0, memory_bytes=256 << 20)


def test_a_judge_takes_over_the_zygote_that_was_begun_for_it() -> None:
    begun = begin(PROCESS, {"plugins": []}, LIMITS)
    with closing(SubprocessJudge(limits=LIMITS, begun=begun)) as judge:
        assert judge.report.layers
        assert judge._cell.running is begun


def test_one_that_was_killed_while_it_started_is_replaced() -> None:
    begun = begin(PROCESS, {"plugins": []}, LIMITS)
    os.kill(begun.pid, signal.SIGKILL)
    with closing(SubprocessJudge(limits=LIMITS, begun=begun)) as judge:
        assert judge.report.layers
        assert judge._cell.running is not begun


def test_what_it_cannot_import_is_told_when_it_is_used_and_an_unused_one_ends_with_its_judge() -> None:
    begun = begin(PROCESS, {"plugins": ["no_such_module_here"]}, LIMITS)
    with (
        closing(SubprocessJudge(plugins=("no_such_module_here",), limits=LIMITS, begun=begun)) as judge,
        pytest.raises(EvaluatorFailed, match="no_such_module_here"),
    ):
        _ = judge.report
    unused = begin(PROCESS, {"plugins": []}, LIMITS)
    SubprocessJudge(limits=LIMITS, begun=unused).close()
    assert unused._process.poll() is not None


def test_a_worker_begins_its_judge_before_it_imports_torch() -> None:
    """Both take seconds to import it, and took them one after the other."""
    asked = "import sys, fitness.evaluators.worker_process; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
