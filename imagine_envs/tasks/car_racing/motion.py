"""How the car moves: the hull and four wheels that are pinned to it, by one frame.

Box2D treats them as five bodies and looks for the impulses in the pins by 180 rounds of relaxation. What it converges
to is found here at once: after the tyres have pushed the wheels, the only velocities that the pins allow and that keep
linear and angular momentum. Then every body moves by its velocity, which draws the pins apart a little, and Box2D's own
relaxation (two or three rounds, mostly) puts them together again; wheels give way, for they are light.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from imagine_envs.tasks.car_racing.compiled import inner
from imagine_envs.tasks.car_racing.shapes import (
    HULL_CENTRE,
    HULL_INERTIA,
    HULL_MASS,
    WHEEL_INERTIA,
    WHEEL_MASS,
    WHEELS,
)
from imagine_envs.tasks.car_racing.tyres import (
    ANGLE,
    FRAME,
    LARGEST_TURN,
    WHEEL_SPEED_X,
    WHEEL_SPEED_Y,
    WHEEL_SPIN,
    WHEEL_X,
    WHEEL_Y,
    tyre_force,
    wheel_turning,
)

__all__ = ["BODY_COLUMNS", "HEADING", "SPIN", "VELOCITY_X", "VELOCITY_Y", "X", "Y", "drive", "put"]

X, Y, HEADING, VELOCITY_X, VELOCITY_Y, SPIN = range(6)
"""Columns of a body: its place, its heading (radians, 0 is along +y, left is positive), the velocity of its centre of
mass, and its angular velocity."""
BODY_COLUMNS = 6

_FARTHEST = 2.0
"""Box2D moves no body by more in a step: no car is faster than 100 units a second."""

_ROUNDS = 60
_SLOP, _ANGLE_SLOP = 0.005, 2 / 180 * math.pi
"""Errors of places and angles that Box2D leaves as they are."""
_LARGEST_CORRECTION = 8 / 180 * math.pi


@inner
def put(body: Any, wheels: Any, x: float, y: float, heading: float) -> None:
    """Puts the car somewhere, at rest.

    CarRacing-v3 turns hull and wheels towards ``heading``, but puts the wheels where they would be at heading 0; the
    first frame pulls all of it together, and turns the car a little. So it is here.
    """
    body[:] = 0
    wheels[:] = 0
    body[X], body[Y], body[HEADING] = x, y, heading
    for index in range(4):
        wheels[index, WHEEL_X], wheels[index, WHEEL_Y] = x + WHEELS[index, 0], y + WHEELS[index, 1]
        wheels[index, ANGLE] = heading


@inner
def drive(body: Any, wheels: Any, on_road: Any, steer: float, gas: float, brake: float) -> None:
    """Lets a frame of 1/50 s go by.

    Args:
        body: float64 ``[6]``, changed in place.
        wheels: float64 ``[4, 10]``, see :mod:`~imagine_envs.tasks.car_racing.tyres`, changed in place.
        on_road: uint8 ``[4]``: which wheels stood on a tile when that was last felt.
        steer: The angle that the front wheels are turned towards, left is positive.
        gas: 0 to 1.
        brake: 0 to 1.
    """
    cos, sin = math.cos(body[HEADING]), math.sin(body[HEADING])
    mass, inertia = HULL_MASS, HULL_INERTIA
    momentum_x, momentum_y = HULL_MASS * body[VELOCITY_X], HULL_MASS * body[VELOCITY_Y]
    angular = HULL_INERTIA * body[SPIN]
    sum_x, sum_y = 0.0, 0.0  # of mass times place, from the hull's centre of mass
    for index in range(4):
        wheel = wheels[index]
        force_x, force_y = tyre_force(wheel, gas, brake, on_road[index] > 0, index >= 2)
        turning = wheel_turning(wheel, wheel[ANGLE] - body[HEADING], steer if index < 2 else 0.0)
        impulse_x = WHEEL_MASS * wheel[WHEEL_SPEED_X] + FRAME * force_x
        impulse_y = WHEEL_MASS * wheel[WHEEL_SPEED_Y] + FRAME * force_y
        x, y = _pin(index, cos, sin)
        mass += WHEEL_MASS
        inertia += WHEEL_MASS * (x * x + y * y) + WHEEL_INERTIA
        sum_x += WHEEL_MASS * x
        sum_y += WHEEL_MASS * y
        momentum_x += impulse_x
        momentum_y += impulse_y
        angular += x * impulse_y - y * impulse_x + WHEEL_INERTIA * (wheel[WHEEL_SPIN] - turning)
        wheel[WHEEL_SPIN] = turning
    spin = (angular - (sum_x * momentum_y - sum_y * momentum_x) / mass) / (
        inertia - (sum_x * sum_x + sum_y * sum_y) / mass
    )
    velocity_x = (momentum_x + spin * sum_y) / mass
    velocity_y = (momentum_y - spin * sum_x) / mass

    centre_x = body[X] + cos * HULL_CENTRE[0] - sin * HULL_CENTRE[1]
    centre_y = body[Y] + sin * HULL_CENTRE[0] + cos * HULL_CENTRE[1]
    stopped = np.int64(0)  # Box2D looks at the stops before bodies move: two bits for each wheel, left and right
    for index in range(4):
        wheel = wheels[index]
        turn = wheel[ANGLE] - body[HEADING]
        stopped |= (1 if turn >= LARGEST_TURN else (2 if turn <= -LARGEST_TURN else 0)) << 2 * index
        x, y = _pin(index, cos, sin)
        speed_x, speed_y = _limited(velocity_x - spin * y, velocity_y + spin * x)
        wheel[WHEEL_SPEED_X], wheel[WHEEL_SPEED_Y] = speed_x, speed_y
        wheel[WHEEL_SPIN] += spin
        wheel[WHEEL_X] += FRAME * speed_x
        wheel[WHEEL_Y] += FRAME * speed_y
        wheel[ANGLE] += FRAME * wheel[WHEEL_SPIN]
    velocity_x, velocity_y = _limited(velocity_x, velocity_y)
    body[VELOCITY_X], body[VELOCITY_Y], body[SPIN] = velocity_x, velocity_y, spin
    _pull_together(
        body,
        wheels,
        stopped,
        centre_x + FRAME * velocity_x,
        centre_y + FRAME * velocity_y,
        body[HEADING] + FRAME * spin,
    )


@inner
def _pull_together(body: Any, wheels: Any, stopped: int, centre_x: float, centre_y: float, heading: float) -> None:
    """Corrects places and angles, pin after pin, and writes the hull's.

    Args:
        body: float64 ``[6]``, of which place and heading are written.
        wheels: float64 ``[4, 10]``, changed in place.
        stopped: Two bits for each wheel.
        centre_x: Of the hull's mass.
        centre_y: Of the hull's mass.
        heading: Of the hull.
    """
    wheel_part, hull_part = 1 / WHEEL_MASS, 1 / HULL_MASS
    wheel_turn, hull_turn = 1 / WHEEL_INERTIA, 1 / HULL_INERTIA
    for _ in range(_ROUNDS):
        settled = True
        for index in range(3, -1, -1):  # the order in which Box2D comes upon the pins
            wheel = wheels[index]
            if stopped >> 2 * index & 3:
                turn = wheel[ANGLE] - heading
                if stopped >> 2 * index & 1:
                    error = turn - LARGEST_TURN
                    correction = min(max(error - _ANGLE_SLOP, 0.0), _LARGEST_CORRECTION)
                else:
                    error = -turn - LARGEST_TURN
                    correction = -min(max(error - _ANGLE_SLOP, 0.0), _LARGEST_CORRECTION)
                heading += correction * hull_turn / (wheel_turn + hull_turn)
                wheel[ANGLE] -= correction * wheel_turn / (wheel_turn + hull_turn)
                settled &= error <= _ANGLE_SLOP
            x, y = _pin(index, math.cos(heading), math.sin(heading))
            off_x, off_y = wheel[WHEEL_X] - centre_x - x, wheel[WHEEL_Y] - centre_y - y
            settled &= off_x * off_x + off_y * off_y <= _SLOP * _SLOP
            # the impulse that undoes the error, from how hull and wheel give way to it
            xx = hull_part + wheel_part + hull_turn * y * y
            yy = hull_part + wheel_part + hull_turn * x * x
            xy = -hull_turn * x * y
            both = xx * yy - xy * xy
            push_x, push_y = (yy * off_x - xy * off_y) / both, (xx * off_y - xy * off_x) / both
            centre_x += hull_part * push_x
            centre_y += hull_part * push_y
            heading += hull_turn * (x * push_y - y * push_x)
            wheel[WHEEL_X] -= wheel_part * push_x
            wheel[WHEEL_Y] -= wheel_part * push_y
        if settled:
            break
    cos, sin = math.cos(heading), math.sin(heading)
    body[X] = centre_x - cos * HULL_CENTRE[0] + sin * HULL_CENTRE[1]
    body[Y] = centre_y - sin * HULL_CENTRE[0] - cos * HULL_CENTRE[1]
    body[HEADING] = heading


@njit(cache=True, nogil=True, inline="always")
def _pin(index: int, cos: float, sin: float) -> Any:
    """Where a wheel is pinned to the hull, from its centre of mass, in the world's directions."""
    right, ahead = WHEELS[index, 0] - HULL_CENTRE[0], WHEELS[index, 1] - HULL_CENTRE[1]
    return cos * right - sin * ahead, sin * right + cos * ahead


@njit(cache=True, nogil=True, inline="always")
def _limited(velocity_x: float, velocity_y: float) -> Any:
    """A velocity that leads no farther than bodies move in a frame."""
    way = FRAME * math.sqrt(velocity_x * velocity_x + velocity_y * velocity_y)
    if way > _FARTHEST:
        return velocity_x * _FARTHEST / way, velocity_y * _FARTHEST / way
    return velocity_x, velocity_y
