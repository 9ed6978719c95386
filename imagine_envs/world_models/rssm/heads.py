"""Scalar predictions from features: how they are parametrised, what they mean and what they cost."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from imagine_envs.world_models.rssm.networks import MLP, linear, symexp

__all__ = ["GaussianHead", "ScalarHead", "TwoHotHead"]

_BINS = 255
_RANGE = 20.0  # symexp(±20) is about ±5·10⁸


class ScalarHead(nn.Module, ABC):
    """An MLP that predicts one number from features ``[…, F]``."""

    def __init__(self, trunk: MLP, outputs: int, scale: float) -> None:
        super().__init__()
        self.trunk = trunk
        self.out = linear(trunk.width, outputs, scale=scale)

    def forward(self, features: Tensor) -> Tensor:
        """The parameters of the prediction, ``[…, outputs]``, in full precision."""
        return self.out(self.trunk(features)).float()

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """The expected number, ``[…]``."""

    @abstractmethod
    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Negative log-likelihood of ``target`` ``[…]`` up to a constant."""


class GaussianHead(ScalarHead):
    """The mean of a Gaussian of unit variance (PlaNet, Dreamer V1)."""

    def __init__(self, trunk: MLP) -> None:
        super().__init__(trunk, 1, 1.0)

    def mean(self, parameters: Tensor) -> Tensor:
        """``[…, 1] → […]``."""
        return parameters.squeeze(-1)

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """½ (μ − x)²."""
        return 0.5 * (self.mean(parameters) - target).square()


class TwoHotHead(ScalarHead):
    """A categorical distribution over 255 bins that stand exponentially apart (DreamerV3, "Robust predictions").

    The prediction is the bins' mean; the target is shared out between its two neighbouring bins, so that the mean of
    the target's distribution is the target. The size of the gradient does not depend on that of the target.

    The output layer starts at zero: before anything was learned, the prediction is exactly 0.
    """

    bins: Tensor

    def __init__(self, trunk: MLP) -> None:
        super().__init__(trunk, _BINS, 0.0)
        positive = symexp(torch.linspace(0, _RANGE, _BINS // 2 + 1))
        self.register_buffer("bins", torch.cat([-positive[1:].flip(0), positive]), persistent=False)

    def mean(self, parameters: Tensor) -> Tensor:
        """Σ p(b) · b, ``[…, 255] → […]``."""
        probability = parameters.softmax(-1)
        # The bins are antisymmetric: paired before they are summed, equal probabilities cancel exactly. Summed in their
        # order, bins of ±5·10⁸ would leave their rounding errors.
        half = _BINS // 2
        return (probability[..., half + 1 :] - probability[..., :half].flip(-1)) @ self.bins[half + 1 :]

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy with the two-hot target: ``[…, 255]``, ``[…]`` → ``[…]``."""
        target = target.clamp(-self.bins[-1], self.bins[-1]).contiguous()  # searchsorted warns of anything else
        above = torch.searchsorted(self.bins, target).clamp(1, _BINS - 1)
        neighbours = torch.stack([above - 1, above], -1)
        low, high = self.bins[above - 1], self.bins[above]
        weight = (target - low) / (high - low)
        log_probability = parameters.log_softmax(-1).gather(-1, neighbours)
        return -((1 - weight) * log_probability[..., 0] + weight * log_probability[..., 1])
