"""Bins for observations of a Box, for agents and worlds that count in tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

__all__ = ["Discretizer"]


class Discretizer:
    """Equal bins along every dimension of a Box; a state is a cell of that grid.

    What lies beyond ``low`` and ``high`` falls into the outermost bins.

    Args:
        space: The observations' space, of D numbers in all.
        bins: Bins along each dimension: one number for all of them, or D numbers.
        low: Where the first bin begins: one number, D numbers, or None for the space's own bound. Single entries may
            be None too.
        high: Where the last bin ends, likewise.

    Attributes:
        num_states: S, the number of cells.

    Raises:
        ValueError: If ``space`` is no Box, a bound is missing (the space has none there), or an argument makes no
            sense.

    Example:
        >>> env = gym.make("CartPole-v1")
        >>> grid = Discretizer(env.observation_space, 8, low=[None, -3, None, -3], high=[None, 3, None, 3])
        >>> grid.index(np.zeros((1, 4))), grid.num_states
        (array([2340]), 4096)
    """

    def __init__(
        self,
        space: spaces.Space[Any],
        bins: int | Sequence[int],
        *,
        low: float | Sequence[float | None] | None = None,
        high: float | Sequence[float | None] | None = None,
    ) -> None:
        if not isinstance(space, spaces.Box):
            raise ValueError(f"space is {space}; a discretizer is for a Box")
        self.space = space
        size = int(np.prod(space.shape))
        counts = np.asarray(bins)
        if counts.dtype.kind not in "iu" or counts.shape not in ((), (size,)) or (counts < 1).any():
            raise ValueError(f"bins={bins!r} must be a whole number of at least 1, or {size} of them")
        self._bins = np.broadcast_to(counts, (size,)).astype(np.int64)
        self._low = _bound("low", low, space.low)
        self._high = _bound("high", high, space.high)
        if not (self._low < self._high).all():
            where = int(np.flatnonzero(~(self._low < self._high))[0])
            raise ValueError(
                f"low must lie below high; dimension {where} goes from {self._low[where]} to {self._high[where]}"
            )
        self._width = (self._high - self._low) / self._bins
        self.num_states = 1
        for count in self._bins.tolist():
            self.num_states *= count
        if self.num_states > np.iinfo(np.int64).max:
            raise ValueError(f"{size} dimensions of {bins!r} bins make more cells than an int64 can number; take fewer")
        self._stride = np.append(np.cumprod(self._bins[:0:-1])[::-1], 1).astype(np.int64)[:size]

    def index(self, observation: ArrayLike) -> NDArray[np.int64]:
        """The cells of observations ``[B, *shape]``, int64 ``[B]``.

        Raises:
            ValueError: If the shape is another, or a number is NaN.
        """
        values = np.asarray(observation, np.float64)
        if values.shape[1:] != self.space.shape:
            raise ValueError(f"observations are {values.shape}; [B, {', '.join(map(str, self.space.shape))}] expected")
        place = (values.reshape(len(values), -1) - self._low) / self._width
        if np.isnan(place).any():
            raise ValueError("an observation holds NaN, which lies in no bin")
        return np.clip(place, 0, self._bins - 1).astype(np.int64) @ self._stride

    def centre(self, index: ArrayLike) -> NDArray[Any]:
        """The middles of cells ``[B]``, of the space's own type ``[B, *shape]``.

        Each lies in its cell and in the space, if the cell holds anything of the space.
        """
        cells = np.asarray(index, np.int64)[:, None] // self._stride % self._bins
        middle = self._low + (cells + 0.5) * self._width
        if self.space.dtype.kind != "f":
            # Of two integers as near the lower one: the upper one may begin the next cell. The outermost cells have no
            # end there, and may hold integers only beyond the grid.
            nearest = np.ceil(middle - 0.5)
            place, last = (nearest - self._low) / self._width, self._bins - 1
            beyond = [(cells == 0) & (place >= 1), (cells == last) & (place < last)]
            middle = np.select(beyond, [np.floor(middle), np.ceil(middle)], nearest)
        middle = np.clip(middle, self.space.low.reshape(-1), self.space.high.reshape(-1))
        return middle.reshape(-1, *self.space.shape).astype(self.space.dtype)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments, in JSON types, that build this discretizer again besides its space."""
        return {"bins": self._bins.tolist(), "low": self._low.tolist(), "high": self._high.tolist()}


def _bound(name: str, given: Any, own: NDArray[Any]) -> NDArray[np.float64]:
    """One bound for each dimension, the space's own where none is given."""
    flat = own.reshape(-1).astype(np.float64)
    values = [given] * len(flat) if given is None or np.ndim(given) == 0 else list(given)
    if len(values) != len(flat):
        raise ValueError(f"{name} has {len(values)} numbers; one, or {len(flat)}, were expected")
    bound = np.array([mine if value is None else value for value, mine in zip(values, flat, strict=True)], np.float64)
    # CartPole's speeds are bounded by the largest float32 in some releases of Gymnasium.
    missing = np.flatnonzero(~(np.abs(bound) < np.finfo(np.float32).max))
    if len(missing):
        raise ValueError(f"the space has no bound in dimension(s) {', '.join(map(str, missing))}: give {name} there")
    return bound
