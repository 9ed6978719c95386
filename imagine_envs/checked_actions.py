"""Whether a batch of actions is what it should be."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

__all__ = ["checked_actions"]


def checked_actions(actions: Any, space: spaces.Space[Any], batch_size: int) -> NDArray[Any]:
    """A batch of actions as an array: float32 of a Box, int64 of anything else.

    Args:
        actions: ``[B, …]``, anything that NumPy can read.
        space: Of one action.
        batch_size: B.

    Raises:
        ValueError: If the shape is wrong, a discrete action is no integer or out of range, or a Box action is not
            finite. Box actions beyond the bounds are passed on, as to any environment.
    """
    array = np.asarray(actions)
    shape = (batch_size, *(space.shape or ()))
    if array.shape != shape:
        raise ValueError(f"actions have shape {array.shape}; {shape} was expected for {batch_size} rows of {space}")
    if isinstance(space, spaces.Box):
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError("actions hold NaN or infinity")
        return array
    if array.dtype.kind not in "biu":
        raise ValueError(f"actions are of type {array.dtype}; integers were expected for {space}")
    array = array.astype(np.int64)
    low, high = _range(space)
    if (array < low).any() or (array > high).any():
        raise ValueError(f"actions from {array.min()} to {array.max()} are not all in {space}")
    return array


def _range(space: spaces.Space[Any]) -> tuple[Any, Any]:
    """The smallest and the largest action of a space of integers."""
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return 0, 1  # MultiBinary
