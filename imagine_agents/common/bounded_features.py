"""Observations in units of their bounds, for policies."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

__all__ = ["BoundedFeatures", "with_bounded_features"]


class BoundedFeatures(BaseFeaturesExtractor):
    """Scales every bounded entry of a flat observation to [−1, 1] and leaves the others as they are.

    SB3's usual remedy for observations of very different size is ``VecNormalize``, whose running statistics would
    have to travel from the dream to reality; the bounds of the space are the same in both. (MountainCarContinuous's
    velocity lies within ±0.07: a policy that sees it as it is hardly sees it.)

    Args:
        observation_space: Flat ``Box``.

    Example:
        >>> PPO("MlpPolicy", env, policy_kwargs={"features_extractor_class": BoundedFeatures})
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, observation_space: spaces.Space[Any]) -> None:
        assert isinstance(observation_space, spaces.Box)
        super().__init__(observation_space, int(observation_space.shape[0]))
        low, high = (
            torch.as_tensor(bound, dtype=torch.float64) for bound in (observation_space.low, observation_space.high)
        )
        # CartPole's velocities are bounded by the largest float32, which is no bound.
        bounded = (high - low > 0) & (high - low < 1e6)
        scale = torch.where(bounded, 2 / (high - low), 1.0)
        self.register_buffer("scale", scale.float())
        self.register_buffer("shift", torch.where(bounded, -1 - low * scale, 0.0).float())

    def forward(self, observations: Tensor) -> Tensor:
        """``[B, D] → [B, D]``."""
        return torch.addcmul(self.shift, observations, self.scale)


def with_bounded_features(
    policy_kwargs: dict[str, Any], policy_class: type[BasePolicy], observation_space: spaces.Space[Any]
) -> dict[str, Any]:
    """A policy's arguments; flat observations are scaled by their bounds where it takes an extractor and has none."""
    kwargs = dict(policy_kwargs)
    flat = isinstance(observation_space, spaces.Box) and len(observation_space.shape) == 1
    if flat and "features_extractor_class" in inspect.signature(policy_class.__init__).parameters:
        kwargs.setdefault("features_extractor_class", BoundedFeatures)
    return kwargs
