"""How a player moves in Doom: thrust, walls that he slides along, friction, and the bobbing of his view.

The numbers are those of Doom's own rules (and agree with the engine to 1/65536 unit): a walking player gains 25/32 unit
a tic forwards and 24/32 sideways, keeps 29/32 of his speed, stands still below 1/16, and turns by 1.76° in each of the
first five tics of a turn and by 3.52° from then on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from imagine_envs.tasks.doom.level import FIXED

__all__ = [
    "ANGLE",
    "COLUMNS",
    "EYE",
    "EYES",
    "FORWARD",
    "QUARTER",
    "RADIUS",
    "SIDEWAYS",
    "SINE",
    "SPEED_X",
    "SPEED_Y",
    "STRIDE_X",
    "STRIDE_Y",
    "TURNING",
    "X",
    "Y",
    "cosine_of",
    "face",
    "look",
    "push",
    "sine_of",
    "stand",
    "stride",
    "touches",
    "turn",
    "walk",
]

COLUMNS = 9
X, Y, SPEED_X, SPEED_Y, ANGLE, TURNING, STRIDE_X, STRIDE_Y, EYES = range(COLUMNS)
"""Columns of a player, in 1/65536 unit. His stride is the speed that he gave himself: blows push him, but do not bob
his view. TURNING counts the tics of a turn."""

RADIUS = 16 * FIXED
EYE = 41 * FIXED
"""Height of the eyes of somebody who stands still."""

FORWARD, SIDEWAYS = 51_200, 49_152
"""Speed gained in a tic."""

_REACH = RADIUS + 20 * FIXED

_FRICTION = 0xE800
_STOP = 0x1000
_MOST = 30 * FIXED
_STEP = RADIUS - FIXED
"""A longer move is made in steps, lest it jump over a wall."""

_FINE = 8_192
_ANGLE_SHIFT = 19
_RISING = np.trunc(np.sin(np.arange(_FINE // 4) * (2 * np.pi / _FINE)) * FIXED).astype(np.int64)
SINE = np.concatenate((_RISING, _RISING[::-1], -_RISING, -_RISING[::-1]))
SINE[_FINE // 4], SINE[3 * _FINE // 4] = FIXED, -FIXED
"""Of 8,192 angles, in 1/65536. As in the engine the second quarter is the mirror image of the first, one angle off.

Angles are whole numbers of a turn / 2³²; 0 looks along x, a quarter along y."""

QUARTER = 1 << 30
_SLOW_TURN, _TURN = 320 << 16, 640 << 16
_SLOW_TICS = 6
_BOB_TICS = 20
_MOST_BOB = 16 * FIXED


@njit(cache=True)
def sine_of(angle: int) -> int:
    """Sine of an angle, in 1/65536."""
    return SINE[(angle >> _ANGLE_SHIFT) & (_FINE - 1)]


@njit(cache=True)
def cosine_of(angle: int) -> int:
    """Cosine of an angle, in 1/65536."""
    return SINE[((angle >> _ANGLE_SHIFT) + _FINE // 4) & (_FINE - 1)]


@njit(cache=True)
def stand(row: int, x: int, y: int, angle: int, player: Any) -> None:
    """Puts a player somewhere, where he stands still."""
    for column in range(COLUMNS):
        player[row, column] = 0
    player[row, X], player[row, Y], player[row, ANGLE], player[row, EYES] = x, y, angle, EYE


@njit(cache=True)
def turn(row: int, direction: int, player: Any) -> None:
    """Turns a player by one tic: 1 to the left, −1 to the right, 0 not at all."""
    if direction == 0:
        player[row, TURNING] = 0
        return
    player[row, TURNING] += 1
    speed = _SLOW_TURN if player[row, TURNING] < _SLOW_TICS else _TURN
    player[row, ANGLE] = (player[row, ANGLE] + direction * speed) & 0xFFFFFFFF


@njit(cache=True)
def push(row: int, angle: int, speed: int, player: Any) -> None:
    """Adds to a player's speed."""
    player[row, SPEED_X] += (speed * cosine_of(angle)) >> 16
    player[row, SPEED_Y] += (speed * sine_of(angle)) >> 16


