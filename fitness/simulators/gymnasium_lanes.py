"""Gymnasium's environments as lanes: many episodes side by side, each exactly what ``gymnasium.make`` plays from its seed.

An episode follows from its id, variant, seed and actions alone, whatever is played beside it. Where Gymnasium has a
vectorised form that keeps this (or its own step computes on arrays), many lanes move with one call; at its birth such a
form is compared, bit by bit, with the ordinary one, and is not used where they differ. Elsewhere every lane is an
environment of its own. A vectorised form that is not known here is never used: its lanes may share one generator.

Nouns: a *lane*, a *variant* (as in ``fitness.simulators.simulator``), a *group* (the lanes of one variant).

Shapes: L lanes, n lanes of a group.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from fitness.processes.verdicts import one_line
from population.errors import BenchmarkError

Array = npt.NDArray[Any]
Found = tuple[Array, Array, Array, Array]
#: Values that follow from others when an environment is made, and are to follow when a variant sets those.
DERIVED: Mapping[str, Mapping[str, Callable[[Any], float]]] = {
    "gymnasium.envs.classic_control.cartpole:CartPoleEnv": {
        "total_mass": lambda cart: cart.masspole + cart.masscart,
        "polemass_length": lambda cart: cart.masspole * cart.length,
    }
}
TRIAL_LANES, TRIAL_STEPS = 5, 6


@dataclass(frozen=True)
class Variant:
    """One world. kwargs: to the environment's constructor; attributes: set on it; reset: options of every reset."""

    kwargs: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    reset: Mapping[str, Any] = field(default_factory=dict)


class Group(Protocol):
    """The lanes of one variant. Lanes that ended may be moved on or not: what they give is not looked at."""

    def reset(self, seeds: Sequence[int]) -> Array:
        """Returns the first observations, one a lane."""

    def step(self, actions: Array) -> Found:
        """Returns observations, rewards, terminated and truncated."""


def spec_of(environment: str) -> Any:
    """Returns Gymnasium's record of an id, ``[module:]Name-v0``; the module is imported first.

    Raises:
        BenchmarkError: there is none, with what to do.
    """
    module, _, name = environment.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        found = gymnasium.registry.get(name) or gymnasium.spec(name)
    except (gymnasium.error.Error, ImportError) as error:
        raise BenchmarkError(
            f"no environment {environment!r}: {one_line(str(error))} Write an id with its version as Gymnasium registers it "
            "(CartPole-v1), or MODULE:ID for a package of your own"
        ) from error
    return found


def prepared(
    environment: str, kwargs: Mapping[str, Any], variants: Sequence[Mapping[str, Any]], max_steps: int | None
) -> Callable[[], Lanes]:
    """Imports what an environment is made of; returns what makes its lanes behind the walls. Raises BenchmarkError."""
    spec = spec_of(environment)
    for entry in (spec.entry_point, spec.vector_entry_point):
        if isinstance(entry, str):
            importlib.import_module(entry.partition(":")[0])
    worlds = [Variant(**variant) for variant in variants]
    worlds = [Variant({**kwargs, **world.kwargs}, world.attributes, world.reset) for world in worlds]
    return lambda: Lanes(spec, worlds, max_steps)


