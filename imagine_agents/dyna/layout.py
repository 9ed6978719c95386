"""Between the units of a world, which are the environment's own, and those in which SB3's networks are fed."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.preprocessing import get_action_dim, get_obs_shape
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from imagine_envs.spaces import Observation, map_observation

__all__ = ["Layout", "rewards_for_policy"]

ArrayT = TypeVar("ArrayT", NDArray, Tensor)


class Layout:
    """What differs between the two: the scale of Box actions, the place of an image's channels, normalisation.

    Args:
        observation_space: The policy's: channels first.
        world_space: The world's observation space: the environment's own.
        action_space: Of both; SB3's networks and buffers know Box actions scaled to [−1, 1].
        device: Where tensors are.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        world_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device,
    ) -> None:
        self.world_space = world_space
        self._shape: Any = get_obs_shape(observation_space)
        self._turned = _differing(observation_space, world_space)
        self._action_space = action_space
        self._action_dim = get_action_dim(action_space)
        self._bounds: tuple[Tensor, Tensor] | None = None
        if isinstance(action_space, spaces.Box):
            low, high = (torch.as_tensor(bound, device=device) for bound in (action_space.low, action_space.high))
            self._bounds = low.float(), high.float()

    def to_world(self, observation: Any) -> Any:
        """Observations ``[B, …]`` as the environment gives them, of those that SB3 hands over (arrays)."""
        if isinstance(observation, dict):
            return {key: _last(part) if key in self._turned else part for key, part in observation.items()}
        return _last(observation) if self._turned else observation

    def to_policy(self, observation: Observation, normalize: VecNormalize | None) -> Observation:
        """Observations ``[B, …]`` as SB3's buffers hold them, normalised by the present statistics."""
        if isinstance(observation, dict):
            seen: Observation = {
                key: _first(part) if key in self._turned else part.reshape(-1, *self._shape[key])
                for key, part in observation.items()
            }
        else:
            seen = _first(observation) if self._turned else observation.reshape(-1, *self._shape)
        return _normalized(seen, normalize)

    def unscaled(self, action: ArrayT) -> ArrayT:
        """Actions ``[B, …]`` in the environment's units, of those that SB3's networks and buffers know.

        To the bit what SB3 gives to the environment.
        """
        space = self._action_space
        if self._bounds is None or not isinstance(space, spaces.Box):
            return action.reshape(-1, *(space.shape or ()))
        low, high = (space.low, space.high) if isinstance(action, np.ndarray) else self._bounds
        action = action.reshape(-1, *space.shape)
        return low + (0.5 * (action + 1.0) * (high - low))

    def scaled(self, action: Tensor) -> Tensor:
        """Actions ``[B, A]`` as SB3's networks and buffers know them, of those in the environment's units."""
        if self._bounds is not None:
            low, high = self._bounds
            action = 2.0 * ((action - low) / (high - low)) - 1.0
        return action.reshape(-1, self._action_dim)


def rewards_for_policy(reward: Tensor, normalize: VecNormalize | None) -> Tensor:
    """Rewards ``[B]``, normalised by the present statistics."""
    if normalize is None or not normalize.norm_reward:
        return reward
    return torch.as_tensor(normalize.normalize_reward(reward.cpu().numpy()), device=reward.device)


def _normalized(observation: Observation, normalize: VecNormalize | None) -> Observation:
    if normalize is None or not normalize.norm_obs:
        return observation
    device = next(iter(observation.values())).device if isinstance(observation, dict) else observation.device
    values = normalize.normalize_obs(map_observation(lambda tensor: tensor.cpu().numpy(), observation))
    normalized: Observation = map_observation(lambda array: torch.as_tensor(array, device=device), values)
    return normalized


def _differing(policy: spaces.Space[Any], world: spaces.Space[Any]) -> set[str]:
    """The keys under which the policy sees something else; {""} if it does and the space is no Dict."""
    if isinstance(policy, spaces.Dict) and isinstance(world, spaces.Dict):
        return {key for key, space in policy.spaces.items() if space != world.spaces[key]}
    return set() if policy == world else {""}


def _last(image: NDArray) -> NDArray:
    return np.moveaxis(image, -3, -1)


def _first(image: Tensor) -> Tensor:
    return image.movedim(-1, -3)
