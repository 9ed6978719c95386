"""A driver of CarRacing who knows the track: steers after it, brakes before bends, is no faster than hands are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Driver"]

_FRAME = 1 / 50
_STEP = 3.5
"""Units from one tile to the next."""


class Driver:
    """Drives one episode, from the car's pose alone.

    It looks at a point on the middle of the road some way ahead, steers in proportion to how far that lies aside, and
    goes as fast as the sharpest bend ahead allows. Steering and pedals move by a limited amount a frame.

    Args:
        track: As ``CarRacing.track``: (…, angle across the road, x, y) of each tile.
        fastest: Units a second on a straight road.
        grip: Sideways acceleration that it dares, in units a second squared.

    Example:
        >>> env = gym.make("Imagine/CarRacing-v0")
        >>> _, info = env.reset(seed=0)
        >>> driver = Driver(env.unwrapped.track)
        >>> _, reward, terminated, truncated, info = env.step(driver.act(info["pose"]))
    """

    def __init__(
        self, track: Sequence[tuple[float, float, float, float]], *, fastest: float = 60.0, grip: float = 70.0
    ) -> None:
        tiles = np.array(track)
        self._places = tiles[:, 2:]
        bends = np.angle(np.exp(1j * np.diff(tiles[:, 1], append=tiles[:1, 1]))) / _STEP
        smooth = np.mean([np.roll(bends, shift) for shift in range(-2, 3)], axis=0)
        self._limits = np.minimum(fastest, np.sqrt(grip / np.maximum(np.abs(smooth), 1e-6)))
        self._tile = 0
        self._before: NDArray[np.float64] | None = None
        self._action = np.zeros(3)

    def act(self, pose: NDArray[np.float64]) -> NDArray[np.float32]:
        """The next action.

        Args:
            pose: float64 ``[3]``: x, y, heading.

        Returns:
            float32 ``[3]``: steering, gas, brake.
        """
        place, heading = pose[:2], float(pose[2])
        speed = 0.0 if self._before is None else float(np.hypot(*(place - self._before))) / _FRAME
        self._before = place.copy()
        near = (self._tile + np.arange(-3, 12)) % len(self._places)
        self._tile = int(near[np.argmin(((self._places[near] - place) ** 2).sum(1))])

        ahead = self._places[(self._tile + 2 + int(speed * 0.12)) % len(self._places)] - place
        aside = math.atan2(-ahead[0], ahead[1]) - heading
        aside = math.remainder(aside, 2 * math.pi)
        steer = min(max(-2.2 * aside, -1.0), 1.0)

        reach = self._tile + np.arange(2 + int(speed * 0.25))
        # Slower now where the way to a bend is too short to brake later.
        way = _STEP * np.arange(len(reach))
        allowed = float(np.sqrt(self._limits[reach % len(self._places)] ** 2 + 2 * 45.0 * way).min())
        gas = min(max(0.08 * (allowed - speed), 0.0), 0.6) * (1 - 0.5 * abs(steer))
        brake = min(max(0.03 * (speed - allowed - 2), 0.0), 0.7)
        wanted = np.array([steer, gas, brake])
        self._action += np.clip(wanted - self._action, (-0.15, -0.3, -0.2), (0.15, 0.1, 0.2))
        return self._action.astype(np.float32)
