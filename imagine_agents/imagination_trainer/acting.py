"""Action noise, which an off-policy algorithm explores reality with."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import ActionNoise, VectorizedActionNoise
from stable_baselines3.common.policies import BasePolicy

__all__ = ["Noisy"]


class Noisy:
    """An algorithm whose actions are disturbed.

    Args:
        agent: The algorithm.
        noise: Added to actions, in units of half the range of the action space as everywhere in SB3.
    """

    def __init__(self, agent: BaseAlgorithm, noise: ActionNoise) -> None:
        self._agent, self._noise = agent, noise

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """As SB3's ``predict``, for batches."""
        action, state = self._agent.predict(observation, state, episode_start, deterministic)
        return self._disturbed(action, np.asarray(episode_start, dtype=bool)), state

    def _disturbed(self, action: np.ndarray, starts: np.ndarray) -> np.ndarray:
        policy, space = self._agent.policy, self._agent.action_space
        assert isinstance(policy, BasePolicy)
        assert isinstance(space, spaces.Box)
        if isinstance(self._noise, VectorizedActionNoise):
            if starts.any():
                self._noise.reset(indices=np.flatnonzero(starts))
        elif starts.all():
            self._noise.reset()
        scaled = np.clip(policy.scale_action(action) + self._noise(), -1, 1)
        return np.asarray(policy.unscale_action(scaled), dtype=space.dtype)
