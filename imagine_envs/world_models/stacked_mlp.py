"""Several multilayer perceptrons of one shape, computed by one batched matrix product a layer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["StackedMLP"]

# Without gradients, rows are computed in pieces of at most so many per network. That bounds the memory, and the C
# library hands very large blocks back to the system after each use: fetching them again, page by page, costs up to half
# as much time as the computation itself.
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
        weights = [weight[start:stop] for weight in self.weights]
        biases = [bias[start:stop] for bias in self.biases]
        if not torch.is_grad_enabled():
            if inputs.shape[1] <= _PIECE or inputs.device.type != "cpu":
                return _without_gradient(inputs, weights, biases)
            return torch.cat([_without_gradient(piece, weights, biases) for piece in inputs.split(_PIECE, 1)], 1)
        hidden = inputs
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            hidden = F.silu(torch.baddbmm(bias, hidden, weight))
        return torch.baddbmm(biases[-1], hidden, weights[-1])


def _without_gradient(inputs: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    """The same, in two buffers that the layers take in turns.

    They are one allocation, since the C library goes by the largest one when it decides how much free memory to keep:
    several of them would cost hundreds of page faults in every step.
    """
    hidden, target, spare = inputs, inputs, inputs
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        if target.shape[2] != weight.shape[2] or target is inputs:
            target, spare = inputs.new_empty(2, *inputs.shape[:2], weight.shape[2]).unbind()
        _multiply(hidden, weight, target).add_(bias)
        hidden = F.silu(target, inplace=True)
        target, spare = spare, target
    return torch.baddbmm(biases[-1], hidden, weights[-1])


def _multiply(inputs: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """``[M, N, I] · [M, I, O]``, with all threads busy to the end."""
    networks, threads = len(weight), torch.get_num_threads()
    rest = networks % threads
    if rest == networks or not rest or inputs.shape[1] * weight[0].numel() < _SPREAD_FROM or inputs.is_cuda:
        return torch.bmm(inputs, weight, out=out)
    # A batched product gives each thread whole networks. Those that are left over are multiplied one by one, each by
    # all threads: with five networks and two threads, one thread would wait for a sixth of the time.
    torch.bmm(inputs[:-rest], weight[:-rest], out=out[:-rest])
    for network in range(networks - rest, networks):
        torch.mm(inputs[network], weight[network], out=out[network])
    return out
