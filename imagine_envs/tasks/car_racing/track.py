"""The road: a closed way through noisy checkpoints, in tiles, with kerbs where it turns hard.

It is gymnasium's CarRacing-v3 (``CarRacing._create_track``), number by number: the same random numbers give the same
track.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from imagine_envs.tasks.car_racing.compiled import inner
from imagine_envs.tasks.car_racing.pcg64 import uniform_between

__all__ = ["HALF_WIDTH", "KERB", "MOST_TILES", "PLAYFIELD", "new_track"]

MOST_TILES = 512
"""What a row has room for. A longer track (there was none in 100,000 seeds) is drawn anew."""

PLAYFIELD = 2000 / 6
"""|x| and |y| beyond which the car is lost, in units."""

HALF_WIDTH = 40 / 6
"""Of the road, in units."""

KERB = 8 / 6
"""How broad a kerb is, in units."""

_CHECKPOINTS = 12
_RADIUS = 900 / 6
_STEP = 21 / 6
_TURN = 0.31
"""Radians by which the road turns in a step at most."""

_LONGEST_SEARCH = 2_500
_LAPS = 4
_HARD = 0.2 * _TURN
_IN_A_ROW = 4


@inner
def new_track(row: int, generator: Any, track: Any, edges: Any, kerbs: Any) -> int:
    """Draws a track until it closes.

    Args:
        row: Which one to write.
        generator: uint64 ``[B, 4]``, see :mod:`~imagine_envs.tasks.car_racing.pcg64`.
        track: float64 ``[B, MOST_TILES, 4]``: of each tile the angle of its end seen from the centre, the angle of the
            line across it, and the middle of that line (x, y), as in ``CarRacing.track``.
        edges: float32 ``[B, MOST_TILES, 4]``: the left and the right end of the line, x and y of each. A tile lies
            between its own line and that of the tile before.
        kerbs: int8 ``[B, MOST_TILES]``: on which side of a tile a kerb is, −1 left, 1 right, 0 without one.

    Returns:
        How many tiles it has.
    """
    way = np.empty((_LONGEST_SEARCH, 4))
    while True:
        first, last = _closed_part(row, generator, way)
        tiles = last - first
        if 0 < tiles <= MOST_TILES and _is_glued(way, first, last - 1):
            break
    track[row, tiles:] = 0
    for tile in range(tiles):
        for column in range(4):
            track[row, tile, column] = way[first + tile, column]
        beta, x, y = track[row, tile, 1], track[row, tile, 2], track[row, tile, 3]
        across, along = HALF_WIDTH * math.cos(beta), HALF_WIDTH * math.sin(beta)
        edges[row, tile, 0], edges[row, tile, 1] = x - across, y - along
        edges[row, tile, 2], edges[row, tile, 3] = x + across, y + along
    edges[row, tiles:] = 0
    _set_kerbs(track[row, :tiles], kerbs[row])
    return tiles


@inner
def _closed_part(row: int, generator: Any, way: Any) -> Any:
    """Draws checkpoints, drives along them for some laps, and returns where the last whole lap begins and ends."""
    goals = np.empty((_CHECKPOINTS, 3))
    for index in range(_CHECKPOINTS):
        noise = uniform_between(generator, row, 0.0, 2 * math.pi / _CHECKPOINTS)
        alpha = 2 * math.pi * index / _CHECKPOINTS + noise
        radius = uniform_between(generator, row, _RADIUS / 3, _RADIUS)
        if index == 0:
            alpha, radius = 0.0, 1.5 * _RADIUS
        if index == _CHECKPOINTS - 1:
            alpha, radius = 2 * math.pi * index / _CHECKPOINTS, 1.5 * _RADIUS
        goals[index, 0] = alpha
        goals[index, 1], goals[index, 2] = radius * math.cos(alpha), radius * math.sin(alpha)

    x, y, beta = 1.5 * _RADIUS, 0.0, 0.0
    goal, laps, length, beyond = 0, 0, 0, False
    while length < _LONGEST_SEARCH and laps <= _LAPS:
        alpha = math.atan2(y, x)
        if beyond and alpha > 0:
            laps += 1
            beyond = False
        if alpha < 0:
            beyond = True
            alpha += 2 * math.pi
        while alpha > goals[goal % _CHECKPOINTS, 0]:
            goal += 1
            if goal % _CHECKPOINTS == 0:
                alpha -= 2 * math.pi
        right_x, right_y = math.cos(beta), math.sin(beta)
        to_x, to_y = goals[goal % _CHECKPOINTS, 1] - x, goals[goal % _CHECKPOINTS, 2] - y
        aside = right_x * to_x + right_y * to_y
        while beta - alpha > 1.5 * math.pi:
            beta -= 2 * math.pi
        while beta - alpha < -1.5 * math.pi:
            beta += 2 * math.pi
        before = beta
        aside *= 6.0
        if aside > 0.3:
            beta -= min(_TURN, abs(0.001 * aside))
        if aside < -0.3:
            beta += min(_TURN, abs(0.001 * aside))
        x += -right_y * _STEP
        y += right_x * _STEP
        way[length, 0], way[length, 1] = alpha, before * 0.5 + beta * 0.5
        way[length, 2], way[length, 3] = x, y
        length += 1

    start = 2 * math.pi * -0.5 / _CHECKPOINTS
    end = -1
    for index in range(length - 1, 0, -1):
        if way[index, 0] > start and way[index - 1, 0] <= start:
            if end >= 0:
                return index, end - 1
            end = index
    return 0, 0


@inner
def _is_glued(way: Any, head: int, tail: int) -> bool:
    """Whether the two ends are no farther apart than a step, across the road."""
    across = math.cos(way[head, 1]) * (way[head, 2] - way[tail, 2])
    along = math.sin(way[head, 1]) * (way[head, 3] - way[tail, 3])
    return math.sqrt(across * across + along * along) <= _STEP


@inner
def _set_kerbs(track: Any, kerbs: Any) -> None:
    """Kerbs along four tiles wherever the road has turned hard, and to one side, for four tiles."""
    tiles = len(track)
    kerbs[:] = 0
    hard = np.zeros(tiles, np.bool_)
    for tile in range(tiles):
        good, side = True, 0
        for back in range(_IN_A_ROW):
            bend = track[tile - back, 1] - track[tile - back - 1, 1]
            good &= abs(bend) > _HARD
            side += 1 if bend > 0 else (-1 if bend < 0 else 0)
        hard[tile] = good and abs(side) == _IN_A_ROW
    for tile in range(tiles):
        for back in range(_IN_A_ROW):
            hard[tile - back] |= hard[tile]
    for tile in range(tiles):
        if hard[tile]:
            bend = track[tile - 1, 1] - track[tile, 1]
            kerbs[tile] = 1 if bend > 0 else (-1 if bend < 0 else 0)
