"""What policies are judged on: seeded episodes of a simulator, the same for all candidates of a generation.

Training episodes are drawn anew for every generation, from a seed that the campaign names; validation and held-out episodes
have seeds of their own that follow from the split seed alone, so that no selection ever meets a held-out one.

Nouns: an *episode* (a simulator's run from one seed), a *variant* (another world of the same simulator: a skill).

Shapes: E episodes of a split, V variants, L lanes of a candidate, V times E; K numbers that a policy answers with.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from fitness.measures.metrics import PLAYED, Objective, objective_of
from fitness.measures.splits import SPLITS
from fitness.processes.limits import Failure, Limits
from fitness.simulators.simulator import Environment, Spaces
from population.errors import BenchmarkError, JailUnavailable
from population.randomness import derive_seed

#: What makes the lanes of a Gymnasium environment, in the simulator's jail.
FACTORY = "fitness.simulators.gymnasium_lanes:prepared"
DEFAULT_EPISODES: Mapping[str, int] = MappingProxyType({"train": 4, "validation": 16, "heldout": 16})
DEFAULT_VARIANT = "plain"
OBSERVATION, ACTION = "observation", "action"
DEFAULT_OBJECTIVES = (*PLAYED, "flops", "bytes")
#: What a simulator may use for one answer.
SIMULATOR_LIMITS = Limits(cpu_s=60, wall_s=180.0)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Actions:
    """How a policy's numbers become actions. choices: so many, the largest number's place is taken (the first of equals);
    0 where the numbers are the action, each clipped to ``low`` and ``high``."""

    choices: int
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @property
    def num_answers(self) -> int:
        """K."""
        return self.choices or len(self.low)

    def of(self, answers: Floats) -> Floats:
        """Returns the actions ``[L, A]`` for answers ``[L, K]``."""
        if self.choices:
            chosen: Floats = answers.argmax(axis=1).astype(np.float32)[:, None]
            return chosen
        low, high = self._bounds
        return np.minimum(np.maximum(answers, low), high)

    @functools.cached_property
    def _bounds(self) -> tuple[Floats, Floats]:
        return np.array(self.low, dtype=np.float32), np.array(self.high, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Episodes:
    """Episodes of a Gymnasium environment with objectives and three splits; immutable.

    Attributes:
        name: the environment's id, ``[module:]Name-v0``. kwargs: to its constructor.
        variants: name -> ``{"kwargs", "attributes", "reset"}``, as ``fitness.simulators.gymnasium_lanes.Variant``.
        max_steps: after so many an episode is over. num_episodes: by split, of each variant.
        observation: shape of what a policy sees. version: of Gymnasium.
    """

    KIND: ClassVar[str] = "episodes"

    name: str
    kwargs: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, Any]]
    max_steps: int
    num_episodes: Mapping[str, int]
    observation: tuple[int, ...]
    actions: Actions
    version: str
    objectives: tuple[Objective, ...]
    split_seed: int = 0

    @staticmethod
    def of(
        environment: str,
        *,
        kwargs: Mapping[str, Any] | None = None,
        variants: Mapping[str, Mapping[str, Any]] | None = None,
        max_steps: int | None = None,
        episodes: Mapping[str, int] | None = None,
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        split_seed: int = 0,
    ) -> Episodes:
        """Returns the episodes of an environment, which is made once, in a jail, to see its spaces.

        Args:
            max_steps: the registered limit by default. episodes: by split; those left out have their default number.

        Raises:
            BenchmarkError: no such environment, it cannot be made so, or policies cannot play it; and the remedy.
            EvaluatorFailed: no jail can be had.
        """
        worlds = {name: dict(world) for name, world in (variants or {DEFAULT_VARIANT: {}}).items()}
        found = _playable(environment, kwargs or {}, list(worlds.values()), max_steps)
        return Episodes(
            name=environment,
            kwargs=dict(kwargs or {}),
            variants=worlds,
            max_steps=int(found["max_steps"]),
            num_episodes=_checked_numbers({**DEFAULT_EPISODES, **(episodes or {})}),
            observation=tuple(found["observation"]),
            actions=Actions(int(found["choices"]), tuple(found["low"]), tuple(found["high"])),
            version=str(found["version"]),
            objectives=_objectives(objectives),
            split_seed=split_seed,
        )

    @property
    def skills(self) -> tuple[str, ...]:
        """The names of the variants."""
        return tuple(self.variants)

    @property
    def principal(self) -> str:
        """The objective that floors and paired tests are about."""
        return PLAYED[0]

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The one channel that observations go to."""
        return {OBSERVATION: self.observation}

    @property
    def size_bytes(self) -> int:
        """Nothing travels."""
        return 0

    @property
    def scoring(self) -> None:
        """Returns are all that is measured."""

    @property
    def preparation(self) -> None:
        """It is no table."""

    @property
    def spaces(self) -> Spaces:
        """The sizes of one lane's observation and action."""
        return Spaces(self.observation, (1,) if self.actions.choices else (self.actions.num_answers,))

    @functools.cached_property
    def digest_of_data(self) -> bytes:
        """Returns 32 bytes that name the simulator, its variants and Gymnasium's version."""
        value = [self.name, dict(self.kwargs), list(self.variants.items()), self.max_steps, self.version]
        text = json.dumps(value, sort_keys=True).encode()
        return blake3(text, derive_key_context="evolve 2026 simulator").digest()

    def digest(self, split: str) -> bytes:
        """Returns 32 bytes that name the episodes of a split; of training ones, whatever their seeds."""
        text = f"{split} {self.num_samples(split)} {self.split_seed}".encode()
        return blake3(self.digest_of_data + text, derive_key_context="evolve 2026 episodes").digest()

    def num_samples(self, split: str) -> int:
        """Returns L: how many episodes a candidate plays."""
        if split not in SPLITS:
            raise BenchmarkError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
        return self.num_episodes[split] * len(self.variants)

    def num_answers(self, split: str) -> int:
        """Returns how many steps a candidate's episodes have, at most."""
        return self.num_samples(split) * self.max_steps

    def answers_of(self, outputs: Sequence[str]) -> tuple[tuple[str, int], ...]:
        """Returns the channel "action", or a graph's first one, and K."""
        return ((ACTION if ACTION in outputs else outputs[0], self.actions.num_answers),)

    def lanes(self, split: str, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Returns each lane's seed and variant, int64 ``[L]``; variants meet the same seeds, one after the other.

        Args:
            seed: what training episodes follow from; those of the other splits follow from the split seed.
        """
        root = (seed if split == "train" else self.split_seed).to_bytes(8, "little")
        count = self.num_episodes[split]
        seeds = [derive_seed(root, episode, 0, f"{split} episode") >> 1 for episode in range(count)]
        variants = np.arange(len(self.variants), dtype=np.int64)
        return np.tile(np.array(seeds, dtype=np.int64), len(variants)), np.repeat(variants, count)

    def simulator(self, without: Sequence[str] = ()) -> Environment:
        """Returns the simulator, in a jail of its own; whoever asks for it closes it."""
        arguments = _arguments(self.name, self.kwargs, list(self.variants.values()), self.max_steps)
        return Environment(FACTORY, self.spaces, arguments=arguments, limits=SIMULATOR_LIMITS, without=without)

    def measuring(self, names: Sequence[str]) -> Episodes:
        """Returns the same episodes, measuring these objectives too. Raises: BenchmarkError for one that is none."""
        known = [objective.name for objective in self.objectives]
        return replace(self, objectives=_objectives([*known, *(name for name in names if name not in known)]))

    def training_only(self) -> Episodes:
        """Returns itself: it holds nothing that an operator could learn from."""
        return self

    def to_parts(self) -> tuple[dict[str, Any], list[bytes]]:
        """Returns a plain value and nothing else."""
        value = {
            "kind": self.KIND,
            "name": self.name,
            "kwargs": dict(self.kwargs),
            "variants": [[name, dict(world)] for name, world in self.variants.items()],
            "max_steps": self.max_steps,
            "num_episodes": dict(self.num_episodes),
            "observation": list(self.observation),
            "actions": [self.actions.choices, list(self.actions.low), list(self.actions.high)],
            "version": self.version,
            "objectives": [objective.name for objective in self.objectives],
            "split_seed": self.split_seed,
        }
        return value, []

    @staticmethod
    def from_parts(value: Mapping[str, Any]) -> Episodes:
        """Returns the episodes of ``to_parts``."""
        choices, low, high = value["actions"]
        rest = {name: found for name, found in value.items() if name not in ("kind", "actions")}
        rest |= {"variants": dict(value["variants"]), "observation": tuple(value["observation"])}
        rest |= {"objectives": _objectives(value["objectives"])}
        return Episodes(**rest, actions=Actions(choices, tuple(low), tuple(high)))


def _playable(
    environment: str, kwargs: Mapping[str, Any], worlds: Sequence[Mapping[str, Any]], max_steps: int | None
) -> Mapping[str, Any]:
    """Returns what a simulator says of itself. Raises BenchmarkError where policies cannot play it, or it never ends."""
    from fitness.simulators.gymnasium_lanes import spec_of  # heavy: only where it is needed

    spec_of(environment)
    found = _described(json.dumps(_arguments(environment, kwargs, worlds, max_steps), sort_keys=True))
    if "refused" in found:
        raise BenchmarkError(f"environment {environment!r} cannot be played: {found['refused']}")
    if found["max_steps"] is None:
        raise BenchmarkError(f"environment {environment!r} never ends by itself: set benchmark.environment.max_steps")
    return found


def _arguments(
    environment: str, kwargs: Mapping[str, Any], worlds: Sequence[Mapping[str, Any]], max_steps: int | None
) -> dict[str, Any]:
    return {
        "environment": environment,
        "kwargs": dict(kwargs),
        "variants": [dict(world) for world in worlds],
        "max_steps": max_steps,
    }


@functools.lru_cache(maxsize=64)
def _described(arguments: str) -> Mapping[str, Any]:
    """Returns what a simulator says of itself; once a process, since a jail takes half a second."""
    given = json.loads(arguments)
    simulator = Environment(FACTORY, Spaces((1,), (1,)), arguments=given, limits=SIMULATOR_LIMITS)
    try:
        found = simulator.describe()
    except JailUnavailable as error:
        if FACTORY not in str(error):
            raise
        reason = str(error).rpartition(f"{FACTORY}: ")[2]
        raise BenchmarkError(f"environment {given['environment']!r} cannot be imported: {reason}") from error
    finally:
        simulator.close()
    if isinstance(found, Failure):
        raise BenchmarkError(
            f"environment {given['environment']!r} cannot be made in its jail ({found.cause}): {found.detail}. Check "
            "kwargs and variants; what it reads or imports must be there when its module is imported"
        )
    return found


def _checked_numbers(numbers: Mapping[str, int]) -> dict[str, int]:
    unknown = [split for split in numbers if split not in SPLITS]
    if unknown or min(numbers.values()) < 1:
        raise BenchmarkError(f"episodes must be at least 1 for each of {', '.join(SPLITS)}, got {dict(numbers)}")
    return {split: numbers[split] for split in SPLITS}


def _objectives(names: Sequence[str]) -> tuple[Objective, ...]:
    unknown = [name for name in names if name not in DEFAULT_OBJECTIVES]
    if unknown or not names or len(set(names)) != len(names):
        known = ", ".join(DEFAULT_OBJECTIVES)
        raise BenchmarkError(f"episodes measure {known}; got {', '.join(map(str, names)) or 'none'}")
    return tuple(objective for name in names if (objective := objective_of(name)) is not None)
