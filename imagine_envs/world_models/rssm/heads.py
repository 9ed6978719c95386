"""Scalar predictions from features: how they are parametrised, what they mean and what they cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from imagine_envs.world_models.rssm.networks import MLP, linear, symexp

__all__ = ["GaussianHead", "ScalarHead", "TwoHotHead"]

_BINS = 255
_HALF = _BINS // 2
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
    def loss(self, parameters: Tensor, *targets: Tensor) -> Tensor:
        """Negative log-likelihood of all ``targets`` ``[…]`` together, up to a constant."""


class GaussianHead(ScalarHead):
    """The mean of a Gaussian of unit variance (PlaNet, Dreamer V1)."""

    def __init__(self, trunk: MLP) -> None:
        super().__init__(trunk, 1, 1.0)

    def mean(self, parameters: Tensor) -> Tensor:
        """``[…, 1] → […]``."""
        return parameters.squeeze(-1)

    def loss(self, parameters: Tensor, *targets: Tensor) -> Tensor:
        """Σ ½ (μ − x)²."""
        mean = self.mean(parameters)
        return torch.stack([0.5 * (mean - target).square() for target in targets]).sum(0)


class TwoHotHead(ScalarHead):
    """A categorical distribution over 255 bins that stand exponentially apart (DreamerV3, "Robust predictions").

    The prediction is the bins' mean; the target is shared out between its two neighbouring bins, so that the mean of
    the target's distribution is the target. The size of the gradient does not depend on that of the target.

    The output layer starts at zero: before anything was learned, the prediction is exactly 0.

    The columns are those of the negative bins, from the least to the largest, of the bin 0, and of the positive ones in
    the same order: as the bins are antisymmetric, equal probabilities then stand the same way and cancel exactly.
    (Summed in their own order, bins of ±5·10⁸ would leave their rounding errors.)
    """

    bins: Tensor
    columns: Tensor

    def __init__(self, trunk: MLP) -> None:
        super().__init__(trunk, _BINS, 0.0)
        positive = symexp(torch.linspace(0, _RANGE, _HALF + 1))
        column = torch.arange(_BINS)
        self.register_buffer("bins", torch.cat([-positive[1:].flip(0), positive]), persistent=False)
        self.register_buffer("columns", torch.where(column < _HALF, _HALF - 1 - column, column), persistent=False)

    def mean(self, parameters: Tensor) -> Tensor:
        """Σ p(b) · b, ``[…, 255] → […]``."""
        with torch.autocast(parameters.device.type, enabled=False):  # bins far from 0 are far apart in lower precision
            probability = parameters.float().softmax(-1)
            return (probability[..., _HALF + 1 :] - probability[..., :_HALF]) @ self.bins[_HALF + 1 :]

    def loss(self, parameters: Tensor, *targets: Tensor) -> Tensor:
        """Cross-entropy with the two-hot targets: ``[…, 255]``, ``[…]`` → ``[…]``."""
        stacked = torch.stack(targets, -1).clamp(-self.bins[-1], self.bins[-1])
        above = torch.searchsorted(self.bins, stacked).clamp(1, _BINS - 1)
        low, high = self.bins[above - 1], self.bins[above]
        share = (stacked - low) / (high - low)
        columns = self.columns[torch.cat([above - 1, above], -1)]
        return _CrossEntropy.apply(parameters, columns, torch.cat([1 - share, share], -1))


class _CrossEntropy(torch.autograd.Function):
    """−Σ_k w_k log softmax(x)_{c_k} of columns c and weights w ``[…, K]``; the gradient is (Σ_k w_k) softmax(x) − w.

    By hand, as it is half of what autograd would do, and the heads' outputs are the largest tensors of an update.
    """

    @staticmethod
    def forward(ctx: Any, parameters: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(parameters, columns, weights)
        log_probability = parameters.log_softmax(-1).gather(-1, columns)  # logsumexp takes three times as long
        return -(weights * log_probability).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        parameters, columns, weights = ctx.saved_tensors
        scale = gradients[0].unsqueeze(-1)
        gradient = parameters.softmax(-1).mul_(scale * weights.sum(-1, keepdim=True))
        return gradient.scatter_add_(-1, columns, -scale * weights), None, None
