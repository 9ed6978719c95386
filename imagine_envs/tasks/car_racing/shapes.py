"""What the car is made of: polygons of density 1, four wheels, and the masses that follow. Units, x right, y ahead."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HULL",
    "HULL_CENTRE",
    "HULL_CORNERS",
    "HULL_INERTIA",
    "HULL_MASS",
    "HULL_OUTLINE",
    "WHEELS",
    "WHEEL_HALF_LENGTH",
    "WHEEL_HALF_WIDTH",
    "WHEEL_INERTIA",
    "WHEEL_MASS",
]

_UNIT = 0.02

_BUMPER = ((-60, 130), (60, 130), (60, 110), (-60, 110))
_NOSE = ((-15, 120), (15, 120), (20, 20), (-20, 20))
_BODY = ((25, 20), (50, -10), (50, -40), (20, -90), (-20, -90), (-50, -40), (-50, -10), (-25, 20))
_WING = ((-50, -120), (50, -120), (50, -90), (-50, -90))

HULL: tuple[NDArray[np.float64], ...] = tuple(
    np.array(shape, dtype=np.float64) * _UNIT for shape in (_BUMPER, _NOSE, _BODY, _WING)
)
"""The convex polygons of the hull, ``[corners, 2]`` each, around the point that is the car's place."""

HULL_OUTLINE: NDArray[np.float64] = _UNIT * np.array(
    [
        *(
            (-60, 130),
            (60, 130),
            (60, 110),
            (15.5, 110),
            (20, 20),
            (25, 20),
            (50, -10),
            (50, -40),
            (20, -90),
            (50, -90),
        ),
        *((50, -120), (-50, -120), (-50, -90), (-20, -90), (-50, -40), (-50, -10), (-25, 20), (-20, 20), (-15.5, 110)),
        (-60, 110),
    ]
)
"""All of the hull, ``[20, 2]``, clockwise."""

HULL_CORNERS = np.array([len(shape) for shape in HULL])

WHEELS: NDArray[np.float64] = np.array([(-55, 80), (55, 80), (-55, -82), (55, -82)]) * _UNIT
"""Where the wheels are, ``[4, 2]``: front left, front right, rear left, rear right."""

WHEEL_HALF_WIDTH = 14 * _UNIT
WHEEL_HALF_LENGTH = 27 * _UNIT

WHEEL_MASS = 0.1 * 4 * WHEEL_HALF_WIDTH * WHEEL_HALF_LENGTH
WHEEL_INERTIA = WHEEL_MASS * (WHEEL_HALF_WIDTH**2 + WHEEL_HALF_LENGTH**2) / 3


def _moments(shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area, its first moments (x, y) and its second polar moment about the origin, by triangles."""
    x, y = shape.T
    next_x, next_y = np.roll(shape, -1, 0).T
    cross = x * next_y - next_x * y
    polar = (x * x + x * next_x + next_x * next_x + y * y + y * next_y + next_y * next_y) / 12
    found = np.stack([cross / 2, cross * (x + next_x) / 6, cross * (y + next_y) / 6, cross * polar]).sum(1)
    return found if found[0] > 0 else -found


_TOTAL = sum((_moments(shape) for shape in HULL), start=np.zeros(4))

HULL_MASS = float(_TOTAL[0])
HULL_CENTRE: NDArray[np.float64] = _TOTAL[1:3] / HULL_MASS
"""Centre of mass, from the car's place."""

HULL_INERTIA = float(_TOTAL[3] - HULL_MASS * (HULL_CENTRE**2).sum())
"""About the centre of mass."""
