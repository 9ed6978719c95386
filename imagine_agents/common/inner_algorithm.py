"""A stock algorithm inside an agent: made for spaces rather than for an environment, with its own sense of time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

__all__ = ["counters", "make_algorithm", "schedules_between"]

# What an algorithm counts; the rest of its state is in its tensors.
_COUNTERS = (
    "num_timesteps",
    "_total_timesteps",
    "_num_timesteps_at_start",
    "_n_updates",
    "_episode_num",
    "_current_progress_remaining",
    "_n_calls",  # of DQN and QRDQN, which time their target networks by it
    "exploration_rate",
)


def make_algorithm(
    algorithm: type[BaseAlgorithm],
    policy: str | type[BasePolicy],
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    num_envs: int,
    **kwargs: Any,
) -> BaseAlgorithm:
    """A stock algorithm for environments that do not exist yet.

    Its constructor checks policy and spaces as it always does; ``set_env`` gives it an environment later.

    Args:
        algorithm: The class.
        policy: Its policy.
        observation_space: Of one environment.
        action_space: Of one environment.
        num_envs: Environments side by side.
        **kwargs: Further arguments of the constructor.
    """
    agent = algorithm(policy, env=_Spaces(num_envs, observation_space, action_space), **kwargs)
    agent.env = None
    return agent


def counters(algorithm: BaseAlgorithm) -> dict[str, Any]:
    """What an algorithm counts and ``get_parameters`` leaves out; ``vars(algorithm).update`` brings it back."""
    return {name: getattr(algorithm, name) for name in _COUNTERS if hasattr(algorithm, name)}


@contextmanager
def schedules_between(algorithm: BaseAlgorithm, begin: float, end: float, steps: int) -> Iterator[None]:
    """Lets schedules (learning rate, clip range, ε of DQN) run from ``begin`` to ``end`` during ``steps`` steps.

    Left to itself, an algorithm that learns in several parts ends its schedules in each of them and begins the next
    somewhere in the middle.

    Args:
        algorithm: The algorithm.
        begin: The progress that remains before the next step: 1 at the beginning of all.
        end: The progress that remains after ``steps`` steps: 0 at the end of all.
        steps: Steps to come.
    """
    start = algorithm.num_timesteps

    def update(num_timesteps: int, total_timesteps: int) -> None:
        done = min((num_timesteps - start) / steps, 1.0)
        algorithm._current_progress_remaining = begin + (end - begin) * done

    algorithm._update_current_progress_remaining = update  # type: ignore[method-assign]
    try:
        update(start, steps)
        yield
    finally:
        del algorithm._update_current_progress_remaining


class _Spaces(VecEnv):
    """Environments of which nothing exists but the spaces."""

    def __init__(self, num_envs: int, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        super().__init__(num_envs, observation_space, action_space)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        if attr_name != "render_mode":
            raise AttributeError(attr_name)
        return [None] * self.num_envs

    def has_attr(self, attr_name: str) -> bool:
        return attr_name == "render_mode"

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs

    def reset(self) -> Any:
        raise self._missing()

    def step_async(self, actions: np.ndarray) -> None:
        raise self._missing()

    def step_wait(self) -> Any:
        raise self._missing()

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise self._missing()

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        raise self._missing()

    def close(self) -> None:
        """Nothing to close."""

    @staticmethod
    def _missing() -> RuntimeError:
        return RuntimeError("there is no environment yet: call set_env() first")
