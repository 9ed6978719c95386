"""The rules of MiniPacman, as loops over rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from imagine_envs.tasks.randomness import below, uniform
from imagine_envs.tasks.tiles import draw_tiles

__all__ = [
    "FOOD",
    "GHOST_TILE",
    "GROUND_TILES",
    "MOST_GHOSTS",
    "PACMAN_TILE",
    "PILL",
    "POWER",
    "TILE_COUNT",
    "WALL_TILE",
    "draw",
    "redraw",
    "reset",
    "step",
]

FOOD, PILL = 1, 2
"""What lies on a cell of the board, as bits."""

POWER = 20
"""Steps for which a pill lasts."""

MOST_GHOSTS = 20
"""From level 39 on there are no more, which nobody reaches within 3,000 steps."""

SAFE_DISTANCE = 5
PILLS = 2
_RANDOM_TURN = 0.05
_MOVE_Y, _MOVE_X = np.array([0, -1, 0, 1]), np.array([1, 0, -1, 0])
"""Directions: 0 right, 1 up, 2 left, 3 down; the opposite of d is (d + 2) % 4."""

GROUND_TILES = (0, 2, 3, 3)
"""The tiles of a floor cell: empty, with food, with a pill, with both."""
WALL_TILE, PACMAN_TILE, GHOST_TILE = 1, 4, 5
TILE_COUNT = GHOST_TILE + POWER + 1
"""The last ones are ghosts, one for each number of steps (0 to 20) that the pill still lasts."""


@njit(cache=True)
def reset(
    rows: Any,
    random: Any,
    floor: Any,
    columns: int,
    board: Any,
    pacman: Any,
    ghosts: Any,
    heading: Any,
    counters: Any,
    trail: Any,
) -> None:
    """Begins level 1 in some rows."""
    for index in range(len(rows)):
        row = rows[index]
        counters[row, 1] = 1
        _begin_level(row, random, floor, columns, board, pacman, ghosts, heading, counters)
        trail[row, 0] = -1


@njit(cache=True)
def _begin_level(
    row: int,
    random: Any,
    floor: Any,
    columns: int,
    board: Any,
    pacman: Any,
    ghosts: Any,
    heading: Any,
    counters: Any,
) -> None:
    """Food everywhere, two pills, Pacman and the ghosts at random; the level's number is set already."""
    board[row] = 0
    for cell in floor:
        board[row, cell] = FOOD
    pacman[row, 0] = floor[below(random, row, len(floor))]
    pacman[row, 1] = 0
    placed = 0
    while placed < PILLS:
        cell = floor[below(random, row, len(floor))]
        if cell != pacman[row, 0] and not board[row, cell] & PILL:
            board[row, cell] |= PILL
            placed += 1
    count = min(MOST_GHOSTS, 1 + (counters[row, 1] - 1) // 2)
    y, x = pacman[row, 0] // columns, pacman[row, 0] % columns
    ghosts[row] = -1
    heading[row] = 0
    for ghost in range(count):
        while True:
            cell = floor[below(random, row, len(floor))]
            if max(abs(cell // columns - y), abs(cell % columns - x)) >= SAFE_DISTANCE:
                break
        ghosts[row, ghost] = cell
        heading[row, ghost] = below(random, row, 4)
    counters[row, 0] = 0  # power
    counters[row, 2] = 0  # steps of the level
    counters[row, 3] = len(floor)  # food
    counters[row, 4] = PILLS
    counters[row, 5] = count  # ghosts that are alive
    counters[row, 6] = count  # and the places they had at first, beyond which there is none


@njit(cache=True)
def step(
    action: Any,
    random: Any,
    floor: Any,
    neighbours: Any,
    columns: int,
    weights: Any,
    clears: int,
    limit: int,
    board: Any,
    pacman: Any,
    ghosts: Any,
    heading: Any,
    counters: Any,
    trail: Any,
    events: Any,
    reward: Any,
    terminated: Any,
) -> None:
    """One step of every row.

    ``clears`` is the counter (3 food, 4 pills, 5 ghosts) that must come to 0 for the next level, 0 if none does;
    ``limit`` the steps after which it comes anyway, 0 if never.
    """
    for row in range(len(action)):
        places = counters[row, 6]
        trail[row, 0] = pacman[row, 0]
        for ghost in range(places):
            trail[row, 1 + ghost] = ghosts[row, ghost]
        for event in range(5):
            events[row, event] = 0
        events[row, 0] = 1
        counters[row, 2] += 1
        if counters[row, 0] > 0:
            counters[row, 0] -= 1

        if action[row] > 0:
            pacman[row, 1] = action[row] - 1
            pacman[row, 0] = neighbours[pacman[row, 0], action[row] - 1]
        here = pacman[row, 0]
        if board[row, here] & FOOD:
            events[row, 1] = 1
            counters[row, 3] -= 1
        if board[row, here] & PILL:
            events[row, 2] = 1
            counters[row, 4] -= 1
            counters[row, 0] = POWER
        board[row, here] = 0

        power = counters[row, 0]
        speed = 0.5 + 0.1 * (counters[row, 1] - 1)
        if power > 0:
            speed *= 0.5
        dead = False
        for ghost in range(places):
            cell = ghosts[row, ghost]
            if cell < 0:
                continue
            if cell != here and uniform(random, row) < speed:
                cell = _wander(row, ghost, cell, here, power, random, neighbours, columns, heading)
                ghosts[row, ghost] = cell
            if cell == here:
                if power == 0:
                    dead = True
                    break
                events[row, 3] += 1
                counters[row, 5] -= 1
                ghosts[row, ghost] = -1
        if dead:
            events[row, 4] = 1

        value = 0.0
        for event in range(5):
            value += weights[event] * events[row, event]
        reward[row] = value
        terminated[row] = dead
        cleared = clears > 0 and counters[row, clears] == 0
        if not dead and (cleared or (limit > 0 and counters[row, 2] >= limit)):
            counters[row, 1] += 1
            _begin_level(row, random, floor, columns, board, pacman, ghosts, heading, counters)
            trail[row, 0] = -1  # everything is to be drawn anew


@njit(cache=True)
def _wander(
    row: int,
    ghost: int,
    cell: int,
    target: int,
    power: int,
    random: Any,
    neighbours: Any,
    columns: int,
    heading: Any,
) -> int:
    """Moves a ghost by one cell: onwards in a corridor, towards or away from Pacman at a junction; never back."""
    exits = 0
    for direction in range(4):
        exits += neighbours[cell, direction] != cell
    ahead = heading[row, ghost]
    back = (ahead + 2) % 4
    if exits >= 3:
        open_ways = exits - (neighbours[cell, back] != cell)
        at_random = uniform(random, row) < _RANDOM_TURN
        choice = below(random, row, open_ways) if at_random else -1
        down, right = target // columns - cell // columns, target % columns - cell % columns
        best, number = -(1 << 30), 0
        for direction in range(4):
            if direction == back or neighbours[cell, direction] == cell:
                continue
            value = _MOVE_Y[direction] * down + _MOVE_X[direction] * right
            if power > 0:
                value = -value
            if number == choice or (choice < 0 and value > best):
                best = value
                heading[row, ghost] = direction
            number += 1
    elif neighbours[cell, ahead] == cell:
        heading[row, ghost] = back
        for direction in range(4):
            if direction != back and neighbours[cell, direction] != cell:
                heading[row, ghost] = direction
                break
    return neighbours[cell, heading[row, ghost]]


@njit(cache=True)
def draw(
    rows: Any,
    tiles: Any,
    side: int,
    ground: Any,
    columns: int,
    board: Any,
    pacman: Any,
    ghosts: Any,
    counters: Any,
    out: Any,
) -> None:
    """Draws whole rows into ``out``, uint8 ``[B, H · s · W · s · 3]``; see :func:`draw_tiles` for the tiles.

    ``ground`` (int64 ``[cells, 4]``) is the tile of each cell without and with food, pill, or both.
    """
    cells, codes = _canvas(len(ground))
    for index in range(len(rows)):
        row = rows[index]
        for cell in range(len(ground)):
            cells[cell], codes[cell] = cell, ground[cell, board[row, cell]]
        count = _add_actors(row, pacman, ghosts, counters, cells, codes, len(ground))
        draw_tiles(out, row, tiles, side, columns, cells, codes, count)


@njit(cache=True)
def redraw(
    tiles: Any,
    side: int,
    ground: Any,
    columns: int,
    board: Any,
    pacman: Any,
    ghosts: Any,
    counters: Any,
    trail: Any,
    out: Any,
) -> None:
    """Draws in every row what a step has changed, see :func:`draw`."""
    cells, codes = _canvas(len(ground))
    for row in range(len(out)):
        count = 0
        if trail[row, 0] < 0:
            for cell in range(len(ground)):
                cells[cell], codes[cell] = cell, ground[cell, board[row, cell]]
            count = len(ground)
        else:
            for actor in range(1 + counters[row, 6]):
                cell = trail[row, actor]
                if cell >= 0:
                    cells[count], codes[count] = cell, ground[cell, board[row, cell]]
                    count += 1
        count = _add_actors(row, pacman, ghosts, counters, cells, codes, count)
        draw_tiles(out, row, tiles, side, columns, cells, codes, count)


@njit(cache=True)
def _canvas(cells: int) -> Any:
    size = cells + 1 + MOST_GHOSTS
    return np.empty(size, np.int64), np.empty(size, np.int64)


@njit(cache=True)
def _add_actors(row: int, pacman: Any, ghosts: Any, counters: Any, cells: Any, codes: Any, count: int) -> int:
    """Pacman first: where a ghost has caught him, it is the ghost that is seen."""
    cells[count], codes[count] = pacman[row, 0], PACMAN_TILE
    count += 1
    for ghost in range(counters[row, 6]):
        if ghosts[row, ghost] >= 0:
            cells[count], codes[count] = ghosts[row, ghost], GHOST_TILE + counters[row, 0]
            count += 1
    return count
