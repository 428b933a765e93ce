"""Scorers: a user's function that turns outputs and targets into numbers, in a jail that never holds a candidate.

A candidate is judged in one jail and never sees targets; its outputs, checked, travel into this one. So code of a candidate
reaches neither the targets nor the function. A function of whole stacks is given no data at all.

Nouns: *scorer*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fitness.judges.tile_plan import SAMPLE_STEP, KernelPlan
from fitness.judges.tiles import Tile, bytes_of
from fitness.measures.user_function import Scoring
from fitness.processes import verdicts
from fitness.processes.jailed_process import Cell
from fitness.processes.limits import Failure, Limits
from population.errors import InputError
from population.stacks.stack import Stack

PROCESS = "fitness.judges.scorer_process"
Array = npt.NDArray[Any]


class Scorer:
    """Applies a function, called as ``function(outputs, targets) -> {name: number}``. One thread at a time.

    Obligations of the function: pure, since one process answers many calls, and is replaced whenever it fails. It sees
    read-only arrays: outputs float32 ``[K, R]``, targets int64 ``[R]`` or float32 ``[R, D]``. Its module is imported when
    the jail's zygote starts, before any wall stands: what runs at import is trusted.

    Args:
        function: import path ``"module:function"``, or a name in ``source``.
        names: the numbers that it returns, each exactly once.
        without: layers of the jail not to put up, as on a machine that lacks them.
        takes_stack: whether it is called as ``function(stack) -> {name: [P]}`` (or ``[P]`` where there is one name).
    """

    def __init__(
        self,
        function: str,
        names: Sequence[str],
        *,
        source: str = "",
        takes_stack: bool = False,
        limits: Limits | None = None,
        without: Sequence[str] = (),
    ) -> None:
        if not names or len(set(names)) != len(names):
            raise InputError(f"a scorer returns at least one number, each with a name of its own, got {list(names)}")
        self._names = tuple(names)
        start = {"function": function, "names": list(names), "source": source, "takes_stack": takes_stack}
        self._cell = Cell(PROCESS, start, limits or Limits(), without=without)

    @staticmethod
    def of(scoring: Scoring, *, limits: Limits | None = None, without: Sequence[str] = ()) -> Scorer:
        """Returns the scorer of a user's function."""
        takes_stack = scoring.takes == "stack"
        return Scorer(
            scoring.function,
            scoring.names,
            source=scoring.source,
            takes_stack=takes_stack,
            limits=limits,
            without=without,
        )

    def score(self, outputs: Array, targets: Array) -> dict[str, float] | Failure:
        """Returns the finite numbers for one candidate's outputs ``[K, R]``, or why there are none: the function's fault.

        Raises:
            InputError: the arrays do not fit each other.
            EvaluatorFailed: no jail can be had, or the module cannot be imported, and why.
        """
        return self.score_channels({"outputs": outputs}, {"outputs": targets})

    def score_channels(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> dict[str, float] | Failure:
        """Does the same for several output channels ``[K, R]`` with the targets of each.

        Where there is one, the function is given its arrays, else dictionaries by channel.
        """
        given = [_row_major(array, "<f4") for array in outputs.values()]
        wanted = [_row_major(array, "<f4" if array.dtype.kind == "f" else "<i8") for array in targets.values()]
        for array, values in zip(given, wanted, strict=True):
            if array.ndim != 2 or values.shape[:1] != array.shape[1:] or values.ndim > 2:
                raise InputError(
                    f"outputs must be [K, R] and targets [R] or [R, D], got {array.shape} and {values.shape}"
                )
        headers = [[[array.dtype.str, list(array.shape)] for array in arrays] for arrays in (given, wanted)]
        fields = {"channels": list(outputs), "outputs": headers[0], "targets": headers[1]}
        numbers = self._ask("score", fields, [bytes_of(array) for array in (*given, *wanted)], 1)
        if isinstance(numbers, Failure):
            return numbers
        if not np.isfinite(numbers).all():
            bad = ", ".join(name for name, number in zip(self._names, numbers, strict=True) if not np.isfinite(number))
            return self._cell.refuse(f"the scoring function returned NaN or infinity for {bad}", verdicts.NAN)
        return {name: float(number[0]) for name, number in zip(self._names, numbers, strict=True)}

    def score_stack(self, stack: Stack) -> npt.NDArray[np.float64] | Failure:
        """Returns the numbers of each row of a stack, ``[names, P]``, or why there are none.

        What is NaN or infinite is left as it is: it is that row's alone.

        Raises:
            EvaluatorFailed: no jail can be had, or the module cannot be imported, and why.
        """
        bare = stack.replace(state={}).masked()
        tile = Tile(b"", stack.graph.encoded, bare, (), KernelPlan(max(stack.num_rows, 1), SAMPLE_STEP), ())
        fields = {"tile": tile.to_fields(0, ())}
        return self._ask("stack", fields, tile.parts(), stack.num_rows)

    def reap_dead(self) -> None:
        """Reaps a zygote that is dead; from any thread."""
        self._cell.reap_dead()

    def close(self) -> None:
        """Ends the jail; closing twice changes nothing."""
        self._cell.abandon()

    def _ask(
        self, kind: str, fields: Mapping[str, Any], parts: Sequence[bytes | memoryview], count: int
    ) -> npt.NDArray[np.float64] | Failure:
        """Returns ``[names, count]`` numbers, copied; where it is doubtful whose failure it was, it is asked once more."""
        size = len(self._names) * count
        answer = self._cell.ask_once(kind, fields, parts, 8 * size, "scores")
        if isinstance(answer, Failure) and answer.is_doubtful:
            answer = self._cell.ask_once(kind, fields, parts, 8 * size, "scores")
        if isinstance(answer, Failure):
            return answer
        if answer.fields.get("count") != size:
            return self._cell.refuse()
        assert self._cell.child is not None
        numbers = np.frombuffer(self._cell.child.taken.memory[: 8 * size], dtype="<f8")
        return numbers.reshape(len(self._names), count)


def _row_major(array: Array, dtype: str) -> Array:
    return np.ascontiguousarray(array, dtype=dtype)