class Lanes:
    """A ``fitness.simulators.simulator`` over a Gymnasium environment. max_steps: the registered limit where None."""

    def __init__(self, spec: Any, variants: Sequence[Variant], max_steps: int | None) -> None:
        self._max_steps = spec.max_episode_steps if max_steps is None else max_steps
        self._variants = [_World(spec, variant, self._max_steps) for variant in variants]
        self._members: list[tuple[Array, Group]] = []
        self._ended = np.zeros(0, dtype=np.bool_)

    def describe(self) -> dict[str, Any]:
        """Returns the spaces and the step limit as plain values, or ``refused``: why policies cannot play it."""
        worlds = [world.describe() for world in self._variants]
        differing = next((key for key in worlds[0] for other in worlds[1:] if other.get(key) != worlds[0][key]), None)
        if differing is not None:
            return {"refused": f"its variants differ in {differing}; policies need the same spaces in all of them"}
        return worlds[0] | {"max_steps": self._max_steps, "version": gymnasium.__version__}

    def reset(self, seeds: Array, variants: Array) -> Array:
        """Returns the first observations, float32 ``[L, *observation]``."""
        self._members = []
        self._ended = np.zeros(len(seeds), dtype=np.bool_)
        pieces = []
        for number in np.unique(variants).tolist():
            lanes = np.flatnonzero(variants == number)
            group = self._variants[number].group(len(lanes))
            self._members.append((lanes, group))
            pieces.append((lanes, self._encoded(group.reset(seeds[lanes].tolist()))))
        return _joined(pieces, len(seeds))

    def step(self, actions: Array) -> Found:
        """Moves the lanes that go on; those that ended give nothing more. Returns arrays ``[L, ...]``."""
        count = len(self._ended)
        found: list[list[tuple[Array, Array]]] = [[], [], [], []]
        for lanes, group in self._members:
            taken = group.step(self._variants[0].actions(actions[lanes]))
            for pieces, values in zip(found, (self._encoded(taken[0]), *taken[1:]), strict=True):
                pieces.append((lanes, values))
        observations, rewards, terminated, truncated = (_joined(pieces, count) for pieces in found)
        rewards = np.where(self._ended, 0.0, rewards).astype(np.float32)
        terminated, truncated = terminated & ~self._ended, truncated & ~self._ended
        self._ended |= terminated | truncated
        return observations, rewards, terminated, truncated

    def _encoded(self, observations: Array) -> Array:
        return self._variants[0].encoded(observations)


def _joined(pieces: Sequence[tuple[Array, Array]], count: int) -> Array:
    """Returns the groups' values in the order of their lanes."""
    if len(pieces) == 1:
        return pieces[0][1]
    first = pieces[0][1]
    joined = np.empty((count, *first.shape[1:]), dtype=first.dtype)
    for lanes, values in pieces:
        joined[lanes] = values
    return joined


