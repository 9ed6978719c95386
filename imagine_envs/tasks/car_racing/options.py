"""What both engines of CarRacing can be asked for, and what their actions and pictures are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from imagine_envs.whole_numbers import check_whole

__all__ = ["SHADES", "Options", "luma", "space_of_actions", "space_of_pictures"]

SIZES = (64, 96)
SHADES = ("fades", "stays", "none")
"""What becomes of the three shades of grey that tiles have in turn."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The keyword arguments of :class:`~imagine_envs.tasks.car_racing.CarRacing`, which says what they mean.

    Raises:
        ValueError: If one makes no sense.
    """

    size: int = 96
    grayscale: bool = False
    frame_skip: int = 1
    continuous: bool = True
    lap_complete_percent: float | None = None
    pay_start: bool = True
    zoom_in: bool = True
    shades: str = "fades"
    max_steps: int | None = 1_000

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ValueError(f"size={self.size!r} must be {' or '.join(map(str, SIZES))}")
        check_whole("frame_skip", self.frame_skip)
        check_whole("max_steps", self.max_steps, or_none=True)
        for name in ("grayscale", "continuous", "pay_start", "zoom_in"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r} must be True or False")
        percent: Any = self.lap_complete_percent
        if percent is not None and not (isinstance(percent, (int, float)) and 0.5 <= percent <= 1):
            raise ValueError(f"lap_complete_percent={percent!r} must be a number from 0.5 to 1, or None")
        if self.shades not in SHADES:
            raise ValueError(f"shades={self.shades!r} must be one of {', '.join(map(repr, SHADES))}")

    @property
    def steps(self) -> int | None:
        """Steps after which an episode is truncated."""
        return None if self.max_steps is None else math.ceil(self.max_steps / self.frame_skip)

    @property
    def lap(self) -> float:
        """More than this part of the tiles visited, the first one ends the lap; there is no more than 1."""
        return 1.0 if self.lap_complete_percent is None else float(self.lap_complete_percent)


def space_of_actions(options: Options) -> spaces.Box | spaces.Discrete:
    """Steering, gas and brake, or the five actions."""
    if options.continuous:
        return spaces.Box(np.array([-1, 0, 0], np.float32), np.ones(3, np.float32))
    return spaces.Discrete(5)


def space_of_pictures(options: Options) -> spaces.Box:
    """uint8 ``[size, size, 3 or 1]``."""
    return spaces.Box(0, 255, (options.size, options.size, 1 if options.grayscale else 3), np.uint8)


def luma(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The brightness of colours (ITU-R 601, rounded), uint8 ``[…, 3]`` → ``[…, 1]``."""
    mixed = picture.astype(np.int64) @ np.array([299, 587, 114])
    return ((mixed + 500) // 1000).astype(np.uint8)[..., None]
