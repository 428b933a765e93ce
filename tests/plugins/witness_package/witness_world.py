"""A user's own Gymnasium environment that notes where it is made, reset and stepped; registered when this is imported."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import witness
from gymnasium import spaces


class Drift(gymnasium.Env):
    """A number that the action moves; the reward is minus its size. Ends beyond 3."""

    action_space = spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)
    observation_space = spaces.Box(-10.0, 10.0, (2,), dtype=np.float32)

    def __init__(self) -> None:
        witness.note("environment")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        witness.note("environment")
        self.at, self.num_steps = float(self.np_random.uniform(-1.0, 1.0)), 0
        return self.look(), {}

    def look(self) -> np.ndarray:
        return np.array([self.at, self.num_steps / 10.0], dtype=np.float32)

    def step(self, action: Any) -> Any:
        witness.note("environment")
        self.at, self.num_steps = self.at + 0.1 + float(action[0]), self.num_steps + 1
        return self.look(), -abs(self.at), abs(self.at) > 3.0, False, {}


gymnasium.register("WitnessDrift-v0", entry_point=Drift, max_episode_steps=8)
