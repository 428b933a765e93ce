"""Environments: a simulator in a jail of its own, stepped in lockstep with whoever chooses the actions.

A candidate is judged in another jail: observations travel to it and actions come back through this process, so code of a
candidate reaches neither the simulator nor its state.

Nouns: a *lane* is one of the episodes that are simulated side by side; a *variant* is one of the worlds that a simulator
can play (another mass, length or start), by its position.

Shapes: L lanes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fitness.judges.tiles import bytes_of
from fitness.processes import messages, verdicts
from fitness.processes.jailed_process import Cell
from fitness.processes.limits import Failure, Limits
from fitness.processes.zygote import Child, ZygoteGone
from population.errors import InputError

PROCESS = "fitness.simulators.simulator_process"
#: After so many episodes side by side a simulator's process is replaced by a new one.
RESETS_PER_CHILD = 64
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Spaces:
    """The sizes of what goes in and out of one lane, both float32."""

    observation: tuple[int, ...]
    action: tuple[int, ...]

    @property
    def observed_bytes(self) -> int:
        """The bytes of one lane's observation."""
        return 4 * math.prod(self.observation)

    @property
    def acted_bytes(self) -> int:
        """The bytes of one lane's action."""
        return 4 * math.prod(self.action)


@dataclass(frozen=True)
class Step:
    """What one step gave: observations ``[L, *observation]``, rewards ``[L]``, and which lanes ended, bool ``[L]``."""

    observations: Floats
    rewards: Floats
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]