@njit(cache=True)
def stride(row: int, angle: int, speed: int, player: Any) -> None:
    """Adds to a player's speed what he does himself."""
    push(row, angle, speed, player)
    player[row, STRIDE_X] += (speed * cosine_of(angle)) >> 16
    player[row, STRIDE_Y] += (speed * sine_of(angle)) >> 16


@njit(cache=True)
def walk(row: int, strides: bool, walls: Any, player: Any) -> None:
    """Moves a player by one tic at his speed, and slows him down.

    Args:
        row: Whose.
        strides: Whether he walks; he comes to a halt only if he does not.
        walls: Of the level.
        player: int64 ``[B, 9]``, changed in place.
    """
    move_x = min(_MOST, max(-_MOST, player[row, SPEED_X]))
    move_y = min(_MOST, max(-_MOST, player[row, SPEED_Y]))
    player[row, SPEED_X], player[row, SPEED_Y] = move_x, move_y
    if move_x != 0 or move_y != 0:
        steps = 1 + max(abs(move_x), abs(move_y)) // _STEP if max(abs(move_x), abs(move_y)) > _STEP else 1
        from_x, from_y = player[row, X], player[row, Y]
        step = 1
        while step <= steps:
            to_x, to_y = from_x + _part(move_x, step, steps), from_y + _part(move_y, step, steps)
            if _free(to_x, to_y, walls):
                player[row, X], player[row, Y] = to_x, to_y
            else:
                _slide(row, _part(move_x, 1, steps), _part(move_y, 1, steps), steps, walls, player)
                if player[row, SPEED_X] == 0 and player[row, SPEED_Y] == 0:
                    break
                move_x, move_y = player[row, SPEED_X], player[row, SPEED_Y]
                from_x = player[row, X] - _part(move_x, step, steps)
                from_y = player[row, Y] - _part(move_y, step, steps)
            step += 1
    slow = abs(player[row, SPEED_X]) < _STOP and abs(player[row, SPEED_Y]) < _STOP
    if slow and not strides:
        for column in (SPEED_X, SPEED_Y, STRIDE_X, STRIDE_Y):
            player[row, column] = 0
    else:
        for column in (SPEED_X, SPEED_Y, STRIDE_X, STRIDE_Y):
            player[row, column] = (player[row, column] * _FRICTION) >> 16


