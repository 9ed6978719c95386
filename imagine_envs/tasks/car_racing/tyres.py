"""What a driver's controls do to the wheels, and the wheels to the car.

The tyres of gymnasium's CarRacing-v3 (``car_dynamics.Car.step``): a wheel turns with an angular velocity of its own,
pushes against the difference between its rim and the ground, and never harder than friction allows.
"""

from __future__ import annotations

import math
from typing import Any

from imagine_envs.tasks.car_racing.compiled import inner
from imagine_envs.tasks.car_racing.shapes import HULL_INERTIA, WHEEL_HALF_LENGTH, WHEEL_INERTIA

__all__ = [
    "ANGLE",
    "FRAME",
    "GAS",
    "LARGEST_TURN",
    "OMEGA",
    "PHASE",
    "STRAIN",
    "WHEEL_COLUMNS",
    "WHEEL_SPEED_X",
    "WHEEL_SPEED_Y",
    "WHEEL_SPIN",
    "WHEEL_X",
    "WHEEL_Y",
    "tyre_force",
    "wheel_turning",
]

FRAME = 1 / 50
"""Seconds."""

WHEEL_X, WHEEL_Y, ANGLE, WHEEL_SPEED_X, WHEEL_SPEED_Y, WHEEL_SPIN, OMEGA, PHASE, GAS, STRAIN = range(10)
"""Columns of a wheel: place and angle in the world, the velocities of both, the angular velocity at which it
rolls, the angle it has rolled by, the gas that it is given, the impulse by which it is pushed against its stop."""
WHEEL_COLUMNS = 10

LARGEST_TURN = 0.4
"""Radians to either side at which a wheel is stopped."""

_POWER = 40_000.0
_ROLLING_INERTIA = 1.6
_GRIP_ROAD = 400.0
_GRIP_GRASS = 0.6 * _GRIP_ROAD
_STIFFNESS = 82.0
_LOCKS = 0.9
_BRAKING = 15.0
_GAS_STEP = 0.1
_FASTEST_TURN = 3.0
_STRONGEST = 64.8 * FRAME
_ROUNDS = 180
_SHIFT = 1 / (1 / HULL_INERTIA + 1 / WHEEL_INERTIA)


@inner
def wheel_turning(wheel: Any, turn: float, target: float) -> float:
    """How fast a wheel turns towards ``target``, in radians a second.

    Box2D's motor pushes a wheel that has come to its stop against it, harder in each of its 180 rounds, up to what it
    is able to; on the way back it has to take as much away again, round by round, before the wheel moves.

    Args:
        wheel: float64 ``[10]``, whose strain is changed in place.
        turn: The angle between it and the hull.
        target: The angle it is steered to.
    """
    error = target - turn
    turning = math.copysign(min(50.0 * abs(error), _FASTEST_TURN), error)
    if abs(turn) < LARGEST_TURN:
        wheel[STRAIN] = 0.0
        return turning
    outwards = turning if turn > 0 else -turning
    wheel[STRAIN] = min(max(wheel[STRAIN] + _ROUNDS * _SHIFT * outwards, 0.0), _STRONGEST)
    return 0.0 if wheel[STRAIN] > 0 else turning


@inner
def tyre_force(wheel: Any, gas: float, brake: float, on_road: bool, driven: bool) -> Any:
    """Rolls a wheel on by a frame and returns the force on its centre, x and y.

    Args:
        wheel: float64 ``[10]``, changed in place.
        gas: 0 to 1; it comes on slowly and goes off at once.
        brake: 0 to 1; from 0.9 on the wheel locks.
        on_road: Whether it stood on a tile.
        driven: Whether gas reaches it.
    """
    if driven:
        wheel[GAS] += min(min(max(gas, 0.0), 1.0) - wheel[GAS], _GAS_STEP)
    ahead_x, ahead_y = -math.sin(wheel[ANGLE]), math.cos(wheel[ANGLE])
    speed_x, speed_y = wheel[WHEEL_SPEED_X], wheel[WHEEL_SPEED_Y]
    forward = ahead_x * speed_x + ahead_y * speed_y
    sideways = ahead_y * speed_x - ahead_x * speed_y

    omega = wheel[OMEGA]
    omega += FRAME * _POWER * wheel[GAS] / _ROLLING_INERTIA / (abs(omega) + 5.0)
    if brake >= _LOCKS:
        omega = 0.0
    elif brake > 0:
        omega -= math.copysign(min(_BRAKING * brake, abs(omega)), omega)
    wheel[PHASE] += FRAME * omega

    along = (omega * WHEEL_HALF_LENGTH - forward) * _STIFFNESS
    across = -sideways * _STIFFNESS
    force = math.sqrt(along * along + across * across)
    most = _GRIP_ROAD if on_road else _GRIP_GRASS
    if force > most:
        along *= most / force
        across *= most / force
    wheel[OMEGA] = omega - FRAME * along * WHEEL_HALF_LENGTH / _ROLLING_INERTIA
    return across * ahead_y + along * ahead_x, along * ahead_y - across * ahead_x
