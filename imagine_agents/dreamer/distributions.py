"""Distributions over actions as the world model sees them: one-hot, or in [−1, 1]."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

from imagine_envs.world_models.rssm.latents import CategoricalLatent

__all__ = ["ActionDistribution", "BoundedNormal", "OneHot", "TanhNormal", "action_distribution"]


class ActionDistribution(ABC):
    """A family of distributions over encoded actions ``[…, A]``; the actor gives their parameters.

    Attributes:
        parameters: Numbers that describe one distribution.
    """

    parameters: int

    @abstractmethod
    def noise(self, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
        """What :meth:`sample` needs for ``shape`` distributions."""

    @abstractmethod
    def sample(self, parameters: Tensor, noise: Tensor | None) -> Tensor:
        """A differentiable sample ``[…, A]``; the mode where there is no noise."""

    @abstractmethod
    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """log π(a), ``[…]``."""

    @abstractmethod
    def entropy(self, parameters: Tensor) -> Tensor:
        """``[…]``."""


class OneHot(ActionDistribution):
    """One of A actions, with straight-through gradients, mixed with a little of the uniform distribution.

    Args:
        actions: A.
        uniform: Share of the uniform distribution (DreamerV3: 1 %).
    """

    def __init__(self, actions: int, uniform: float) -> None:
        self._latent = CategoricalLatent(1, actions, uniform)
        self.parameters = actions

    def noise(self, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
        """See :class:`ActionDistribution`."""
        return self._latent.noise(shape, device, generator)

    def sample(self, parameters: Tensor, noise: Tensor | None) -> Tensor:
        """See :class:`ActionDistribution`."""
        return self._latent.sample(parameters, noise)

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """See :class:`ActionDistribution`."""
        return (self._probability(parameters).log() * action).sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """See :class:`ActionDistribution`."""
        probability = self._probability(parameters)
        return -(probability * probability.log()).sum(-1)

    def _probability(self, parameters: Tensor) -> Tensor:
        """``[…, A]``, with a logarithm where no uniform share keeps it from zero."""
        probability = self._latent.probability(parameters).squeeze(-1)
        return probability if self._latent.uniform else probability.clamp_min(torch.finfo(probability.dtype).tiny)


class _Normal(ActionDistribution):
    """What is made of a normal distribution of each entry.

    Args:
        width: A.
    """

    def __init__(self, width: int) -> None:
        self.width, self.parameters = width, 2 * width

    def noise(self, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
        """Standard normal, ``[*shape, A]``."""
        return torch.randn(*shape, self.width, device=device, generator=generator)


class BoundedNormal(_Normal):
    """A normal distribution with its mean in (−1, 1) and its standard deviation in (0.1, 1) (DreamerV3).

    Samples may lie beyond ±1; whoever acts clips them.
    """

    def sample(self, parameters: Tensor, noise: Tensor | None) -> Tensor:
        """See :class:`ActionDistribution`."""
        mean, std = self._moments(parameters)
        return mean if noise is None else torch.addcmul(mean, std, noise)

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """See :class:`ActionDistribution`."""
        mean, std = self._moments(parameters)
        return (-0.5 * ((action - mean) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """See :class:`ActionDistribution`."""
        return (self._moments(parameters)[1].log() + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    @staticmethod
    def _moments(parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = parameters.chunk(2, -1)
        return mean.tanh(), 0.9 * (raw + 2).sigmoid() + 0.1


class TanhNormal(_Normal):
    """A normal distribution, squashed by tanh (Dreamer V1, appendix A).

    μ = 5 tanh(m / 5), σ = softplus(s + σ₀) + 10⁻⁴ with σ = 5 at first. The mode is taken to be tanh(μ).
    """

    def sample(self, parameters: Tensor, noise: Tensor | None) -> Tensor:
        """See :class:`ActionDistribution`."""
        mean, std = self._moments(parameters)
        return (mean if noise is None else torch.addcmul(mean, std, noise)).tanh()

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """log N(x) − log |da/dx| with a = tanh(x)."""
        mean, std = self._moments(parameters)
        before = action.clamp(-1 + 1e-6, 1 - 1e-6).atanh()
        normal = -0.5 * ((before - mean) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)
        return (normal - self._log_slope(before)).sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """To second order: that of the normal distribution, and the mean of log |da/dx| at μ ± σ."""
        mean, std = self._moments(parameters)
        slope = 0.5 * (self._log_slope(mean + std) + self._log_slope(mean - std))
        return (std.log() + 0.5 * math.log(2 * math.pi * math.e) + slope).sum(-1)

    @staticmethod
    def _moments(parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = parameters.chunk(2, -1)
        return 5 * (mean / 5).tanh(), F.softplus(raw + math.log(math.expm1(5.0))) + 1e-4

    @staticmethod
    def _log_slope(before: Tensor) -> Tensor:
        """log (1 − tanh² x), without cancellation."""
        return 2 * (math.log(2) - before - F.softplus(-2 * before))


def action_distribution(space: spaces.Space, preset: str) -> ActionDistribution:
    """The distribution that a preset has over the actions of a space.

    Raises:
        ValueError: If the space is neither ``Discrete`` nor a bounded ``Box``.
    """
    if isinstance(space, spaces.Discrete):
        return OneHot(int(space.n), 0.01 if preset == "v3" else 0.0)
    if isinstance(space, spaces.Box) and space.is_bounded():
        width = math.prod(space.shape)
        return BoundedNormal(width) if preset == "v3" else TanhNormal(width)
    raise ValueError(f"Dreamer needs Discrete actions or a Box with finite bounds, not {space}")
