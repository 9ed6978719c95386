"""The car in the picture: four wheels with a stripe that rolls, and the hull."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from imagine_envs.tasks.car_racing.compiled import inner
from imagine_envs.tasks.car_racing.coverage import add_edge
from imagine_envs.tasks.car_racing.screen import CAR_X, CAR_Y, SCREEN_HEIGHT, SCREEN_WIDTH
from imagine_envs.tasks.car_racing.shapes import HULL_OUTLINE, WHEEL_HALF_LENGTH, WHEEL_HALF_WIDTH, WHEELS
from imagine_envs.tasks.car_racing.tyres import ANGLE, PHASE

__all__ = ["draw_car"]

_STRIPE = 77.0
_STRIPE_LENGTH = 1.2
_HULL_RED = 204.0
_REACH = 4.0
"""Units within which all of the car lies."""

_sides = np.roll(HULL_OUTLINE, -1, 0) - HULL_OUTLINE
_outwards = np.stack([-_sides[:, 1], _sides[:, 0]], 1)
_outwards /= np.linalg.norm(_outwards, axis=1)[:, None]
_HULL_OUTWARDS = _outwards + np.roll(_outwards, 1, 0)
"""Away from the hull, at each of its corners."""


@inner
def draw_car(sums: Any, height: int, width: int, zoom: float, heading: float, wheels: Any, picture: Any) -> None:
    """Draws it over the ground.

    Layer 1 is how much of a pixel is wheel, 2 the grey of its stripe, 3 how much is hull.

    Args:
        sums: float32 ``[shown, width + 2, 4]`` of zeros, see :mod:`~imagine_envs.tasks.car_racing.coverage`.
        height: Pixels of the whole picture.
        width: Pixels of the picture.
        zoom: Pixels of the screen a unit.
        heading: Of the hull, which always looks up.
        wheels: float64 ``[4, 10]``.
        picture: float32 ``[height, width, 3]``, changed in place.
    """
    shown = sums.shape[0]
    place = np.empty((len(HULL_OUTLINE), 2))
    for wheel in range(4):
        turn = wheels[wheel, ANGLE] - heading
        _add_wheel(sums, height, width, zoom, wheel, turn, WHEEL_HALF_LENGTH, -WHEEL_HALF_LENGTH, 1.0, 0.0, place)
        begin, end = wheels[wheel, PHASE], wheels[wheel, PHASE] + _STRIPE_LENGTH
        hidden, ends_hidden = math.sin(begin) > 0, math.sin(end) > 0
        if hidden and ends_hidden:
            continue
        ahead, back = math.cos(begin), math.cos(end)
        if hidden:
            ahead = math.copysign(1.0, ahead)
        if ends_hidden:
            back = math.copysign(1.0, back)
        front, rear = WHEEL_HALF_LENGTH * max(ahead, back), WHEEL_HALF_LENGTH * min(ahead, back)
        _add_wheel(sums, height, width, zoom, wheel, turn, front, rear, 0.0, _STRIPE, place)
    for corner in range(len(HULL_OUTLINE)):
        x, y = HULL_OUTLINE[corner, 0], HULL_OUTLINE[corner, 1]
        _put(place, corner, height, width, zoom, x, y, _HULL_OUTWARDS[corner, 0], _HULL_OUTWARDS[corner, 1])
    _add_outline(sums, width, place, len(HULL_OUTLINE), 0.0, 0.0, 1.0)

    reach_x, reach_y = _REACH * zoom * width / SCREEN_WIDTH, _REACH * zoom * height / SCREEN_HEIGHT
    middle_x, middle_y = CAR_X * width / SCREEN_WIDTH, CAR_Y * height / SCREEN_HEIGHT
    left, right = max(0, int(middle_x - reach_x) - 1), min(width, int(middle_x + reach_x) + 2)
    top, bottom = max(0, int(middle_y - reach_y) - 1), min(shown, int(middle_y + reach_y) + 2)
    for line in range(top, bottom):
        wheel_part = stripe = hull = 0.0
        for column in range(left, right):
            wheel_part += sums[line, column, 0]
            stripe += sums[line, column, 1]
            hull += sums[line, column, 2]
            covers = min(max(hull, 0.0), 1.0)
            # Hull and wheels lie side by side, mostly: what the hull leaves free is the wheel's.
            rolls = min(max(wheel_part, 0.0), 1.0 - covers)
            shines = stripe * rolls / wheel_part if wheel_part > rolls else stripe
            for channel in range(3):
                colour = picture[line, column, channel] * (1.0 - covers - rolls) + shines
                picture[line, column, channel] = colour + (_HULL_RED * covers if channel == 0 else 0.0)
        sums[line, left : right + 2] = 0


@inner
def _put(
    place: Any, corner: int, height: int, width: int, zoom: float, x: float, y: float, out_x: float, out_y: float
) -> None:
    """Writes where a corner is in the picture, from where it is in the car and which way is away from its shape.

    pygame cuts off what is behind the point and fills the pixels of a shape's edges too.
    """
    across = math.floor(CAR_X + zoom * x) + (1.0 if out_x > 0 else 0.0)
    upwards = math.floor(SCREEN_HEIGHT - CAR_Y + zoom * y) + (1.0 if out_y > 0 else 0.0)
    place[corner, 0] = across * width / SCREEN_WIDTH
    place[corner, 1] = (SCREEN_HEIGHT - upwards) * height / SCREEN_HEIGHT


@inner
def _add_wheel(
    sums: Any,
    height: int,
    width: int,
    zoom: float,
    wheel: int,
    turn: float,
    front: float,
    rear: float,
    covers: float,
    grey: float,
    place: Any,
) -> None:
    """Adds what lies between ``rear`` and ``front`` of a wheel."""
    cos, sin = math.cos(turn), math.sin(turn)
    for corner in range(4):
        right = WHEEL_HALF_WIDTH if corner == 1 or corner == 2 else -WHEEL_HALF_WIDTH
        ahead = front if corner < 2 else rear
        x, y = WHEELS[wheel, 0] + cos * right - sin * ahead, WHEELS[wheel, 1] + sin * right + cos * ahead
        _put(place, corner, height, width, zoom, x, y, right, 1.0 if corner < 2 else -1.0)
    _add_outline(sums, width, place, 4, covers, grey, 0.0)


@inner
def _add_outline(sums: Any, width: int, place: Any, corners: int, first: float, second: float, third: float) -> None:
    for corner in range(corners):
        following = corner + 1 if corner + 1 < corners else 0
        add_edge(
            sums, sums.shape[0], width, place[corner, 0], place[corner, 1], place[following, 0], place[following, 1],
            first, second, third, 0.0,
        )  # fmt: skip
