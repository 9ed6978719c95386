"""The floor of a level as numbered cells: boards are mostly wall, and a search should not look at it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from imagine_envs.tasks.sokoban.levels import PLAYER, WALL

__all__ = ["number_cells", "reachable"]


@njit(cache=True, nogil=True)
def number_cells(room: Any) -> Any:
    """Numbers the cells of a room in reading order.

    Args:
        room: Where it has floor, bool ``[H, W]``; none along the edge.

    Returns:
        Where on the flat board each cell is, int64 ``[n]``, and its neighbours above, below, to the left and to the
        right (−1: wall), int16 ``[n, 4]``.
    """
    width = room.shape[1]
    number = np.full(room.size, -1, dtype=np.int16)
    cell_of = np.flatnonzero(room)
    for n in range(len(cell_of)):
        number[cell_of[n]] = n
    neighbours = np.empty((len(cell_of), 4), dtype=np.int16)
    for n in range(len(cell_of)):
        cell = cell_of[n]
        neighbours[n, 0], neighbours[n, 1] = number[cell - width], number[cell + width]
        neighbours[n, 2], neighbours[n, 3] = number[cell - 1], number[cell + 1]
    return cell_of, neighbours


@njit(cache=True, nogil=True)
def reachable(grid: Any) -> Any:
    """Where the player of a level (bits, uint8 ``[H, W]``) could walk if no box were in the way, bool ``[H, W]``."""
    width = grid.shape[1]
    cells = grid.reshape(-1)
    room = np.zeros(grid.size, dtype=np.bool_)
    todo = np.flatnonzero(cells & PLAYER)
    todo = np.concatenate((todo, np.empty(grid.size, dtype=np.int64)))
    room[todo[0]] = True
    count = 1
    while count > 0:
        count -= 1
        here = todo[count]
        for ahead in (-width, width, -1, 1):
            to = here + ahead
            if not room[to] and cells[to] & WALL == 0:
                room[to] = True
                todo[count] = to
                count += 1
    return room.reshape(grid.shape)
