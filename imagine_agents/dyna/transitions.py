"""Transitions as tensors, and a ring of imagined ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import Self

from imagine_envs.spaces import Observation, map_observation

__all__ = ["ImaginedBuffer", "Transitions"]


@dataclass(frozen=True)
class Transitions:
    """Single steps in the environment's own units, ``[B, …]`` each.

    Attributes:
        observation: Where the action was taken.
        action: int64 ``[B]`` or float32 ``[B, A]``.
        reward: float32 ``[B]``.
        next_observation: What it led to.
        terminated: bool ``[B]``; the value of ``next_observation`` is zero. A step that was merely cut off is not
            terminated: its value is bootstrapped.
    """

    observation: Observation
    action: Tensor
    reward: Tensor
    next_observation: Observation
    terminated: Tensor

    def __len__(self) -> int:
        return int(self.reward.shape[0])

    def tensors(self) -> dict[str, Tensor]:
        """Flat names."""
        named: dict[str, Tensor] = {"action": self.action, "reward": self.reward, "terminated": self.terminated}
        for name in ("observation", "next_observation"):
            value = getattr(self, name)
            named.update(
                {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
            )
        return named

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Self:
        """The transitions that :meth:`tensors` named."""

        def observation(name: str) -> Observation:
            parts = {key.partition(".")[2]: part for key, part in tensors.items() if key.startswith(f"{name}.")}
            return parts or tensors[name]

        return cls(
            observation("observation"),
            tensors["action"],
            tensors["reward"],
            observation("next_observation"),
            tensors["terminated"],
        )

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """All of them, one after the other."""
        if len(parts) == 1:
            return parts[0]
        flat = [part.tensors() for part in parts]
        return cls.from_tensors({name: torch.cat([tensors[name] for tensors in flat]) for name in flat[0]})

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Transitions with ``function`` applied to every tensor."""
        names = ("observation", "action", "reward", "next_observation", "terminated")
        return type(self)(*(map_observation(function, getattr(self, name)) for name in names))


class ImaginedBuffer:
    """The newest transitions that were imagined: a ring whose capacity may change.

    Nothing is allocated before it is used.

    Attributes:
        capacity: Most transitions; 0 until :meth:`resize` says how many.
    """

    def __init__(self) -> None:
        self.capacity = 0
        self._tensors: dict[str, Tensor] = {}
        self._next = self._size = 0

    def __len__(self) -> int:
        return self._size

    def resize(self, capacity: int) -> None:
        """Makes room for ``capacity`` transitions; what no longer fits is the oldest."""
        if capacity == self.capacity:
            return
        kept = self.rows().map(lambda tensor: tensor[-capacity:]) if self._size else None
        self.capacity, self._tensors, self._next, self._size = capacity, {}, 0, 0
        if kept is not None:
            self.add(kept)

    def add(self, rows: Transitions) -> None:
        """Adds transitions; the oldest make room for them."""
        given = {name: tensor[-self.capacity :] for name, tensor in rows.tensors().items()}
        count = min(len(rows), self.capacity)
        if not self._tensors:
            self._tensors = {name: tensor.new_empty(self.capacity, *tensor.shape[1:]) for name, tensor in given.items()}
        places = (self._next + torch.arange(count, device=rows.reward.device)) % self.capacity
        for name, tensor in given.items():
            self._tensors[name].index_copy_(0, places, tensor)
        self._next = (self._next + count) % self.capacity
        self._size = min(self._size + count, self.capacity)

    def sample(self, count: int) -> Transitions:
        """``count`` of them, uniformly and with replacement, chosen by torch's global generator."""
        return self._at(torch.randint(self._size, (count,), device=self._device))

    def rows(self) -> Transitions:
        """All of them, the oldest first; there must be one at least."""
        return self._at(torch.arange(self._size, device=self._device))

    @property
    def _device(self) -> torch.device:
        return self._tensors["reward"].device

    def _at(self, ages: Tensor) -> Transitions:
        """Transitions by their age, 0 is the oldest: the same ones wherever the ring begins."""
        places = (self._next - self._size + ages) % self.capacity
        return Transitions.from_tensors({name: tensor[places] for name, tensor in self._tensors.items()})
