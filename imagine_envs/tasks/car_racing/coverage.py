"""Polygons on a grid of pixels, each pixel by how much of it is covered: exact areas, several layers at a time.

An edge adds to every pixel that it passes what it changes in the area covered, and to the next pixel what remains of
that change for all pixels to the right; the sums from left to right (:func:`running sums <numpy.cumsum>`) are the
covered areas. Edges that two polygons share cancel, so that there is no seam between neighbours.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from imagine_envs.tasks.car_racing.compiled import kernel

__all__ = ["LAYERS", "add_edge"]

LAYERS = 4


@kernel
def add_edge(
    sums: Any,
    height: int,
    width: int,
    x: float,
    y: float,
    to_x: float,
    to_y: float,
    first: float,
    second: float,
    third: float,
    fourth: float,
) -> None:
    """Adds an edge from (x, y) to (to_x, to_y), in pixels, x to the right and y downwards.

    A polygon whose edges are all added, with the inside to the left of a way that leads down, adds as much of each
    layer to a pixel as it covers of it.

    Args:
        sums: float32 ``[height, width + 2, 4]``.
        height: Rows of pixels.
        width: Columns of pixels.
        x: Where the edge begins.
        y: Where the edge begins.
        to_x: Where it ends.
        to_y: Where it ends.
        first: What a covered pixel holds of the first layer.
        second: Of the second.
        third: Of the third.
        fourth: Of the fourth.
    """
    if y == to_y or (x >= width and to_x >= width):
        return
    sign = -1.0
    if y > to_y:
        x, y, to_x, to_y, sign = to_x, to_y, x, y, 1.0
    if to_y <= 0 or y >= height:
        return
    slope = (to_x - x) / (to_y - y)
    if y < 0:
        x -= y * slope
        y = 0.0
    row = int(y)
    while row < height and y < to_y:
        below = min(row + 1.0, to_y)
        tall = below - y
        next_x = x + slope * tall
        left, right = min(x, next_x), max(x, next_x)
        column = max(int(left), 0)
        if right <= 0:
            _add(sums, row, 0, sign * tall, 0.0, first, second, third, fourth)
        elif left >= 0 and right <= column + 1 and right <= width:
            change = sign * tall
            rest = change * (0.5 * (left + right) - column)
            _add(sums, row, column, change - rest, rest, first, second, third, fourth)
        elif left < width:
            share = sign * tall / (right - left)
            if left < 0:
                _add(sums, row, 0, -share * left, 0.0, first, second, third, fourth)
            begin, last = max(left, 0.0), min(right, float(width))
            while begin < last:
                end = min(column + 1.0, last)
                change = share * (end - begin)
                rest = change * (0.5 * (begin + end) - column)
                _add(sums, row, column, change - rest, rest, first, second, third, fourth)
                begin = end
                column += 1
        x, y = next_x, below
        row += 1


@njit(cache=True, nogil=True, inline="always")
def _add(
    sums: Any,
    row: int,
    column: int,
    change: float,
    rest: float,
    first: float,
    second: float,
    third: float,
    fourth: float,
) -> None:
    sums[row, column, 0] += change * first
    sums[row, column, 1] += change * second
    sums[row, column, 2] += change * third
    sums[row, column, 3] += change * fourth
    sums[row, column + 1, 0] += rest * first
    sums[row, column + 1, 1] += rest * second
    sums[row, column + 1, 2] += rest * third
    sums[row, column + 1, 3] += rest * fourth
