"""Several multilayer perceptrons of one shape, computed by one batched matrix product a layer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["StackedMLP"]

# Without gradients, rows are computed in pieces of at most so many per network: what a layer leaves is still in the
# cache when the next one reads it, and memory is bounded (measured with 5 networks of 4 × 200: a tenth of the time).
_PIECE = 512

# Multiplications in one network's share of a layer from which on it is worth while to spread it over all threads.
_SPREAD_FROM = 2_000_000


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
        # To iterate over the lists themselves takes longer: for a single row, as long as the products.
        weights = [weight[start:stop] for weight in self.weights.parameters()]
        biases = [bias[start:stop] for bias in self.biases.parameters()]
        if torch.is_grad_enabled() or inputs.shape[1] <= _PIECE or inputs.is_cuda:
            return _forward(inputs, weights, biases)
        return torch.cat([_forward(piece, weights, biases) for piece in inputs.split(_PIECE, 1)], 1)


def _forward(inputs: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    hidden, in_place = inputs, not torch.is_grad_enabled()
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        hidden = F.silu(_affine(hidden, weight, bias), inplace=in_place)
    return torch.baddbmm(biases[-1], hidden, weights[-1])


def _affine(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``[M, N, I] · [M, I, O] + [M, 1, O]``, with all threads busy to the end where that matters."""
    networks, width, units = weight.shape
    if torch.is_grad_enabled() or inputs.is_cuda or inputs.shape[1] * width * units < _SPREAD_FROM:
        return torch.baddbmm(bias, inputs, weight)
    # A batched product gives each thread whole networks. Those that are left over are multiplied one by one, each by
    # all threads: with five networks and two threads, one thread would wait for a sixth of the time.
    threads = torch.get_num_threads()
    whole = networks - networks % threads if networks > threads else networks
    out = inputs.new_empty(networks, inputs.shape[1], units)
    torch.bmm(inputs[:whole], weight[:whole], out=out[:whole])
    for network in range(whole, networks):
        torch.mm(inputs[network], weight[network], out=out[network])
    return out.add_(bias)