class Environment:
    """Runs the simulator that ``module:factory`` makes. One thread at a time.

    A simulator has ``reset(seeds, variants)``, both int64 ``[L]``, which returns observations, and ``step(actions)``,
    float32 ``[L, *action]``, which returns (observations, rewards, terminated, truncated). The factory is called behind the
    walls; its module is imported before them, so what runs at import is trusted. A simulator has a state: after a failure,
    or when its process is lost, the episodes are over and ``reset`` begins new ones in a new process.

    Args:
        arguments: plain values; where given, ``factory(**arguments)`` is called before the walls, so that it can import what
            it needs, and returns the function without arguments that makes the simulator behind them.
        limits: for each reset and each step. without: layers of the jail not to put up.
    """

    def __init__(
        self,
        factory: str,
        spaces: Spaces,
        *,
        arguments: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
        without: Sequence[str] = (),
    ) -> None:
        self._spaces = spaces
        start: dict[str, Any] = {"factory": factory, "arguments": None if arguments is None else dict(arguments)}
        start |= {"observation": list(spaces.observation), "action": list(spaces.action)}
        self._cell = Cell(PROCESS, start, limits or Limits(), without=without)
        self._num_resets = 0
        self._num_lanes = 0  # of the episodes that run; none do where it is 0

    def reset(
        self,
        seeds: Sequence[int] | npt.NDArray[np.int64],
        variants: Sequence[int] | npt.NDArray[np.int64] | None = None,
    ) -> Floats | Failure:
        """Begins an episode in every lane; returns the first observations ``[L, *observation]``, or why there are none.

        Args:
            variants: what each lane plays; the first one everywhere by default.

        Raises:
            InputError: no lanes, or not one variant a seed. EvaluatorFailed: no jail can be had, or the factory cannot be
                imported.
        """
        seeds = np.ascontiguousarray(seeds, dtype="<i8")
        variants = np.zeros_like(seeds) if variants is None else np.ascontiguousarray(variants, dtype="<i8")
        if seeds.ndim != 1 or not len(seeds) or variants.shape != seeds.shape:
            raise InputError(f"reset takes one seed and one variant a lane, got {seeds.shape} and {variants.shape}")
        self._num_lanes = 0
        lanes = len(seeds)
        found = self._begin([bytes_of(seeds), bytes_of(variants)], lanes)
        if isinstance(found, Failure):
            return found
        observations = _floats(found, 0, lanes * self._spaces.observed_bytes)
        failure = self._refuse_unless_finite("observations", observations)
        if failure is not None:
            return failure
        self._num_lanes = lanes
        return observations.reshape(lanes, *self._spaces.observation)

    def step(self, actions: Floats) -> Step | Failure:
        """Moves every lane by one step; after a failure only ``reset`` can follow.

        Raises:
            InputError: actions of another shape, or no episode runs. EvaluatorFailed: the jail was lost.
        """
        lanes, self._num_lanes = self._num_lanes, 0
        if not lanes:
            raise InputError("no episode runs: call reset first")
        if actions.shape != (lanes, *self._spaces.action):
            self._num_lanes = lanes
            raise InputError(f"step takes actions {(lanes, *self._spaces.action)}, got {actions.shape}")
        array = np.ascontiguousarray(actions, dtype="<f4")
        child, observed = self._cell.child, lanes * self._spaces.observed_bytes
        assert child is not None, "an episode runs in a child"
        try:
            found = self._ask(child, "step", [bytes_of(array)], lanes, observed + 6 * lanes)
        except ZygoteGone:
            self._cell.abandon()
            raise
        if isinstance(found, Failure):
            return found
        observations, rewards = _floats(found, 0, observed), _floats(found, observed, 4 * lanes)
        ends = np.frombuffer(found, dtype=np.uint8, offset=observed + 4 * lanes)
        failure = self._refuse_unless_finite("observations", observations)
        failure = failure or self._refuse_unless_finite("rewards", rewards)
        if failure is None and (ends > 1).any():
            failure = self._cell.refuse("terminated and truncated must hold booleans")
        if failure is not None:
            return failure
        self._num_lanes = lanes
        flags = ends.astype(np.bool_).reshape(2, lanes)
        return Step(observations.reshape(lanes, *self._spaces.observation), rewards, flags[0], flags[1])

    def describe(self) -> Mapping[str, Any] | Failure:
        """Returns what a simulator's own ``describe()`` says of itself, plain values, or why it says nothing.

        Raises:
            EvaluatorFailed: no jail can be had, or the factory cannot be imported.
        """
        self._num_lanes = 0
        answer = self._cell.ask_once("describe", {}, [], 0, "described")
        return answer if isinstance(answer, Failure) else answer.fields

    def reap_dead(self) -> None:
        """Reaps a zygote that is dead; from any thread."""
        self._cell.reap_dead()

    def close(self) -> None:
        """Ends the jail; closing twice changes nothing."""
        self._num_lanes = 0
        self._cell.abandon()

    def _begin(self, parts: Sequence[memoryview], lanes: int) -> bytes | Failure:
        """Asks for a reset in a child with room for the steps that follow; one that is lost is replaced once."""
        observed = lanes * self._spaces.observed_bytes
        room = max(16 * lanes + 128, lanes * self._spaces.acted_bytes)
        for is_last in (False, True):
            try:
                is_worn = self._num_resets >= RESETS_PER_CHILD
                child = self._cell.ready(room, observed + 6 * lanes, fresh=is_worn)
                self._num_resets = 1 if self._cell.answered == 0 else self._num_resets + 1
                return self._ask(child, "reset", parts, lanes, observed)
            except ZygoteGone:
                self._cell.abandon()
                if is_last:
                    raise
        raise AssertionError("one of two tries returns or raises")

    def _ask(self, child: Child, kind: str, parts: Sequence[memoryview], lanes: int, num_bytes: int) -> bytes | Failure:
        """Returns a copy of what was answered. Raises: ZygoteGone."""
        fields = {"offsets": child.given.fill(parts), "lanes": lanes}
        answer = self._cell.ask(child, messages.Message(kind, fields), "arrays")
        if isinstance(answer, Failure):
            return answer
        return child.taken.memory[:num_bytes] if answer.fields.get("bytes") == num_bytes else self._cell.refuse()

    def _refuse_unless_finite(self, name: str, array: Floats) -> Failure | None:
        if np.isfinite(array).all():
            return None
        return self._cell.refuse(f"{name} hold NaN or infinity", verdicts.NAN)


def _floats(data: bytes, start: int, size: int) -> Floats:
    return np.frombuffer(data, dtype="<f4", count=size // 4, offset=start)
