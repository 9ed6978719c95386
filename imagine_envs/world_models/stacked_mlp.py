"""Several multilayer perceptrons of one shape, computed by one batched matrix product a layer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["StackedMLP"]

# Without gradients a processor computes in blocks, whose hidden layers are still in its cache when the next layer reads
# them, and which bound the memory: of so many rows of each network …
_ROWS = 512

# … and, from so many multiplications in a network's largest layer on, of one network for each thread.
_APART_FROM = 2_000_000


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
        self._largest = max(i * o for i, o in shapes)
        self._kept: tuple[list[int], dict[Any, list[tuple[Tensor, Tensor]]]] = ([], {})
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
        networks, rows, _ = inputs.shape
        if torch.is_grad_enabled() or inputs.is_cuda:
            return self._block(inputs, start, stop)
        if rows > _ROWS:
            return torch.cat([self.forward(piece, start, stop) for piece in inputs.split(_ROWS, 1)], 1)
        threads = torch.get_num_threads()
        if networks <= threads or rows * self._largest < _APART_FROM:
            return self._block(inputs, start, stop)
        # A batched product gives each thread whole networks. Those that are left over are computed one by one, each by
        # all threads: with five networks in one product, one of two threads would wait for a sixth of the time.
        left = networks % threads
        blocks = inputs.split([threads] * (networks // threads) + [1] * left)
        starts = itertools.accumulate((len(block) for block in blocks), initial=start)
        return torch.cat([self._block(block, at, at + len(block)) for at, block in zip(starts, blocks, strict=False)])

    def _block(self, inputs: Tensor, start: int, stop: int | None) -> Tensor:
        layers, in_place = self._layers(start, stop), not torch.is_grad_enabled()
        hidden = inputs
        for index, (weights, biases) in enumerate(layers):
            if index > 0:
                hidden = F.silu(hidden, inplace=in_place)
            if in_place:  # faster than to write the biases first and to add the product to them
                hidden = torch.bmm(hidden, weights).add_(biases)
            else:
                hidden = torch.baddbmm(biases, hidden, weights)
        return hidden

    def _layers(self, start: int, stop: int | None) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases of networks ``start`` to ``stop``.

        Where no gradient is asked for, the slices are kept: to make them takes a single row as long as the products.
        They lie in the parameters' own memory, so they hold whatever is written there. Parameters that came to lie
        elsewhere have other addresses, for nothing else can come to lie at those of slices that are kept.
        """
        # Looked up in the lists' own dicts: to iterate over the lists takes longer than all the rest.
        weights: Any = self.weights._parameters.values()
        biases: Any = self.biases._parameters.values()
        if torch.is_grad_enabled():
            return [(weight[start:stop], bias[start:stop]) for weight, bias in zip(weights, biases, strict=True)]
        addresses = [parameter.data_ptr() for parameter in (*weights, *biases)]
        kept = self._kept
        if kept[0] != addresses:
            kept = self._kept = addresses, {}
        if (start, stop) not in kept[1]:
            kept[1][start, stop] = [(w[start:stop], b[start:stop]) for w, b in zip(weights, biases, strict=True)]
        return kept[1][start, stop]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": ([], {})}  # slices of this one's parameters are no use to a copy
