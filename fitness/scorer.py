"""Scorers: a user's function that turns outputs and targets into numbers, in a jail that never holds a candidate.

A candidate is judged in one jail and never sees targets; its outputs, checked, travel into this one. So code of a candidate
reaches neither the targets nor the function.

Nouns: *scorer*.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fitness import verdict
from fitness.cell import Cell
from fitness.forward import bytes_of
from fitness.limits import Failure, Limits
from population.errors import InputError

PROCESS = "fitness.scorer_process"


class Scorer:
    """Applies ``module:function``, called as ``function(outputs, targets) -> {name: number}``. One thread at a time.

    Obligations of the function: pure, since one process answers many calls, and is replaced whenever it fails. It sees
    read-only arrays: outputs float32 ``[K, R]``, targets int64 ``[R]``. Its module is imported when the jail's zygote
    starts, before any wall stands: what runs at import is trusted.

    Args:
        names: the numbers that it returns, each exactly once.
        without: layers of the jail not to put up, as on a machine that lacks them.
    """

    def __init__(
        self, function: str, names: Sequence[str], *, limits: Limits | None = None, without: Sequence[str] = ()
    ) -> None:
        if not names or len(set(names)) != len(names):
            raise InputError(f"a scorer returns at least one number, each with a name of its own, got {list(names)}")
        self._names = tuple(names)
        self._cell = Cell(PROCESS, {"function": function, "names": list(names)}, limits or Limits(), without=without)

    def score(self, outputs: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> dict[str, float] | Failure:
        """Returns the finite numbers for one candidate's outputs ``[K, R]``, or why there are none: the function's fault.

        Raises:
            InputError: the arrays do not fit each other.
            EvaluatorFailed: no jail can be had, or the module cannot be imported, and why.
        """
        if outputs.ndim != 2 or targets.shape != outputs.shape[1:]:
            raise InputError(f"outputs must be [K, R] and targets [R], got {outputs.shape} and {targets.shape}")
        arrays = (np.ascontiguousarray(outputs, dtype="<f4"), np.ascontiguousarray(targets, dtype="<i8"))
        num_bytes = 8 * len(self._names)
        fields = {"shape": list(outputs.shape)}
        answer = self._cell.ask_once("score", fields, [bytes_of(array) for array in arrays], num_bytes, "scores")
        if isinstance(answer, Failure):
            return answer
        if answer.fields.get("count") != len(self._names):
            return self._cell.refuse()
        assert self._cell.child is not None
        numbers = np.frombuffer(self._cell.child.taken.memory[:num_bytes], dtype="<f8")
        if not np.isfinite(numbers).all():
            bad = ", ".join(name for name, number in zip(self._names, numbers, strict=True) if not np.isfinite(number))
            return self._cell.refuse(f"the scoring function returned NaN or infinity for {bad}", verdict.NAN)
        return {name: float(number) for name, number in zip(self._names, numbers, strict=True)}

    def close(self) -> None:
        """Ends the jail; closing twice changes nothing."""
        self._cell.abandon()
