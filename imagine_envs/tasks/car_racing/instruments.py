"""The black bar at the bottom of the picture: speed, the four wheels, steering, gyroscope."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from imagine_envs.tasks.car_racing.compiled import inner
from imagine_envs.tasks.car_racing.motion import HEADING, SPIN, VELOCITY_X, VELOCITY_Y
from imagine_envs.tasks.car_racing.screen import BAR_TOP, SCREEN_HEIGHT, SCREEN_WIDTH
from imagine_envs.tasks.car_racing.tyres import ANGLE, OMEGA

__all__ = ["draw_bar"]

_VISIBLE = 1e-4
"""An instrument that shows less than this shows nothing."""


@inner
def draw_bar(body: Any, wheels: Any, picture: Any) -> None:
    """Draws it.

    Args:
        body: float64 ``[6]``.
        wheels: float64 ``[4, 10]``.
        picture: float32 ``[height, width, 3]``, changed in place.
    """
    height, width, _ = picture.shape
    top = BAR_TOP * height / SCREEN_HEIGHT
    for line in range(int(top), height):
        free = np.float32(min(max(top - line, 0.0), 1.0))
        for column in range(width):
            for channel in range(3):
                picture[line, column, channel] = free * picture[line, column, channel] if free > 0 else np.float32(0)
    _add_upright(picture, 5.0, math.sqrt(body[VELOCITY_X] ** 2 + body[VELOCITY_Y] ** 2), 0.02, 255.0, 255.0, 255.0)
    for wheel in range(4):
        _add_upright(picture, 7.0 + wheel, wheels[wheel, OMEGA], 0.01, 0.0 if wheel < 2 else 51.0, 0.0, 255.0)
    _add_level(picture, 20.0, wheels[0, ANGLE] - body[HEADING], -10.0, 0.0, 255.0, 0.0)
    _add_level(picture, 30.0, body[SPIN], -0.8, 255.0, 0.0, 0.0)


@inner
def _add_upright(picture: Any, place: float, value: float, scale: float, red: float, green: float, blue: float) -> None:
    """A bar that grows upwards from a fortieth above the bottom."""
    if abs(value) > _VISIBLE:
        level, end = SCREEN_HEIGHT - 20.0, SCREEN_HEIGHT - 20.0 - 20.0 * scale * value
        _add_box(picture, 25.0 * place, 25.0 * (place + 1), min(level, end), max(level, end), red, green, blue)


@inner
def _add_level(picture: Any, place: float, value: float, scale: float, red: float, green: float, blue: float) -> None:
    """A bar that grows to the right, or to the left."""
    if abs(value) > _VISIBLE:
        level, end = 25.0 * place, 25.0 * (place + scale * value)
        top, bottom = SCREEN_HEIGHT - 80.0, SCREEN_HEIGHT - 40.0
        _add_box(picture, min(level, end), max(level, end), top, bottom, red, green, blue)


@inner
def _add_box(
    picture: Any, left: float, right: float, top: float, bottom: float, red: float, green: float, blue: float
) -> None:
    """A box between pixels of the screen: pygame cuts off what is behind the point and fills both ends."""
    height, width, _ = picture.shape
    left, right = math.floor(left) * width / SCREEN_WIDTH, (math.floor(right) + 1) * width / SCREEN_WIDTH
    top, bottom = math.floor(top) * height / SCREEN_HEIGHT, (math.floor(bottom) + 1) * height / SCREEN_HEIGHT
    for line in range(max(0, int(top)), min(height, math.ceil(bottom))):
        tall = min(bottom, line + 1.0) - max(top, float(line))
        for column in range(max(0, int(left)), min(width, math.ceil(right))):
            covers = tall * (min(right, column + 1.0) - max(left, float(column)))
            picture[line, column, 0] += covers * (red - picture[line, column, 0])
            picture[line, column, 1] += covers * (green - picture[line, column, 1])
            picture[line, column, 2] += covers * (blue - picture[line, column, 2])
