"""The imps of Take Cover, which stand where they are and throw fireballs at the player.

An imp behaves as Doom's: it stands for ten tics, sees the player, and from then on looks every three tics whether to
attack. It does not in the first seven looks, nor in the look after an attack, nor while it pretends to walk (for 0 to
15 looks, drawn anew each time that it has looked in vain); else it attacks with probability 56/256. Sixteen tics later
the fireball leaves its hand, and six tics after that it looks again.
"""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from imagine_envs.tasks.doom.art import IMP, IMP_RAISES, IMP_STEPS
from imagine_envs.tasks.doom.level import FIXED
from imagine_envs.tasks.doom.player import RADIUS, X, Y, push
from imagine_envs.tasks.randomness import below

__all__ = [
    "BALL_BOTTOM",
    "BURST_BOTTOM",
    "FLYING",
    "GONE",
    "IMP_X",
    "MOST_BALLS",
    "MOST_IMPS",
    "PUFF_TICS",
    "THROW",
    "THROW_TICS",
    "fly",
    "look_of",
    "spawn",
    "think",
]

MOST_IMPS = 17
"""As many as can stand beside each other."""
MOST_BALLS = 48

IMP_X = 64 * FIXED
IMP_RADIUS = 20 * FIXED
BALL_RADIUS = 6 * FIXED
BALL_BOTTOM, BURST_BOTTOM = 29.0, 24.0
"""How high above the floor their pictures begin, in units."""
_BALL_SPEED = 10.0
_BALL_STEP = 5 * FIXED
"""A fireball that is faster than that along an axis moves by half (or by thirds), lest it jump over somebody."""
_TOUCH = BALL_RADIUS + RADIUS
_MOST_PUSH = 32 * FIXED

GONE, FLYING, PUFF_TICS = 0, -1, 18
"""What a fireball's clock says: there is none, it flies, or for how long it still bursts."""

STAND, LOOK, RAISE, THROW = range(4)
_STAND_TICS, _LOOK_TICS, _RAISE_TICS, THROW_TICS = 9, 3, 16, 6
_REACTION = 8
_CHANCE = 200


@njit(cache=True)
def spawn(row: int, y: int, imps: Any, counts: Any) -> None:
    """A new imp, unless it would stand in another."""
    count = counts[row]
    for other in range(count):
        if abs(imps[row, other, 0] - y) < 2 * IMP_RADIUS:
            return
    if count < MOST_IMPS:
        imps[row, count, 0], imps[row, count, 1], imps[row, count, 2] = y, STAND, _STAND_TICS
        imps[row, count, 3], imps[row, count, 4], imps[row, count, 5] = _REACTION, 0, 0
        counts[row] += 1


@njit(cache=True)
def think(row: int, random: Any, player: Any, imps: Any, counts: Any, balls: Any) -> None:
    """One tic of every imp.

    ``imps`` (int64 ``[B, N, 6]``) holds y, what it does, tics until it does something else, looks before it may attack,
    looks for which it pretends to walk, and whether it has just attacked.
    """
    for imp in range(counts[row]):
        imps[row, imp, 2] -= 1
        if imps[row, imp, 2] > 0:
            continue
        doing = imps[row, imp, 1]
        if doing == RAISE:
            _throw(row, imps[row, imp, 0], player, balls)
            imps[row, imp, 1], imps[row, imp, 2] = THROW, THROW_TICS
            continue
        imps[row, imp, 1], imps[row, imp, 2] = LOOK, _LOOK_TICS
        if imps[row, imp, 3] > 0:
            imps[row, imp, 3] -= 1
        if imps[row, imp, 5] > 0:
            imps[row, imp, 5] = 0
            imps[row, imp, 4] = below(random, row, 16)
        elif imps[row, imp, 4] == 0 and imps[row, imp, 3] == 0 and below(random, row, 256) >= _CHANCE:
            imps[row, imp, 1], imps[row, imp, 2], imps[row, imp, 5] = RAISE, _RAISE_TICS, 1
        else:
            imps[row, imp, 4] -= 1
            if imps[row, imp, 4] < 0:
                imps[row, imp, 4] = below(random, row, 16)


