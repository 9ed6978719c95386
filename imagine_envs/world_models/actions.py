"""Actions as networks see them."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

__all__ = ["ActionEncoder"]


class ActionEncoder(nn.Module):
    """Discrete actions one-hot, Box actions flat with bounded entries in [−1, 1].

    Args:
        space: ``Discrete`` or ``Box``.

    Attributes:
        width: A, entries of an encoded action.
        bounded: bool ``[A]``, which entries the space itself brings to scale. Those of a Box without bounds (or with
            equal ones) keep their units.

    Raises:
        ValueError: If the space is another.
    """

    scale: Tensor
    shift: Tensor
    bounded: Tensor
    one_hot: Tensor

    def __init__(self, space: spaces.Space[Any]) -> None:
        super().__init__()
        self.space = space
        if isinstance(space, spaces.Discrete):
            self.width = int(space.n)
            scale, shift = torch.ones(self.width), torch.zeros(self.width)
            bounded = torch.ones(self.width, dtype=torch.bool)
        elif isinstance(space, spaces.Box):
            low, high = (torch.as_tensor(bound).double().flatten() for bound in (space.low, space.high))
            self.width, distance = len(low), high - low
            bounded = (distance > 0) & (distance < torch.finfo(torch.float32).max)
            scale = torch.where(bounded, 2 / distance, 1.0)
            shift = torch.where(bounded, -1 - low * scale, 0.0)
            scale, shift = scale.float(), shift.float()
        else:
            raise ValueError(f"actions of {space} cannot be encoded: Discrete or Box was expected")
        one_hot = torch.eye(self.width)  # a table, which is read faster than it is computed
        for name, value in (("scale", scale), ("shift", shift), ("bounded", bounded), ("one_hot", one_hot)):
            self.register_buffer(name, value, persistent=False)

    def forward(self, action: Tensor) -> Tensor:
        """``[…]`` int64 or ``[…, *shape]`` float → ``[…, A]`` float32."""
        if isinstance(self.space, spaces.Discrete):
            index, start = action, int(self.space.start)
            if start != 0:
                # The zero action of a reset record may lie on either side of the space; it carries no loss.
                index = (action - start).clamp(0, self.width - 1)
            return self.one_hot.index_select(0, index.flatten()).view(*index.shape, self.width)
        dimensions = len(self.space.shape or ())
        flat = action.reshape(*action.shape[: action.dim() - dimensions], self.width)
        return torch.addcmul(self.shift, flat.to(torch.float32), self.scale)

    def decode(self, encoded: Tensor) -> Tensor:
        """The reverse of :meth:`forward`: ``[…, A]`` → ``[…]`` int64 or ``[…, *shape]`` float32."""
        if isinstance(self.space, spaces.Discrete):
            return encoded.argmax(-1) + int(self.space.start)
        return ((encoded - self.shift) / self.scale).reshape(*encoded.shape[:-1], *(self.space.shape or ()))
