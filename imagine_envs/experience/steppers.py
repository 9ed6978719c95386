"""One way to step every kind of environment: Gymnasium's Env and VectorEnv, and Stable-Baselines3's VecEnv."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from imagine_envs.autoreset import autoreset_mode
from imagine_envs.env_kwargs import task_kwargs

__all__ = ["Arrival", "Stepper", "stepper_for"]


@dataclass(frozen=True)
class Arrival:
    """What one step of ``N`` environments led to.

    Attributes:
        observation: What the actions led to, ``[N, …]``; the last observation of its episode where that ended.
        reward: ``[N]``.
        terminated: ``[N]`` bool.
        truncated: ``[N]`` bool.
        stepped: ``[N]`` bool; False where the environment ignored the action and was reset instead.
        restarted: ``[N]`` bool; where a new episode has begun, now standing at its first observation.
        current: Where the environments stand now, ``[N, …]``: the first observation of the new episode where
            ``restarted``, else ``observation``.
        infos: Gives one dict for each environment (a batch of environments has to split them).
    """

    observation: Any
    reward: NDArray
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    stepped: NDArray[np.bool_]
    restarted: NDArray[np.bool_]
    current: Any
    infos: Callable[[], list[dict[str, Any]]]


class Stepper(ABC):
    """Several environments that restart by themselves, whatever their interface.

    Attributes:
        env: What is stepped.
        num_envs: Their number.
        observation_space: Of one environment.
        action_space: Of one environment.
        batched: Whether a plain function as a policy sees a batch of observations, or a single one.
        has_masks: Whether the environments have a method ``action_masks``.
        columns: Entries of a step's info that a replay is to hold, name → shape and type: the environments' attribute
            ``replay_columns``.
    """

    batched = True

    def __init__(
        self, env: Any, num_envs: int, observation_space: gym.Space[Any], action_space: gym.Space[Any]
    ) -> None:
        self.env = env
        self.num_envs = num_envs
        self.observation_space = observation_space
        self.action_space = action_space
        self.has_masks = self._has_masks()
        self.columns: dict[str, Any] = dict(self._attribute("replay_columns") or {})

    @abstractmethod
    def reset(self, seed: int | None) -> Any:
        """Begins a new episode in every environment and returns its first observation, ``[N, …]``."""

    @abstractmethod
    def step(self, action: NDArray) -> Arrival:
        """Steps every environment by ``action``, ``[N, …]``."""

    @abstractmethod
    def masks(self) -> NDArray[np.bool_]:
        """The actions that are legal now, ``[N, A]``; only where :attr:`has_masks`."""

    @abstractmethod
    def _has_masks(self) -> bool: ...

    @abstractmethod
    def _spec(self) -> Any: ...

    @abstractmethod
    def _attribute(self, name: str) -> Any:
        """An attribute of the environments, the same in all of them; None where they have none of that name."""

    def identity(self) -> tuple[str | None, dict[str, Any], int | None]:
        """The environment's id, its keyword arguments and its step limit, as far as they are known.

        Arguments that JSON cannot express leave the id unknown too, for another environment would come of it.
        """
        spec = self._spec()
        if spec is None:
            return None, {}, None
        kwargs = task_kwargs(spec.kwargs)
        own = self._attribute("max_steps")  # which the tasks of this suite keep themselves
        limit = min((int(steps) for steps in (spec.max_episode_steps, own) if steps), default=None)
        try:
            return spec.id, json.loads(json.dumps(kwargs, allow_nan=False, default=_python_number)), limit
        except (TypeError, ValueError):
            return None, {}, limit


def _python_number(value: Any) -> Any:
    """A number of NumPy as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is no number")


class _EnvStepper(Stepper):
    batched = False

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env, 1, env.observation_space, env.action_space)

    def reset(self, seed: int | None) -> Any:
        return _batch_of_one(self.env.reset(seed=seed)[0])

    def step(self, action: NDArray) -> Arrival:
        observation, reward, terminated, truncated, info = self.env.step(action[0])
        observation = current = _batch_of_one(observation)
        if terminated or truncated:
            current = _batch_of_one(self.env.reset()[0])
        return Arrival(
            observation=observation,
            reward=np.array([reward]),
            terminated=np.array([terminated], bool),
            truncated=np.array([truncated], bool),
            stepped=np.ones(1, bool),
            restarted=np.array([terminated or truncated], bool),
            current=current,
            infos=lambda: [info],
        )

    def masks(self) -> NDArray[np.bool_]:
        return np.asarray(self.env.get_wrapper_attr("action_masks")(), bool).reshape(1, -1)

    def _has_masks(self) -> bool:
        return bool(self.env.has_wrapper_attr("action_masks"))

    def _spec(self) -> Any:
        return self.env.spec

    def _attribute(self, name: str) -> Any:
        return self.env.get_wrapper_attr(name) if self.env.has_wrapper_attr(name) else None


