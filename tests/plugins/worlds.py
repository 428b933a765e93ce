"""A user's own Gymnasium environments: one that is honest, and some that misbehave; registered when this is imported."""

from __future__ import annotations

import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Drift(gymnasium.Env):
    """A number that drifts from its seed; the action moves it; the reward is minus its size. Ends beyond 3."""

    action_space = spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)
    observation_space = spaces.Box(-10.0, 10.0, (2,), dtype=np.float32)

    def __init__(self, drift: float = 0.1, trick: str = "") -> None:
        self.drift, self.trick = drift, trick

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.at, self.num_steps = float(self.np_random.uniform(-1.0, 1.0)), 0
        if self.trick == "reset":
            raise RuntimeError("no beginning")
        return self.look(), {}

    def look(self) -> np.ndarray:
        return np.array([self.at, self.num_steps / 10.0], dtype=np.float32)

    def step(self, action: Any) -> Any:
        self.num_steps += 1
        self.at += self.drift + float(action[0])
        if self.trick and self.num_steps == 3:
            if self.trick == "raise":
                raise RuntimeError("the floor gave way")
            if self.trick == "hang":
                time.sleep(3600)
            if self.trick == "nan":
                return self.look(), float("nan"), False, False, {}
        return self.look(), -abs(self.at), abs(self.at) > 3.0, False, {}


class Pairs(Drift):
    """Actions of a kind that no policy knows."""

    action_space = spaces.MultiDiscrete([2, 3])


for name, made, kwargs in (
    ("Drift-v0", Drift, {}),
    ("Endless-v0", Drift, {}),
    ("Pairs-v0", Pairs, {}),
    *((f"{trick.capitalize()}-v0", Drift, {"trick": trick}) for trick in ("raise", "hang", "nan", "reset")),
):
    limit = None if name == "Endless-v0" else 12
    gymnasium.register(name, entry_point=made, max_episode_steps=limit, kwargs=kwargs)
