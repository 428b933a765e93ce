"""How long a unit may take before its worker counts as dead.

Generous on purpose: it bounds what honest work can need, so that nothing but a worker that hangs is ever late. A worker
that was stopped or whose machine is gone is noticed long before, because it gives no sign of life.
"""

from __future__ import annotations

from fitness.judges.judge import Limits
from fitness.processes.zygote import CONTROL_TIMEOUT_S, START_TIMEOUT_S
from fitness.work.work_unit import WorkUnit


def unit_timeout_s(unit: WorkUnit, limits: Limits) -> float:
    """Returns the seconds a unit may take: every candidate hangs while it is made, then while it is judged; jails start twice.

    Making a child in the worker has no limit of its own; it is given as long as judging it.
    """
    num_candidates = len(unit.candidates)
    return 4.0 * START_TIMEOUT_S + (2 * num_candidates + 1) * (limits.wall_s + CONTROL_TIMEOUT_S)
