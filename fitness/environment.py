"""Environments: a user's simulator in a jail of its own, stepped in lockstep with whoever chooses the actions.

A candidate is judged in another jail: observations travel to it and actions come back through this process, so code of a
candidate reaches neither the simulator nor its state.

Nouns: a *lane* is one of the episodes that are simulated side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fitness import verdict
from fitness.cell import ANSWERS_PER_CHILD, Cell
from fitness.forward import bytes_of
from fitness.jail.zygote import Child, ZygoteGone
from fitness.limits import Failure, Limits
from fitness.wire import Message
from population.errors import InputError

PROCESS = "fitness.environment_process"
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Spaces:
    """The sizes of what goes in and out. Shapes: L lanes.

    Attributes:
        num_lanes: L. observation, action: sizes of one lane's observation and action, both float32.
    """

    num_lanes: int
    observation: tuple[int, ...]
    action: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """What one step gave: observations ``[L, *observation]``, rewards ``[L]``, and which lanes ended, bool ``[L]``."""

    observations: Floats
    rewards: Floats
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]


class Environment:
    """Runs the simulator that ``module:factory`` makes: ``reset(seeds)`` and ``step(actions)``. One thread at a time.

    ``reset`` takes int64 ``[L]`` and returns observations; ``step`` takes float32 actions ``[L, *action]`` and returns
    (observations, rewards, terminated, truncated). The factory takes no argument and is called behind the walls; its module
    is imported before them, so what runs at import is trusted. A simulator has a state: after a failure, or when its
    process is lost, the episode is over and ``reset`` begins a new one in a new process.

    Args:
        limits: for each reset and each step. without: layers of the jail not to put up.
    """

    def __init__(
        self, factory: str, spaces: Spaces, *, limits: Limits | None = None, without: Sequence[str] = ()
    ) -> None:
        self._spaces = spaces
        start = {
            "factory": factory,
            "num_lanes": spaces.num_lanes,
            "observation": list(spaces.observation),
            "action": list(spaces.action),
        }
        self._cell = Cell(PROCESS, start, limits or Limits(), without=without)
        self._observed = 4 * spaces.num_lanes * math.prod(spaces.observation)
        self._is_running = False

    def reset(self, seeds: Sequence[int] | npt.NDArray[np.int64]) -> Floats | Failure:
        """Begins an episode in every lane; returns the first observations, or why there are none.

        Raises:
            InputError: not one seed a lane. EvaluatorFailed: no jail can be had, or the factory cannot be imported.
        """
        array = np.ascontiguousarray(seeds, dtype="<i8")
        if array.shape != (self._spaces.num_lanes,):
            raise InputError(f"reset takes {self._spaces.num_lanes} seeds, got shape {array.shape}")
        self._is_running = False
        found = self._begin(array)
        if isinstance(found, Failure):
            return found
        observations = self._floats(found, 0, self._observed)
        failure = self._refuse_unless_finite("observations", observations)
        self._is_running = failure is None
        shape = (self._spaces.num_lanes, *self._spaces.observation)
        return observations.reshape(shape) if failure is None else failure

    def step(self, actions: Floats) -> Step | Failure:
        """Moves every lane by one step; after a failure only ``reset`` can follow.

        Raises:
            InputError: actions of another shape, or no episode runs. EvaluatorFailed: the jail was lost.
        """
        lanes = self._spaces.num_lanes
        if actions.shape != (lanes, *self._spaces.action):
            raise InputError(f"step takes actions {(lanes, *self._spaces.action)}, got {actions.shape}")
        if not self._is_running:
            raise InputError("no episode runs: call reset first")
        self._is_running = False
        array = np.ascontiguousarray(actions, dtype="<f4")
        child = self._cell.child
        assert child is not None, "an episode runs in a child"
        try:
            found = self._ask(child, "step", array, self._observed + 6 * lanes)
        except ZygoteGone:
            self._cell.abandon()
            raise
        if isinstance(found, Failure):
            return found
        observations = self._floats(found, 0, self._observed)
        rewards = self._floats(found, self._observed, 4 * lanes)
        ends = np.frombuffer(found[self._observed + 4 * lanes :], dtype=np.uint8)
        failure = self._refuse_unless_finite("observations", observations)
        failure = failure or self._refuse_unless_finite("rewards", rewards)
        if failure is None and (ends > 1).any():
            failure = self._cell.refuse("terminated and truncated must hold booleans")
        if failure is not None:
            return failure
        self._is_running = True
        flags = (ends == 1).reshape(2, lanes)
        return Step(observations.reshape(lanes, *self._spaces.observation), rewards, flags[0], flags[1])

    def close(self) -> None:
        """Ends the jail; closing twice changes nothing."""
        self._is_running = False
        self._cell.abandon()

    def _begin(self, seeds: npt.NDArray[Any]) -> bytes | Failure:
        """Asks for a reset in a child with room for the steps that follow; one that is lost is replaced once."""
        room = self._observed + 6 * self._spaces.num_lanes
        given_bytes = max(seeds.nbytes, 4 * self._spaces.num_lanes * math.prod(self._spaces.action))
        for is_last in (False, True):
            try:
                child = self._cell.ready(given_bytes, room, fresh=self._cell.answered >= ANSWERS_PER_CHILD)
                return self._ask(child, "reset", seeds, self._observed)
            except ZygoteGone:
                self._cell.abandon()
                if is_last:
                    raise
        raise AssertionError("one of two tries returns or raises")

    def _ask(self, child: Child, kind: str, array: npt.NDArray[Any], num_bytes: int) -> bytes | Failure:
        """Returns a copy of what was answered. Raises: ZygoteGone."""
        offsets = child.given.fill([bytes_of(array)])
        answer = self._cell.ask(child, Message(kind, {"offsets": offsets}), "arrays")
        if isinstance(answer, Failure):
            return answer
        return child.taken.memory[:num_bytes] if answer.fields.get("bytes") == num_bytes else self._cell.refuse()

    def _floats(self, data: bytes, start: int, size: int) -> Floats:
        return np.frombuffer(data[start : start + size], dtype="<f4")

    def _refuse_unless_finite(self, name: str, array: Floats) -> Failure | None:
        if np.isfinite(array).all():
            return None
        return self._cell.refuse(f"{name} hold NaN or infinity", verdict.NAN)