class _World:
    """One variant: makes its groups, and knows its spaces."""

    def __init__(self, spec: Any, variant: Variant, max_steps: int | None) -> None:
        self._spec, self._variant, self.max_steps = spec, variant, max_steps
        self.singles = _Singles(self)
        (first,) = self.singles.environments(1)
        self._observation, self.action = first.observation_space, first.action_space
        self._fast = self._find_fast()

    @property
    def options(self) -> dict[str, Any] | None:
        """Returns the options of a reset."""
        return dict(self._variant.reset) or None

    def make(self) -> Any:
        """Returns one environment as ``gymnasium.make`` gives it, changed as the variant says."""
        limit = -1 if self.max_steps is None else self.max_steps
        kwargs = dict(self._variant.kwargs)
        made = gymnasium.make(self._spec, max_episode_steps=limit, disable_env_checker=True, **kwargs)
        self.change(made.unwrapped)
        return made

    def make_vector(self, count: int) -> Any:
        """Returns Gymnasium's own vectorised form, changed as the variant says."""
        kwargs = {**self._variant.kwargs, "max_episode_steps": self.max_steps}
        made = gymnasium.make_vec(self._spec, num_envs=count, vectorization_mode="vector_entry_point", **kwargs)
        self.change(made.unwrapped)
        return made

    def change(self, environment: Any) -> None:
        """Sets the variant's attributes, and what follows from them. Raises ValueError for one that is not there."""
        for name, value in self._variant.attributes.items():
            if not hasattr(environment, name):
                known = sorted(key for key, found in vars(environment).items() if isinstance(found, int | float))
                raise ValueError(f"{type(environment).__name__} has no attribute {name!r}; it has {', '.join(known)}")
            setattr(environment, name, value)
        for name, follow in DERIVED.get(str(self._spec.entry_point), {}).items():
            if self._variant.attributes and name not in self._variant.attributes:
                setattr(environment, name, follow(environment))

    def group(self, count: int) -> Group:
        """Returns what moves so many lanes."""
        return self._fast(count) if self._fast is not None else self.singles.take(count)

    def describe(self) -> dict[str, Any]:
        """Returns the spaces as plain values, or ``refused``."""
        seen, action = self._observation, self.action
        if not isinstance(seen, spaces.Box | spaces.Discrete) or seen.shape is None or 0 in seen.shape:
            return {"refused": _refusal("observations", seen, "Box and Discrete")}
        shape = [int(seen.n)] if isinstance(seen, spaces.Discrete) else list(seen.shape) or [1]
        if isinstance(action, spaces.Discrete):
            return {"observation": shape, "action": [1], "choices": int(action.n), "low": [], "high": []}
        if not isinstance(action, spaces.Box) or action.dtype.kind != "f" or 0 in action.shape:
            return {"refused": _refusal("actions", action, "Discrete and Box of floats")}
        low, high = (bound.astype(np.float64).reshape(-1).tolist() for bound in (action.low, action.high))
        return {"observation": shape, "action": [len(low)], "choices": 0, "low": low, "high": high}

    def encoded(self, observations: Array) -> Array:
        """Returns observations as float32 ``[n, *shape]``; the number of a Discrete one as a one among zeros."""
        if isinstance(self._observation, spaces.Discrete):
            ones: Array = np.zeros((len(observations), int(self._observation.n)), dtype=np.float32)
            ones[np.arange(len(ones)), observations - int(self._observation.start)] = 1.0
            return ones
        found = np.asarray(observations, dtype=np.float32)
        return found if self._observation.shape else found[:, None]

    def actions(self, given: Array) -> Array:
        """Returns actions as the environment takes them, from float32 ``[n, K]``."""
        if isinstance(self.action, spaces.Discrete):
            return given[:, 0].astype(np.int64) + int(self.action.start)
        return given.reshape(len(given), *self.action.shape).astype(self.action.dtype)

    def _find_fast(self) -> Callable[[int], Group] | None:
        """Returns what makes a fast group that plays as the single environments do, if there is one."""
        kind = FAST.get(str(self._spec.entry_point))
        if kind is None or self._spec.additional_wrappers or self.max_steps is None:
            return None
        return (lambda count: kind(self, count)) if _plays_alike(self, kind) else None


def _refusal(what: str, space: Any, known: str) -> str:
    return f"its {what} are {one_line(str(space), 60)}; policies know {known}: wrap it in an environment of your own"


class _Singles:
    """Every lane is an environment of its own, made once and used again. Lanes that ended stand still."""

    def __init__(self, world: _World) -> None:
        self._world = world
        self._made: list[Any] = []
        self._playing: list[Any] = []

    def environments(self, count: int) -> list[Any]:
        """Returns so many environments."""
        while len(self._made) < count:
            self._made.append(self._world.make())
        return self._made[:count]

    def take(self, count: int) -> _Singles:
        """Returns itself, playing so many lanes."""
        self._playing = self.environments(count)
        return self

    def reset(self, seeds: Sequence[int]) -> Array:
        options = self._world.options
        self._seen = [one.reset(seed=seed, options=options)[0] for one, seed in zip(self._playing, seeds, strict=True)]
        self._going = list(range(len(seeds)))
        return np.stack(self._seen)

    def step(self, actions: Array) -> Found:
        count = len(self._playing)
        rewards, ends = np.zeros(count, dtype=np.float32), np.zeros((2, count), dtype=np.bool_)
        is_number = actions.ndim == 1
        for lane in self._going:
            action = int(actions[lane]) if is_number else actions[lane]
            seen, rewards[lane], ends[0, lane], ends[1, lane], _ = self._playing[lane].step(action)
            self._seen[lane] = seen
        self._going = [lane for lane in self._going if not (ends[0, lane] or ends[1, lane])]
        return np.stack(self._seen), rewards, ends[0], ends[1]


