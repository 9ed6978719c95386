"""Rooms of one height with walls along the axes: what is open, what blocks, what it is covered with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIXED", "Level", "rooms"]

FIXED = 65_536
"""Lengths of the rules are whole numbers of 1/65536 unit, as in Doom, so that positions agree with it exactly."""

_BLOCK = 128 * FIXED


@dataclass(frozen=True)
class Level:
    """A plan of rectangular cells, each open or rock.

    Attributes:
        xs: Where cells end along x, in units, ascending, float64 ``[X + 1]``.
        ys: The same along y, ``[Y + 1]``.
        cells: Which texture the walls around an open cell have, −1 for rock, int64 ``[Y, X]``.
        walls: What blocks, int64 ``[W, 10]`` in 1/65536 units: ``axis`` (0 stands across x, 1 across y), where it
            stands on that axis, from and to along the other one, +1 or −1 for the side on which it is open; then how
            far behind it one must be to be noticed there, and the blocks of 128 units in which it is looked for, from
            and to along it and from and to across it.
        height: Of the ceiling, in units.
        light: Of Doom's 0 (dark) to 255.
        floor: Texture.
        ceiling: Texture.
    """

    xs: NDArray[np.float64]
    ys: NDArray[np.float64]
    cells: NDArray[np.int64]
    walls: NDArray[np.int64]
    height: float
    light: float
    floor: int
    ceiling: int


def rooms(
    rectangles: Sequence[tuple[float, float, float, float, int]],
    *,
    height: float,
    light: float,
    floor: int,
    ceiling: int,
    seams: Sequence[tuple[float, float]] = (),
) -> Level:
    """The level of rectangles that are open; they do not overlap, and are joined where they touch.

    Args:
        rectangles: From x, from y, to x, to y, and the texture of the walls around it.
        height: Of the ceiling, in units.
        light: Of Doom's 0 to 255.
        floor: Texture.
        ceiling: Texture.
        seams: Points x, y where two walls meet that stand in one line.
    """
    bounds = np.array([rectangle[:4] for rectangle in rectangles], np.float64)
    xs, ys = np.unique(bounds[:, [0, 2]]), np.unique(bounds[:, [1, 3]])
    cells = np.full((len(ys) - 1, len(xs) - 1), -1, np.int64)
    for (left, low, right, high), texture in zip(bounds, (rectangle[4] for rectangle in rectangles), strict=True):
        inside_x = (xs[:-1] >= left) & (xs[1:] <= right)
        inside_y = (ys[:-1] >= low) & (ys[1:] <= high)
        cells[np.ix_(inside_y, inside_x)] = texture
    edge = np.pad(cells >= 0, 1)
    origin = bounds[:, :2].min(0) * FIXED
    walls = []
    for axis, open_cells, across, along in ((0, edge.T, xs, ys), (1, edge, ys, xs)):
        for line, place in enumerate(across.tolist()):
            change = open_cells[line + 1].astype(int) - open_cells[line]  # along the line, closed at both ends
            for facing in (1, -1):
                ends = along[np.flatnonzero(np.diff((change == facing).astype(int)))].reshape(-1, 2)
                for first, last in ends.tolist():
                    met = [seam[1 - axis] for seam in seams if seam[axis] == place and first < seam[1 - axis] < last]
                    stops = [first, *sorted(met), last]
                    walls += [_wall(axis, place, *part, facing, origin) for part in pairwise(stops)]
    return Level(xs, ys, cells, np.array(walls, np.int64), height, light, floor, ceiling)


def _wall(axis: int, place: float, begin: float, end: float, facing: int, origin: NDArray[np.float64]) -> list[int]:
    at, first, last = (round(value * FIXED) for value in (place, begin, end))
    across, along = int(origin[axis]), int(origin[1 - axis])
    return [
        *(axis, at, first, last, facing),
        -(-(1 << 32) // (last - first)),
        *(_block(first, along), _block(last, along) + _BLOCK, _block(at, across), _block(at, across) + _BLOCK),
    ]


def _block(value: int, origin: int) -> int:
    """Where the block begins in which a coordinate is."""
    return origin + (value - origin) // _BLOCK * _BLOCK