@njit(cache=True)
def look(row: int, time: int, player: Any) -> None:
    """Sets the height of a player's eyes, which bob as he strides; to be called before he walks."""
    bob = (player[row, STRIDE_X] ** 2 >> 16) + (player[row, STRIDE_Y] ** 2 >> 16)
    bob = min(bob >> 2, _MOST_BOB)
    player[row, EYES] = EYE + ((bob >> 1) * SINE[(_FINE * time // _BOB_TICS) & (_FINE - 1)] >> 16)


@njit(cache=True)
def touches(row: int, x: int, y: int, player: Any) -> bool:
    """Whether a player touches a thing to be taken."""
    return abs(x - player[row, X]) < _REACH and abs(y - player[row, Y]) < _REACH


@njit(cache=True)
def face(row: int, player: Any, cameras: Any) -> None:
    """Writes where a player's eyes are and look: x, y, height in units and an angle in radians."""
    cameras[row, 0], cameras[row, 1] = player[row, X] / FIXED, player[row, Y] / FIXED
    cameras[row, 2] = player[row, EYES] / FIXED
    cameras[row, 3] = player[row, ANGLE] / 2.0**32 * 2.0 * math.pi


@njit(cache=True)
def _part(move: int, step: int, steps: int) -> int:
    """So many of the steps of a move, rounded towards zero."""
    share = abs(move) * step // steps
    return share if move >= 0 else -share


@njit(cache=True)
def _free(x: int, y: int, walls: Any) -> bool:
    """Whether a player has room there: a square that no wall reaches into."""
    for wall in range(len(walls)):
        across, along = (x, y) if walls[wall, 0] == 0 else (y, x)
        line = walls[wall, 1]
        near = across - RADIUS < line < across + RADIUS
        if near and along - RADIUS < walls[wall, 3] and along + RADIUS > walls[wall, 2]:
            return False
    return True


@njit(cache=True)
def _slide(row: int, move_x: int, move_y: int, steps: int, walls: Any, player: Any) -> None:
    """Goes up to the wall that is in the way and then along it: what is left of the move becomes the speed.

    As in Doom, the three corners of the player that lead are followed to the walls that face him. A wall is found where
    its whole line is crossed, if it reaches into the same block of 128 units, and only from a small depth on. Where
    none is found (it is met by an edge of the square), he tries to move along one axis only. In a corner he tries to
    slide along the same wall twice, and may stick.
    """
    tries = 3
    while tries > 1:
        tries -= 1
        x, y = player[row, X], player[row, Y]
        lead_x, trail_x = (x + RADIUS, x - RADIUS) if move_x > 0 else (x - RADIUS, x + RADIUS)
        lead_y, trail_y = (y + RADIUS, y - RADIUS) if move_y > 0 else (y - RADIUS, y + RADIUS)
        best, axis = FIXED + 1, 0
        for corner in range(3):
            corner_x, corner_y = (trail_x if corner == 1 else lead_x), (trail_y if corner == 2 else lead_y)
            for wall in range(len(walls)):
                flat = walls[wall, 0] == 1
                line, facing = walls[wall, 1], walls[wall, 4]
                place = y if flat else x
                at, beside = (corner_y, corner_x) if flat else (corner_x, corner_y)
                move, sideways = (move_y, move_x) if flat else (move_x, move_y)
                if (place - line) * facing <= 0:
                    continue
                begins, ends = (line - at) * facing >= walls[wall, 5], (line - at - move) * facing >= walls[wall, 5]
                if begins == ends or (line - at) * move < 0:
                    continue
                if not (_in_block(wall, beside, at, walls) or _in_block(wall, beside + sideways, at + move, walls)):
                    continue
                fraction = (abs(line - at) * FIXED + abs(move) // 2) // abs(move)
                if fraction <= FIXED and fraction < best:
                    best, axis = fraction, walls[wall, 0]
        if best == FIXED + 1:
            break
        best -= FIXED // 32
        if best > 0:
            to_x, to_y = x + (move_x * best >> 16), y + (move_y * best >> 16)
            if not _free(to_x, to_y, walls):
                break
            player[row, X], player[row, Y] = to_x, to_y
        rest = min(FIXED, FIXED - (best + FIXED // 32))
        if rest <= 0:
            return
        move_x, move_y = (move_x * rest) >> 16, (move_y * rest) >> 16
        on_x, on_y = (0, move_y) if axis == 0 else (move_x, 0)
        player[row, SPEED_X], player[row, SPEED_Y] = on_x * steps, on_y * steps
        for stride_column, speed_column in ((STRIDE_X, SPEED_X), (STRIDE_Y, SPEED_Y)):
            if abs(player[row, stride_column]) > abs(player[row, speed_column]):
                player[row, stride_column] = player[row, speed_column]
        if _free(player[row, X] + on_x, player[row, Y] + on_y, walls):
            player[row, X], player[row, Y] = player[row, X] + on_x, player[row, Y] + on_y
            return
    if _free(player[row, X], player[row, Y] + move_y, walls):
        player[row, Y] += move_y
    elif _free(player[row, X] + move_x, player[row, Y], walls):
        player[row, X] += move_x


@njit(cache=True)
def _in_block(wall: int, along: int, across: int, walls: Any) -> bool:
    return walls[wall, 6] <= along < walls[wall, 7] and walls[wall, 8] <= across < walls[wall, 9]
