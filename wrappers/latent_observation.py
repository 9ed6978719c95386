"""What a policy of a latent dream needs to act in reality: features in place of observations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from imagine_envs.autoreset import autoreset_mode
from imagine_envs.dreams.filter import Filter
from imagine_envs.spaces import map_observation
from imagine_envs.world_models.world import World, resolve_device

__all__ = ["LatentObservation", "LatentVectorObservation"]


class LatentObservation(gym.Wrapper, RecordConstructorArgs):
    """A real environment whose observations are what a policy of the world's latent dream sees.

    The world model filters the real observations and actions; the observation becomes its features. So a policy that
    was trained in ``gym.make("Imagine/Dream-v0", world_model=…, observation="latent")`` acts here unchanged. Rewards,
    terminations and infos stay the real ones.

    Given a ``gymnasium.vector.VectorEnv``, the constructor returns a :class:`LatentVectorObservation`.

    Args:
        env: A ``gymnasium.Env``, or a ``gymnasium.vector.VectorEnv``, of the world's spaces.
        world_model: Path of a saved world, or a :class:`~imagine_envs.world_models.World`.
        device: Where to filter; None stays where the world is (the CPU for a path), "auto" takes a GPU if there is one.

    Attributes:
        world: The world.
        filter: The :class:`~imagine_envs.dreams.Filter`. Its ``digest`` is that of the world when this was made.

    Raises:
        StorageError: If the path holds no whole world.
        TypeError: If ``env`` is no environment, or ``world_model`` neither path nor World.
        ValueError: If the environment has other spaces than the world.

    Example:
        >>> env = LatentObservation(gym.make("CartPole-v1"), "worlds/cartpole")
        >>> evaluate_policy(agent_trained_in_the_latent_dream, env)
    """

    def __new__(cls, env: Any = None, world_model: Any = None, device: Any = None) -> Any:
        """A :class:`LatentVectorObservation` for a ``VectorEnv``. (Unpickling calls this without arguments.)"""
        if isinstance(env, VectorEnv):
            return LatentVectorObservation(env, world_model, device)
        return super().__new__(cls)

    def __init__(self, env: gym.Env, world_model: str | Path | World, device: torch.device | str | None = None) -> None:
        # Not copied: a world may be large, and nobody changes it.
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, world_model=world_model, device=device)
        if not isinstance(env, gym.Env):
            raise TypeError(f"env is a {type(env).__name__}; a gymnasium.Env or a gymnasium VectorEnv was expected")
        gym.Wrapper.__init__(self, env)
        self.world = _world(world_model, device)
        _check_spaces(self.world, env.observation_space, env.action_space)
        self.filter = Filter(self.world, seed=None)
        self.observation_space = self.filter.observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environment; ``seed`` seeds the samples of a stochastic filter too."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self.filter.seed(seed)
        return self.filter.reset(_batch_of_one(observation))[0], info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the environment."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        features = self.filter.step(_batch_of_one(observation), np.asarray(action)[None], np.zeros(1, dtype=bool))
        return features[0], reward, terminated, truncated, info


class LatentVectorObservation(VectorWrapper):
    """:class:`LatentObservation` for a batch of real environments, whenever it restarts its finished ones.

    - ``SAME_STEP``: the last observation of an episode is filtered before the first of the next, and its features are
      in ``infos["final_obs"]``, float32 ``[num_envs, F]`` as in a latent dream (the rows in ``infos["_final_obs"]``).
    - ``NEXT_STEP``: a finished row starts anew at the next step, whose action led nowhere.
    - ``DISABLED``: rows start anew with ``reset(options={"reset_mask": …})``.

    Args:
        env: A ``gymnasium.vector.VectorEnv`` of the world's spaces.
        world_model: Path of a saved world, or a :class:`~imagine_envs.world_models.World`.
        device: Where to filter; None stays where the world is (the CPU for a path), "auto" takes a GPU if there is one.

    Attributes:
        world: The world.
        filter: The :class:`~imagine_envs.dreams.Filter`.

    Raises:
        StorageError: If the path holds no whole world.
        TypeError: If ``world_model`` is neither path nor World.
        ValueError: If the batch has other spaces than the world, or does not say when it restarts finished rows.
    """

    def __init__(
        self, env: VectorEnv, world_model: str | Path | World, device: torch.device | str | None = None
    ) -> None:
        super().__init__(env)
        self.world = _world(world_model, device)
        _check_spaces(self.world, env.single_observation_space, env.single_action_space)
        self._mode = autoreset_mode(env)
        self.filter = Filter(self.world, env.num_envs, seed=None)
        self.single_observation_space = self.filter.observation_space
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._waiting = np.zeros(env.num_envs, dtype=bool)  # rows that the next step restarts (NEXT_STEP only)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Resets the batch, or the rows of ``options["reset_mask"]``; the features of other rows stay as they are."""
        mask = (options or {}).get("reset_mask")
        rows = np.ones(self.num_envs, dtype=bool) if mask is None else np.array(mask, dtype=bool)
        observation, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        first_seed = seed[0] if isinstance(seed, (list, tuple)) else seed
        if first_seed is not None:
            self.filter.seed(first_seed)
        self._waiting &= ~rows
        return self.filter.reset(observation, rows), infos

    def step(self, actions: Any) -> tuple[np.ndarray, Any, Any, Any, dict[str, Any]]:
        """Steps the batch."""
        observation, reward, terminated, truncated, infos = self.env.step(actions)
        ended = np.asarray(terminated, dtype=bool) | np.asarray(truncated, dtype=bool)
        if self._mode is AutoresetMode.SAME_STEP and ended.any():
            arrived = _with_rows(observation, np.flatnonzero(ended), infos.get("final_obs"))
            final = self.filter.step(arrived, actions, self._waiting)
            infos = {**infos, "final_obs": final, "_final_obs": ended}
            features = self.filter.reset(observation, ended)
        else:
            features = self.filter.step(observation, actions, self._waiting)
            if self._mode is AutoresetMode.NEXT_STEP:
                self._waiting = ended
        return features, reward, terminated, truncated, infos


def _world(world_model: str | Path | World, device: torch.device | str | None) -> World:
    if isinstance(world_model, (str, Path)):
        return World.load(world_model, device or "cpu")
    if not isinstance(world_model, World):
        raise TypeError(f"world_model must be a path or a World, not {type(world_model).__name__}")
    return world_model if device is None else world_model.to(resolve_device(device))


def _check_spaces(world: World, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
    for name, found, expected in (
        ("observation_space", observation_space, world.observation_space),
        ("action_space", action_space, world.action_space),
    ):
        if found != expected:
            raise ValueError(f"the environment's {name} is {found}; the world's is {expected}: they must be equal")


def _with_rows(observation: Any, rows: np.ndarray, final: Any) -> Any:
    """``observation`` with ``rows`` taken from ``final``: a batch, or one entry (perhaps a dict) for each row."""
    if final is None:
        raise ValueError(
            "the environment says that it resets in the same step, but an episode ended and infos['final_obs'] is "
            "missing"
        )
    if isinstance(observation, Mapping) and not isinstance(final, Mapping):
        final = {key: [None if entry is None else entry[key] for entry in final] for key in observation}

    def put(current: Any, last: Any) -> np.ndarray:
        result = np.array(current)
        for row in rows:
            result[row] = last[row]
        return result

    return map_observation(put, observation, final)


def _batch_of_one(observation: Any) -> Any:
    return map_observation(lambda value: np.asarray(value)[None], observation)
