"""Several multilayer perceptrons of one shape, computed by one batched matrix product a layer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["StackedMLP"]


class StackedMLP(nn.Module):
    """M swish networks side by side: ``[M, N, I] → [M, N, O]``.

    Args:
        members: M.
        sizes: Units of every layer, inputs and outputs included.
    """

    def __init__(self, members: int, sizes: Sequence[int]) -> None:
        super().__init__()
        shapes = list(itertools.pairwise(sizes))
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(members, i, o)) for i, o in shapes)
        self.biases = nn.ParameterList(nn.Parameter(torch.empty(members, 1, o)) for _, o in shapes)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws fresh weights from torch's global generator, distributed as those of ``nn.Linear``."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = 1 / math.sqrt(weight.shape[1])
            weight.uniform_(-bound, bound)
            bias.uniform_(-bound, bound)

    def forward(self, inputs: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Networks ``start`` to ``stop`` on ``[stop − start, N, I]``."""
        hidden, last = inputs, len(self.weights) - 1
        for layer, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True)):
            weight, bias = weights[start:stop], biases[start:stop]
            if layer == last:
                return torch.baddbmm(bias, hidden, weight)
            # swish(x) = x·sigmoid(x) = h + h·tanh(h) with h = x / 2: the half comes free with the product, and
            # tanh is vectorised better than silu's exponential (half its time with AVX-512).
            half = torch.baddbmm(bias, hidden, weight, beta=0.5, alpha=0.5)
            hidden = torch.addcmul(half, half, half.tanh())
        raise AssertionError("a network has at least one layer")
