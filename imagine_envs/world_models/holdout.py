"""Real experience in two parts: windows to learn from, and windows to be judged by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch

from imagine_envs.experience.batch import Batch
from imagine_envs.experience.replay import Replay

__all__ = ["Split", "split"]


class Split(ABC):
    """A training part and a held-out part that have no record in common but the last one of a transition.

    Attributes:
        validation: The held-out windows ``[N, T, …]``.
        training_size: Windows that make up an epoch.
    """

    validation: Batch
    training_size: int

    @abstractmethod
    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """The batches of one pass over the training part."""


def split(replay: Replay, length: int, fraction: float, seed: int | None, device: torch.device) -> Split:
    """Splits a replay at random.

    Args:
        replay: The experience.
        length: Records in a window; 2 is single transitions.
        fraction: Of the windows, held out.
        seed: Of the choice.
        device: Where batches are wanted.

    Raises:
        ValueError: If either part would be empty.
    """
    kind = _Transitions if length == 2 else _Sequences
    return kind(replay, length, fraction, np.random.default_rng(seed), device)


def _held_out(windows: int, length: int, fraction: float) -> int:
    """How many of the windows are held out."""
    count = round(fraction * windows)
    if count < 1 or windows - count < 1:
        raise ValueError(
            f"too little data to split: {windows} windows of {length} records leave {windows - count} for training "
            f"and {count} held out (holdout={fraction}); at least one of each is needed"
        )
    return count


class _Transitions(Split):
    """Every real step once an epoch. All of them are kept on the device."""

    def __init__(
        self, replay: Replay, length: int, fraction: float, rng: np.random.Generator, device: torch.device
    ) -> None:
        data = replay.transitions()
        windows = data.shape[0]
        held_out = _held_out(windows, length, fraction)
        order = torch.from_numpy(rng.permutation(windows))
        self.validation, self._training = data[order[:held_out]].to(device), data[order[held_out:]].to(device)
        self.training_size = windows - held_out

    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        for rows in torch.randperm(self.training_size, generator=generator).split(batch_size):
            yield self._training[rows.to(self._training.first.device)]


class _Sequences(Split):
    """Windows that begin anywhere outside of the held-out ones; as many an epoch as would lie side by side.

    Only the held-out windows are kept on the device: those to learn from may be pictures, and are read when they are
    wanted.
    """

    def __init__(
        self, replay: Replay, length: int, fraction: float, rng: np.random.Generator, device: torch.device
    ) -> None:
        grid = replay.window_index(length)
        chosen = rng.permutation(len(grid))[: _held_out(len(grid), length, fraction)]
        self.validation = replay.windows(np.sort(grid[chosen]), length).to(device)
        self.training_size = len(grid) - len(chosen)
        starts = replay.window_index(length, stride=1)
        # A window overlaps a held-out one if it begins less than its length before or after it, in the same stream.
        reach = np.arange(1 - length, length) * replay.num_envs
        self._starts = torch.from_numpy(np.setdiff1d(starts, grid[chosen][:, None] + reach))
        self._replay, self._length, self._device = replay, length, device

    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        drawn = torch.randint(len(self._starts), (self.training_size,), generator=generator)
        for rows in drawn.split(batch_size):
            yield self._replay.windows(self._starts[rows].numpy(), self._length).to(self._device)
