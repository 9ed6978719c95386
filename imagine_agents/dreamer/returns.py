"""Returns of imagined and of real sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ReturnRange", "lambda_returns"]


def lambda_returns(reward: Tensor, going_on: Tensor, value: Tensor, lam: float | Tensor) -> Tensor:
    """λ-returns of sequences that were arrived at.

    R_t = r_{t+1} + d_{t+1} [(1 − λ_{t+1}) v_{t+1} + λ_{t+1} R_{t+1}],  R_T = v_T

    All arguments belong to the states 1 … T that were *arrived at* from 0 … T − 1: nothing of state 0 enters.

    Source: Dreamer V1, equation 6; DreamerV3, "Critic learning".

    Args:
        reward: r_1 … r_T, received on arriving: ``[T, …]``.
        going_on: d_1 … d_T, the discount times the probability that the episode goes on from there: ``[T, …]``.
        value: v_1 … v_T: ``[T, …]``.
        lam: λ, a number or ``[T, …]``; 0 bootstraps from v_t there.

    Returns:
        R_0 … R_{T−1}: ``[T, …]``.
    """
    one_step = reward + going_on * (1 - lam) * value
    further = going_on * lam
    returns = [value[-1]]
    for t in range(len(reward) - 1, -1, -1):
        returns.append(torch.addcmul(one_step[t], further[t], returns[-1]))
    return torch.stack(returns[:0:-1])


class ReturnRange(nn.Module):
    """How far returns spread: a moving average of the range from their 5th to their 95th percentile.

    Returns are divided by max(1, range): large ones are scaled down, small ones (whose noise would be scaled up) left
    as they are.

    Source: DreamerV3, "Actor learning".

    Args:
        rate: Of the moving average.
    """

    low: Tensor
    high: Tensor
    weight: Tensor
    quantiles: Tensor

    def __init__(self, rate: float = 0.01) -> None:
        super().__init__()
        self.rate = rate
        for name in ("low", "high", "weight"):
            self.register_buffer(name, torch.zeros(()))
        self.register_buffer("quantiles", torch.tensor([0.05, 0.95]), persistent=False)

    @torch.no_grad()
    def update(self, returns: Tensor) -> None:
        """Notes the returns of a batch."""
        low, high = torch.quantile(returns.flatten().float(), self.quantiles)
        for average, new in ((self.low, low), (self.high, high), (self.weight, torch.ones_like(self.weight))):
            average.lerp_(new, self.rate)

    @property
    def scale(self) -> Tensor:
        """max(1, range), a scalar tensor."""
        # An average that starts at zero weighs less than one at first.
        return ((self.high - self.low) / self.weight.clamp_min(1e-8)).clamp_min(1.0)
