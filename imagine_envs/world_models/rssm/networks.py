"""The layers that recurrent state-space models and their heads are made of."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ACTIVATIONS", "MLP", "BlockLinear", "Norm", "linear", "symexp", "symlog"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"elu": F.elu, "relu": F.relu, "silu": F.silu}


def symlog(value: Tensor) -> Tensor:
    """sign(x) · log(|x| + 1): close to x near zero, logarithmic far from it (DreamerV3)."""
    return value.sign() * value.abs().log1p()


def symexp(value: Tensor) -> Tensor:
    """The inverse of :func:`symlog`."""
    return value.sign() * value.abs().expm1()


def linear(inputs: int, outputs: int, *, scale: float = 1.0, fan_in: int | None = None, bias: bool = True) -> nn.Linear:
    """A layer with weights from a truncated normal of variance ``scale² / fan_in``, and no bias at first.

    Args:
        inputs: Width of what comes in.
        outputs: Width of what goes out.
        scale: 0 makes a layer that says 0 of everything until it has learned.
        fan_in: Where the layer's output is a summand: the inputs of the whole sum.
        bias: Whether there is a bias.
    """
    layer = nn.Linear(inputs, outputs, bias=bias)
    init_weight(layer.weight, fan_in or inputs, scale)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


@torch.no_grad()
def init_weight(weight: Tensor, fan_in: int, scale: float = 1.0) -> None:
    """Truncated normal at two standard deviations, of standard deviation ``scale / √fan_in`` after the truncation."""
    # 0.8796 is the standard deviation of a standard normal that is cut at ±2.
    nn.init.trunc_normal_(weight, 0.0, 1.0, -2.0, 2.0).mul_(scale / math.sqrt(fan_in) / 0.87962566)


class Norm(nn.LayerNorm):
    """Layer normalisation over the last axis.

    DreamerV3's first edition has it, its second RMS normalisation, which torch computes in separate operations on a
    CPU: three times as slow there, and no better.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-3)


class BlockLinear(nn.Module):
    """A linear layer of block-diagonal weights, ``[B, I] → [B, O]``, as one batched matrix product.

    Source: Hafner et al., "Mastering diverse domains through world models" (DreamerV3, 2023), appendix: networks.

    Args:
        inputs: I, a multiple of ``blocks``.
        outputs: O, a multiple of ``blocks``.
        blocks: Blocks G on the diagonal.
        fan_in: Inputs of the whole sum that the output is a summand of; None is those of a block.
    """

    def __init__(self, inputs: int, outputs: int, blocks: int, *, fan_in: int | None = None) -> None:
        super().__init__()
        self.blocks = blocks
        self.weight = nn.Parameter(torch.empty(blocks, inputs // blocks, outputs // blocks))
        self.bias = nn.Parameter(torch.zeros(blocks, 1, outputs // blocks))
        init_weight(self.weight, fan_in or inputs // blocks)

    def forward(self, inputs: Tensor) -> Tensor:
        """``[B, I] → [G, B, O / G]``, block by block."""
        return torch.baddbmm(self.bias, self.apart(inputs), self.weight)

    def apart(self, values: Tensor) -> Tensor:
        """``[B, W]`` as seen by the blocks, ``[G, B, W / G]``; nothing is copied."""
        return values.unflatten(-1, (self.blocks, -1)).transpose(0, 1)

    @staticmethod
    def together(values: Tensor) -> Tensor:
        """The reverse of :meth:`apart`."""
        return values.transpose(0, 1).flatten(1)


class MLP(nn.Module):
    """Layers of (linear, normalisation, activation), ``[…, I] → […, units]``.

    Args:
        inputs: I.
        units: Width of every layer.
        layers: Their number.
        activation: A name in :data:`ACTIVATIONS`.
        norm: Whether there is a normalisation.
    """

    def __init__(self, inputs: int, units: int, layers: int, activation: str, norm: bool) -> None:
        super().__init__()
        self.linears = nn.ModuleList(linear(units if i else inputs, units) for i in range(layers))
        self.norms = nn.ModuleList(Norm(units) if norm else nn.Identity() for _ in range(layers))
        self.activation = ACTIVATIONS[activation]
        self.width = units if layers else inputs

    def forward(self, inputs: Tensor) -> Tensor:
        """``[…, I] → […, units]``."""
        hidden = inputs
        for layer, norm in zip(self.linears, self.norms, strict=True):
            hidden = self.activation(norm(layer(hidden)))
        return hidden
