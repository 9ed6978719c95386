"""Gymnasium's vectorised infos as SB3's list of dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["as_array", "spread_infos"]


def as_array(value: Any) -> np.ndarray:
    """``value`` as an array, without a copy where that is possible; tensors of any device are brought to the host."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    return np.asarray(value)


def spread_infos(
    columns: Mapping[str, Any], rows: list[dict[str, Any]], num_envs: int, which: np.ndarray | None = None
) -> None:
    """Writes a vectorised info into one dict for each environment.

    ``columns["key"]`` holds one value for each of the ``num_envs`` environments, and ``columns["_key"]``, where it
    exists, the mask of those that have the key at all. Nested dicts are vectorised likewise. Numbers arrive as
    Python's own. A value that is not one for each environment (a scalar, say) goes to every row.

    Args:
        columns: The infos of a ``gymnasium.vector.VectorEnv``.
        rows: The dicts to fill.
        num_envs: The number of environments in ``columns``.
        which: int ``[len(rows)]``, the environments that ``rows`` stand for; None means all, in order.
    """
    for key, value in columns.items():
        if key.startswith("_") and key[1:] in columns:
            continue
        targets, chosen = rows, which
        if (mask := columns.get(f"_{key}")) is not None:
            held = as_array(mask).astype(bool, copy=False)
            if which is not None:
                held = held[which]
            if not held.all():
                positions = np.flatnonzero(held)
                if not positions.size:
                    continue
                targets = [rows[position] for position in positions.tolist()]
                chosen = positions if which is None else which[positions]
        values: list[Any]
        if isinstance(value, Mapping):
            values = [{} for _ in targets]
            spread_infos(value, values, num_envs, chosen)
        else:
            values = _values_of(value, num_envs, chosen, len(targets))
        for row, item in zip(targets, values, strict=True):
            row[key] = item


def _values_of(value: Any, num_envs: int, which: np.ndarray | None, count: int) -> list[Any]:
    if isinstance(value, (np.ndarray, Tensor)):
        array = as_array(value)
        if array.ndim and len(array) == num_envs:
            if array.ndim == 1:
                return (array if which is None else array[which]).tolist()
            # One copy for the batch, of which the rows are views: the environment may write into its own again.
            return list(array.copy() if which is None else array[which])
    elif isinstance(value, (list, tuple)) and len(value) == num_envs:
        return list(value) if which is None else [value[index] for index in which.tolist()]
    return [value] * count
