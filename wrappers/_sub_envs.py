"""Attributes and methods of the environments in a ``VectorEnv``, in the way SB3 asks for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper
from stable_baselines3.common.env_util import is_wrapped
from torch import Tensor

from wrappers._infos import as_array

__all__ = ["SubEnvs", "sub_envs_of"]

# What SB3 calls the space of an environment is the space of one.
_SINGLE = {"observation_space": "single_observation_space", "action_space": "single_action_space"}
# Batched over its arguments, not over the environments (Gymnasium-Robotics' GoalEnv, whose method HER calls).
_OVER_ARGUMENTS = frozenset({"compute_reward"})


class SubEnvs(ABC):
    """Access to the environments in a batch; ``rows`` are their indices."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether every environment has the attribute or method."""

    @abstractmethod
    def get(self, name: str, rows: Sequence[int]) -> list[Any]:
        """The attribute of each of the environments."""

    @abstractmethod
    def set(self, name: str, value: Any, rows: Sequence[int]) -> None:
        """Sets the attribute of each of the environments to ``value``."""

    @abstractmethod
    def call(self, name: str, rows: Sequence[int], *args: Any, **kwargs: Any) -> list[Any]:
        """What the method returns in each of the environments."""

    def is_wrapped(self, wrapper_class: type[gym.Wrapper], rows: Sequence[int]) -> list[bool]:
        """Whether each of the environments is wrapped by ``wrapper_class``, as far as can be seen."""
        return [False for _ in rows]


def sub_envs_of(env: VectorEnv) -> SubEnvs:
    """The access that fits ``env``."""
    unwrapped = env.unwrapped
    if isinstance(unwrapped, SyncVectorEnv):
        return _InProcess(unwrapped.envs)
    if isinstance(unwrapped, AsyncVectorEnv):
        return _InWorkers(unwrapped)
    return _Batched(env)


class _InProcess(SubEnvs):
    """The environments themselves, as SB3's ``DummyVecEnv`` treats them: set on the outermost wrapper, got from any."""

    def __init__(self, envs: Sequence[gym.Env]) -> None:
        self.envs = envs

    def has(self, name: str) -> bool:
        return all(env.has_wrapper_attr(name) for env in self.envs)

    def get(self, name: str, rows: Sequence[int]) -> list[Any]:
        return [self.envs[row].get_wrapper_attr(name) for row in rows]

    def set(self, name: str, value: Any, rows: Sequence[int]) -> None:
        for row in rows:
            setattr(self.envs[row], name, value)

    def call(self, name: str, rows: Sequence[int], *args: Any, **kwargs: Any) -> list[Any]:
        return [self.envs[row].get_wrapper_attr(name)(*args, **kwargs) for row in rows]

    def is_wrapped(self, wrapper_class: type[gym.Wrapper], rows: Sequence[int]) -> list[bool]:
        return [is_wrapped(self.envs[row], wrapper_class) for row in rows]


class _InWorkers(SubEnvs):
    """Environments in the processes of an ``AsyncVectorEnv``. An exception ends its worker, so nothing is tried."""

    def __init__(self, env: AsyncVectorEnv) -> None:
        self.env = env

    def has(self, name: str) -> bool:
        return all(self.env.call("has_wrapper_attr", name))

    def get(self, name: str, rows: Sequence[int]) -> list[Any]:
        self._require(name)
        # Not AsyncVectorEnv.get_attr, which calls what can be called.
        return self._call("get_wrapper_attr", rows, name)

    def set(self, name: str, value: Any, rows: Sequence[int]) -> None:
        # Not AsyncVectorEnv.set_attr, which takes a list for one value of each environment.
        self._call("__setattr__", rows, name, value)

    def call(self, name: str, rows: Sequence[int], *args: Any, **kwargs: Any) -> list[Any]:
        self._require(name)
        return self._call(name, rows, *args, **kwargs)

    def _require(self, name: str) -> None:
        if not self.has(name):
            raise AttributeError(f"the environments of {self.env} have no attribute {name!r}")

    def _call(self, name: str, rows: Sequence[int], *args: Any, **kwargs: Any) -> list[Any]:
        if list(rows) == list(range(self.env.num_envs)):
            return list(self.env.call(name, *args, **kwargs))
        # AsyncVectorEnv.call reaches every worker; some of them can only be reached by its own message.
        self.env._assert_is_running()
        pipes = [self.env.parent_pipes[row] for row in rows]
        for pipe in pipes:
            pipe.send(("_call", (name, args, kwargs)))
        answers = [pipe.recv() for pipe in pipes]
        successes = [success for _, success in answers]
        self.env._raise_if_errors([*successes, *[True] * (self.env.num_envs - len(successes))])
        return [result for result, _ in answers]


class _Batched(SubEnvs):
    """A native batch: one object stands for all environments, and its arrays ``[num_envs, …]`` have their rows."""

    def __init__(self, env: VectorEnv) -> None:
        self.env = env

    def has(self, name: str) -> bool:
        return self._holder(name) is not None

    def get(self, name: str, rows: Sequence[int]) -> list[Any]:
        name = _SINGLE.get(name, name)
        return self._rows(getattr(self._require(name), name), rows)

    def set(self, name: str, value: Any, rows: Sequence[int]) -> None:
        holder = self._holder(name)
        current = None if holder is None else getattr(holder, name)
        if isinstance(current, (np.ndarray, Tensor)) and self._is_per_env(current):
            current[list(rows)] = value
        elif sorted(row % self.env.num_envs for row in rows) == list(range(self.env.num_envs)):
            setattr(self.env if holder is None else holder, name, value)
        else:
            raise ValueError(
                f"set_attr({name!r}, …, indices={list(rows)}): {self.env} holds one {name!r} for its "
                f"{self.env.num_envs} environments, so that it cannot be set in some of them; leave indices out"
            )

    def call(self, name: str, rows: Sequence[int], *args: Any, **kwargs: Any) -> list[Any]:
        result = getattr(self._require(name), name)(*args, **kwargs)
        if name in _OVER_ARGUMENTS:
            return [result for _ in rows]
        return self._rows(result, rows)

    def _holder(self, name: str) -> VectorEnv | None:
        env = self.env
        while not hasattr(env, name):
            if not isinstance(env, VectorWrapper):
                return None
            env = env.env
        return env

    def _require(self, name: str) -> VectorEnv:
        holder = self._holder(name)
        if holder is None:
            raise AttributeError(f"{self.env} has no attribute {name!r}")
        return holder

    def _is_per_env(self, value: Any) -> bool:
        if isinstance(value, (np.ndarray, Tensor)):
            return value.ndim > 0 and len(value) == self.env.num_envs
        return isinstance(value, (list, tuple)) and len(value) == self.env.num_envs

    def _rows(self, value: Any, rows: Sequence[int]) -> list[Any]:
        if isinstance(value, Tensor):
            value = as_array(value)
        return [value[row] for row in rows] if self._is_per_env(value) else [value for _ in rows]
