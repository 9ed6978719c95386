"""Which tiles the car is on. Convex shapes that are at most 0.02 units apart touch, for Box2D gives them a skin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from imagine_envs.tasks.car_racing.compiled import inner
from imagine_envs.tasks.car_racing.motion import HEADING, X, Y
from imagine_envs.tasks.car_racing.shapes import HULL, HULL_CORNERS, WHEEL_HALF_LENGTH, WHEEL_HALF_WIDTH
from imagine_envs.tasks.car_racing.tyres import ANGLE, WHEEL_X, WHEEL_Y

__all__ = ["TOUCHED", "VISITED", "feel_tiles"]

VISITED, TOUCHED = 1, 2
"""Bits of a tile: a wheel was on it; the car was, so that it lost its shade."""

_SKIN = 0.02
_NEAR = 11.0**2
"""A car touches no tile whose line's middle is farther away than this (squared): 7.6 units within the tile, 2.9 within
the car."""

_MOST_CORNERS = 8
_HULL = np.zeros((len(HULL), _MOST_CORNERS, 2))
for _number, _shape in enumerate(HULL):
    _HULL[_number, : len(_shape)] = _shape


@inner
def feel_tiles(body: Any, wheels: Any, count: int, track: Any, edges: Any, tiles: Any, on_road: Any) -> int:
    """Finds out which wheels stand on a tile, and marks tiles.

    Args:
        body: float64 ``[6]``.
        wheels: float64 ``[4, 10]``.
        count: Tiles of the track.
        track: float64 ``[MOST_TILES, 4]``.
        edges: float32 ``[MOST_TILES, 4]``.
        tiles: uint8 ``[MOST_TILES]``, bits to be set.
        on_road: uint8 ``[4]``, to be written: bit 1 on a tile, bit 2 on the first one.

    Returns:
        How many tiles were visited for the first time.
    """
    x, y, heading = body[X], body[Y], body[HEADING]
    cos, sin = math.cos(heading), math.sin(heading)
    on_road[:] = 0
    shape, tile = np.empty((_MOST_CORNERS, 2)), np.empty((4, 2))
    visited = 0
    for index in range(count):
        away_x, away_y = track[index, 2] - x, track[index, 3] - y
        if away_x * away_x + away_y * away_y > _NEAR:
            continue
        before = index - 1 if index > 0 else count - 1
        tile[0, 0], tile[0, 1] = edges[index, 0], edges[index, 1]
        tile[1, 0], tile[1, 1] = edges[before, 0], edges[before, 1]
        tile[2, 0], tile[2, 1] = edges[before, 2], edges[before, 3]
        tile[3, 0], tile[3, 1] = edges[index, 2], edges[index, 3]
        for wheel in range(4):
            _place(wheels[wheel], shape)
            if _touch(shape, len(tile), tile):
                on_road[wheel] |= 1 if index > 0 else 3
                if not tiles[index] & VISITED:
                    tiles[index] |= VISITED | TOUCHED
                    visited += 1
        if not tiles[index] & TOUCHED:
            for part in range(len(HULL_CORNERS)):
                corners = HULL_CORNERS[part]
                for corner in range(corners):
                    right, ahead = _HULL[part, corner, 0], _HULL[part, corner, 1]
                    shape[corner, 0] = x + cos * right - sin * ahead
                    shape[corner, 1] = y + sin * right + cos * ahead
                if _touch(shape, corners, tile):
                    tiles[index] |= TOUCHED
                    break
    return visited


@inner
def _place(wheel: Any, shape: Any) -> None:
    """Writes the corners of a wheel."""
    middle_x, middle_y, cos, sin = wheel[WHEEL_X], wheel[WHEEL_Y], math.cos(wheel[ANGLE]), math.sin(wheel[ANGLE])
    right_x, right_y = WHEEL_HALF_WIDTH * cos, WHEEL_HALF_WIDTH * sin
    ahead_x, ahead_y = -WHEEL_HALF_LENGTH * sin, WHEEL_HALF_LENGTH * cos
    shape[0, 0], shape[0, 1] = middle_x - right_x + ahead_x, middle_y - right_y + ahead_y
    shape[1, 0], shape[1, 1] = middle_x + right_x + ahead_x, middle_y + right_y + ahead_y
    shape[2, 0], shape[2, 1] = middle_x + right_x - ahead_x, middle_y + right_y - ahead_y
    shape[3, 0], shape[3, 1] = middle_x - right_x - ahead_x, middle_y - right_y - ahead_y


@inner
def _touch(shape: Any, corners: int, tile: Any) -> bool:
    """Whether no line parallel to a side of either has the two shapes apart."""
    return not (_apart(shape, corners, tile, len(tile)) or _apart(tile, len(tile), shape, corners))


@inner
def _apart(one: Any, corners: int, other: Any, others: int) -> bool:
    """Whether a side of ``one`` has all of ``other`` outside of it, by more than the skin."""
    for corner in range(corners):
        following = corner + 1 if corner + 1 < corners else 0
        side_x, side_y = one[following, 0] - one[corner, 0], one[following, 1] - one[corner, 1]
        opposite = (corner + 2) % corners
        inwards = side_x * (one[opposite, 1] - one[corner, 1]) - side_y * (one[opposite, 0] - one[corner, 0])
        turn = -1.0 if inwards > 0 else 1.0
        least = np.inf
        for index in range(others):
            away = side_x * (other[index, 1] - one[corner, 1]) - side_y * (other[index, 0] - one[corner, 0])
            least = min(least, turn * away)
        if least > 0 and least * least > _SKIN * _SKIN * (side_x * side_x + side_y * side_y):
            return True
    return False