class _VectorEnvStepper(Stepper):
    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env, env.num_envs, env.single_observation_space, env.single_action_space)
        self._mode = autoreset_mode(env)
        self._ended = np.zeros(env.num_envs, bool)

    def reset(self, seed: int | None) -> Any:
        self._ended[:] = False
        return self.env.reset(seed=seed)[0]

    def step(self, action: NDArray) -> Arrival:
        before = self._ended
        observation, reward, terminated, truncated, infos = self.env.step(action)
        terminated, truncated = np.asarray(terminated, bool), np.asarray(truncated, bool)
        ended = terminated | truncated
        self._ended = ended
        current, stepped, restarted = observation, ~np.zeros_like(ended), ended
        if self._mode is AutoresetMode.NEXT_STEP:
            stepped, restarted = ~before, before
        elif ended.any() and self._mode is AutoresetMode.SAME_STEP:
            observation = _with_rows(observation, ended, infos["final_obs"])
        elif ended.any():
            observation = _copy(observation)  # the reset may write into the same buffer
            current, _ = self.env.reset(options={"reset_mask": ended.copy()})
        return Arrival(
            observation=observation,
            reward=np.asarray(reward),
            terminated=terminated,
            truncated=truncated,
            stepped=stepped,
            restarted=restarted,
            current=current,
            infos=lambda: _infos_of(infos, ended),
        )

    def masks(self) -> NDArray[np.bool_]:
        masks = self.env.unwrapped.call("action_masks") if self._singles() else self.env.unwrapped.action_masks()
        return np.asarray(masks, bool).reshape(self.num_envs, -1)

    def _has_masks(self) -> bool:
        if self._singles():  # asked with care: a worker process that fails to find an attribute dies of it
            return bool(self.env.unwrapped.call("has_wrapper_attr", "action_masks")[0])
        return hasattr(self.env.unwrapped, "action_masks")

    def _spec(self) -> Any:
        return self.env.unwrapped.call("spec")[0] if self._singles() else self.env.spec

    def _attribute(self, name: str) -> Any:
        if self._singles():
            found = self.env.unwrapped.call("has_wrapper_attr", name)[0]
            return self.env.unwrapped.call(name)[0] if found else None
        return getattr(self.env.unwrapped, name, None)

    def _singles(self) -> bool:
        """Whether the batch is made of single environments."""
        return isinstance(self.env.unwrapped, (SyncVectorEnv, AsyncVectorEnv))


class _VecEnvStepper(Stepper):
    def __init__(self, env: VecEnv) -> None:
        super().__init__(env, env.num_envs, env.observation_space, env.action_space)

    def reset(self, seed: int | None) -> Any:
        if seed is not None:
            self.env.seed(seed)
        return self.env.reset()

    def step(self, action: NDArray) -> Arrival:
        current, reward, ended, infos = self.env.step(action)
        observation = current
        if ended.any():
            observation = _with_rows(current, ended, [info.get("terminal_observation") for info in infos])
        truncated = np.array([info.get("TimeLimit.truncated", False) for info in infos], bool) & ended
        return Arrival(
            observation=observation,
            reward=reward,
            terminated=ended & ~truncated,
            truncated=truncated,
            stepped=np.ones_like(ended),
            restarted=ended,
            current=current,
            infos=lambda: infos,
        )

    def masks(self) -> NDArray[np.bool_]:
        return np.asarray(self.env.env_method("action_masks"), bool).reshape(self.num_envs, -1)

    def _has_masks(self) -> bool:
        return bool(self.env.has_attr("action_masks"))

    def _spec(self) -> Any:
        return self.env.get_attr("spec")[0] if self.env.has_attr("spec") else None

    def _attribute(self, name: str) -> Any:
        return self.env.get_attr(name)[0] if self.env.has_attr(name) else None


def stepper_for(env: Any) -> Stepper:
    """The stepper that suits an environment.

    Raises:
        TypeError: If ``env`` is none of the known kinds.
    """
    if isinstance(env, VecEnv):
        return _VecEnvStepper(env)
    if isinstance(env, VectorEnv):
        return _VectorEnvStepper(env)
    if isinstance(env, gym.Env):
        return _EnvStepper(env)
    raise TypeError(
        f"env is a {type(env).__name__}; an id, a gymnasium.Env, a gymnasium VectorEnv or a Stable-Baselines3 VecEnv "
        "was expected"
    )


def _batch_of_one(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: np.asarray(value)[None] for key, value in observation.items()}
    return np.asarray(observation)[None]


def _copy(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: np.array(value) for key, value in observation.items()}
    return np.array(observation)


def _with_rows(observation: Any, rows: NDArray[np.bool_], final: Any) -> Any:
    """``observation`` with some rows taken from ``final``: a batch, or one entry (a dict perhaps) for each row."""
    result = _copy(observation)
    if isinstance(final, dict):
        for key, values in final.items():
            result[key][rows] = values[rows]
        return result
    for row in np.flatnonzero(rows):
        if isinstance(result, dict):
            for key in result:
                result[key][row] = final[row][key]
        else:
            result[row] = final[row]
    return result


def _infos_of(infos: dict[str, Any], ended: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """A vector environment's infos as one dict for each environment, the final one where an episode ended."""

    def entry(values: dict[str, Any], row: int) -> dict[str, Any]:
        result = {}
        for key, value in values.items():
            present = values.get(f"_{key}")
            if key.startswith("_") or (present is not None and not present[row]):
                continue
            if isinstance(value, dict):
                result[key] = entry(value, row)
            elif isinstance(value, (np.ndarray, list, tuple)) and len(value) == len(ended):
                result[key] = value[row]
        return result

    result = [entry(infos, row) for row in range(len(ended))]
    for row in np.flatnonzero(ended):
        final = result[row].pop("final_info", {})
        result[row].update(final)
    return result