@njit(cache=True)
def _throw(row: int, y: int, player: Any, balls: Any) -> None:
    """A fireball from the imp at ``y`` to where the player is now."""
    for ball in range(MOST_BALLS):
        if balls[row, ball, 4] == GONE:
            to_x, to_y = float(player[row, X] - IMP_X), float(player[row, Y] - y)
            speed = _BALL_SPEED * FIXED / math.sqrt(to_x * to_x + to_y * to_y)
            balls[row, ball, 2], balls[row, ball, 3] = int(to_x * speed), int(to_y * speed)
            balls[row, ball, 0] = IMP_X + (balls[row, ball, 2] >> 1)
            balls[row, ball, 1] = y + (balls[row, ball, 3] >> 1)
            balls[row, ball, 4] = FLYING
            balls[row, ball, 5] = y
            return


@njit(cache=True)
def fly(row: int, random: Any, walls: Any, player: Any, imps: Any, counts: Any, balls: Any) -> int:
    """One tic of every fireball; they burst on the player, whom they push, on walls and on other imps.

    ``balls`` (int64 ``[B, N, 6]``) holds x, y, their speeds, the clock (see :data:`GONE`) and the y of who threw it.

    Returns:
        The damage that the player takes: for each that hits him 21 times 1 to 8.
    """
    damage = 0
    for ball in range(MOST_BALLS):
        if balls[row, ball, 4] != FLYING:
            if balls[row, ball, 4] > GONE:
                balls[row, ball, 4] -= 1
            continue
        from_x, from_y, move_x, move_y = (
            balls[row, ball, 0],
            balls[row, ball, 1],
            balls[row, ball, 2],
            balls[row, ball, 3],
        )
        steps = 1 + max(abs(move_x), abs(move_y)) // _BALL_STEP
        for step in range(1, steps + 1):
            x, y = from_x + move_x * step // steps, from_y + move_y * step // steps
            if abs(x - player[row, X]) < _TOUCH and abs(y - player[row, Y]) < _TOUCH:
                blow = 21 * (1 + below(random, row, 8))
                damage += blow
                angle = math.atan2(
                    float(player[row, Y] - balls[row, ball, 1]), float(player[row, X] - balls[row, ball, 0])
                )
                push(row, int(angle / (2 * math.pi) * 2**32) & 0xFFFFFFFF, min(_MOST_PUSH, blow * FIXED // 8), player)
                balls[row, ball, 4] = PUFF_TICS
                break
            if not _free(x, y, walls) or _in_an_imp(row, x, y, balls[row, ball, 5], imps, counts):
                balls[row, ball, 4] = PUFF_TICS
                break
            balls[row, ball, 0], balls[row, ball, 1] = x, y
    return damage


@njit(cache=True)
def _free(x: int, y: int, walls: Any) -> bool:
    for wall in range(len(walls)):
        place = x if walls[wall, 0] == 0 else y
        if (place - walls[wall, 1]) * walls[wall, 4] < BALL_RADIUS:
            return False
    return True


@njit(cache=True)
def _in_an_imp(row: int, x: int, y: int, thrower: int, imps: Any, counts: Any) -> bool:
    if abs(x - IMP_X) >= IMP_RADIUS + BALL_RADIUS:
        return False
    for imp in range(counts[row]):
        if imps[row, imp, 0] != thrower and abs(y - imps[row, imp, 0]) < IMP_RADIUS + BALL_RADIUS:
            return True
    return False


@njit(cache=True)
def look_of(doing: int, looks: int) -> int:
    """The sprite of an imp, which steps from one leg to the other while it pretends to walk."""
    if doing in (RAISE, THROW):
        return IMP_RAISES
    return IMP if doing == STAND or looks % 4 < 2 else IMP_STEPS
