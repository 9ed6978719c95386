"""Observations made of tiles: every cell shows one of a few small pictures."""

from __future__ import annotations

from typing import Any

from numba import njit

__all__ = ["draw_tiles"]


@njit(cache=True)
def draw_tiles(images: Any, row: int, tiles: Any, side: int, columns: int, cells: Any, codes: Any, count: int) -> None:
    """Draws some cells of one image, in order: the last one drawn is seen.

    To be called once for each image and not once for each cell: numba counts references of arrays in every call, which
    takes twenty times as long as to draw a cell.

    Args:
        images: uint8 ``[B, H · s · W · s · C]``, written in place.
        row: Which image.
        tiles: uint8 ``[codes, s · s · C]``.
        side: s; 1 where a cell is a pixel.
        columns: W.
        cells: int ``[at least count]``, numbers of the cells, row by row.
        codes: int ``[at least count]``, the tile of each.
        count: How many of them.
    """
    length = tiles.shape[1] // side
    if side == 1:
        for index in range(count):
            cell, code = cells[index], codes[index]
            for channel in range(length):
                images[row, cell * length + channel] = tiles[code, channel]
        return
    pitch = length * columns
    for index in range(count):
        cell, code = cells[index], codes[index]
        start = (cell // columns) * side * pitch + (cell % columns) * length
        for y in range(side):
            for x in range(length):
                images[row, start + y * pitch + x] = tiles[code, y * length + x]