class _Vector:
    """Gymnasium's vectorised form of an environment whose state is an array ``[values, n]`` that a reset draws.

    It would draw all lanes' beginnings from one generator; each lane is given what its own seed draws instead.
    """

    def __init__(self, world: _World, count: int) -> None:
        self._world, self._vector = world, world.make_vector(count)

    def reset(self, seeds: Sequence[int]) -> Array:
        self._vector.reset(seed=0, options=self._world.options)
        state = _begun(self._world, seeds)
        self._vector.unwrapped.state = state
        return state.T.astype(np.float32)

    def step(self, actions: Array) -> Found:
        seen, rewards, terminated, truncated, _ = self._vector.step(actions)
        return seen, rewards, terminated, truncated


class _Broadcast:
    """An environment whose own ``step`` is elementwise: its state is made an array ``[values, n]``, and it moves all lanes."""

    def __init__(self, world: _World, count: int) -> None:
        self._world, self._one = world, world.make().unwrapped

    def reset(self, seeds: Sequence[int]) -> Array:
        self._one.reset(seed=0, options=self._world.options)
        self._one.state, self._num_steps = _begun(self._world, seeds), 0
        return np.asarray(self._one._get_obs(), dtype=np.float32).T  # noqa: SLF001 - what its own reset returns

    def step(self, actions: Array) -> Found:
        seen, rewards, _, _, _ = self._one.step(actions.T)
        self._num_steps += 1
        count = len(actions)
        is_over = self._world.max_steps is not None and self._num_steps >= self._world.max_steps
        return seen.T, rewards, np.zeros(count, dtype=np.bool_), np.full(count, is_over)


#: What moves many lanes at once, by entry point.
FAST: Mapping[str, type[_Vector] | type[_Broadcast]] = {
    "gymnasium.envs.classic_control.cartpole:CartPoleEnv": _Vector,
    "gymnasium.envs.classic_control.pendulum:PendulumEnv": _Broadcast,
}


def _begun(world: _World, seeds: Sequence[int]) -> Array:
    """Returns the states ``[values, n]`` that the ordinary environment begins in; equal seeds are drawn once."""
    (one,) = world.singles.environments(1)
    known: dict[int, Array] = {}
    for seed in seeds:
        if seed not in known:
            one.reset(seed=seed, options=world.options)
            known[seed] = np.asarray(one.unwrapped.state, dtype=np.float64)
    return np.stack([known[seed] for seed in seeds], axis=1)


def _plays_alike(world: _World, kind: type[_Vector] | type[_Broadcast]) -> bool:
    """Returns whether a fast group gives the very bits of the ordinary environments, tried on a few lanes and steps."""
    action = world.action
    low, high = (0, int(action.n) - 1) if isinstance(action, spaces.Discrete) else (action.low, action.high)
    seeds = list(range(TRIAL_LANES))
    try:
        pair: list[Group] = [kind(world, TRIAL_LANES), world.singles.take(TRIAL_LANES)]
        if not _are_equal(*([group.reset(seeds)] for group in pair)):
            return False
        for number in range(TRIAL_STEPS):
            actions = np.asarray([low if (lane + number) % 3 else high for lane in seeds])
            if not _are_equal(*(group.step(actions) for group in pair)):
                return False
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError, gymnasium.error.Error):
        return False  # another version of Gymnasium, where this form is another one
    return True


def _are_equal(fast: Sequence[Array], ordinary: Sequence[Array]) -> bool:
    pairs = zip(fast, ordinary, strict=True)
    return all(np.array_equal(np.asarray(a, np.float32), np.asarray(b, np.float32)) for a, b in pairs)
