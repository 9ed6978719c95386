"""Small pictures from formulas, with copies of half, a quarter, … of their size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVELS", "SIDE", "Canvas", "Color", "halved"]

SIDE, LEVELS = 64, 7
_FINER = 4

Color = tuple[float, float, float]
"""Red, green, blue, 0 to 255."""


class Canvas:
    """A square of 64 × 64 texels, drawn four times as fine, with colour and opacity.

    x runs from 0 to 1 to the right and y from 0 to 1 downwards.

    Args:
        background: Colour of the whole, None for nothing.

    Example:
        >>> canvas = Canvas()
        >>> canvas.ellipse(0.5, 0.5, 0.4, 0.3, (200, 40, 40))
        >>> canvas.array().shape
        (64, 64, 4)
    """

    def __init__(self, background: Color | None = None) -> None:
        fine = SIDE * _FINER
        ticks = (np.arange(fine) + 0.5) / fine
        self.x, self.y = np.meshgrid(ticks, ticks)
        self.color = np.zeros((fine, fine, 3))
        self.opacity = np.zeros((fine, fine))
        if background is not None:
            self.fill(np.ones_like(self.x, bool), background)

    def fill(self, where: NDArray[np.bool_], color: Color, shading: NDArray[np.float64] | float = 1.0) -> None:
        """Fills what a mask holds, with a colour that ``shading`` makes brighter or darker."""
        lit = np.broadcast_to(np.asarray(shading, np.float64), where.shape)
        self.color[where] = np.clip(lit[where][:, None] * np.array(color), 0, 255)
        self.opacity[where] = 1.0

    def ellipse(self, x: float, y: float, a: float, b: float, color: Color, *, round_: float = 0.0) -> None:
        """A filled ellipse; ``round_`` above 0 shades it like a ball lit from above."""
        u, v = (self.x - x) / a, (self.y - y) / b
        inside = u * u + v * v <= 1.0
        self.fill(inside, color, 1.0 - round_ * (0.35 * u * u + 0.45 * np.clip(v + 0.4, 0.0, None)))

    def limb(self, start: tuple[float, float], end: tuple[float, float], thick: float, color: Color) -> None:
        """A thick line with round ends, darker at its edges."""
        along = np.array(end) - np.array(start)
        share = ((self.x - start[0]) * along[0] + (self.y - start[1]) * along[1]) / max(float(along @ along), 1e-9)
        share = np.clip(share, 0.0, 1.0)
        away = np.hypot(self.x - start[0] - share * along[0], self.y - start[1] - share * along[1]) / thick
        self.fill(away <= 1.0, color, 1.0 - 0.4 * away**2)

    def rectangle(self, left: float, top: float, right: float, bottom: float, color: Color) -> None:
        """A filled rectangle."""
        self.fill((self.x >= left) & (self.x < right) & (self.y >= top) & (self.y < bottom), color)

    def grain(self, amount: float, seed: int) -> None:
        """Makes texels brighter and darker at random."""
        noise = np.random.default_rng(seed).normal(0.0, amount, (SIDE, SIDE))
        self.color *= np.clip(1.0 + np.kron(noise, np.ones((_FINER, _FINER))), 0.0, 2.0)[:, :, None]

    def array(self) -> NDArray[np.float64]:
        """Colours times opacity, and opacity (0 to 255), ``[64, 64, 4]``."""
        whole = np.dstack((np.clip(self.color, 0, 255) * self.opacity[:, :, None], 255.0 * self.opacity))
        return whole.reshape(SIDE, _FINER, SIDE, _FINER, 4).mean((1, 3))


def halved(picture: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A picture ``[64, 64, C]`` and its copies of half, a quarter, … of the size, each in the corner of its level.

    Returns:
        uint8 ``[levels, 64, 64, C]``.
    """
    levels = np.zeros((LEVELS, *picture.shape), np.uint8)
    for level in range(LEVELS):
        side = len(picture)
        levels[level, :side, :side] = np.round(np.clip(picture, 0, 255))
        if side > 1:
            picture = picture.reshape(side // 2, 2, side // 2, 2, -1).mean((1, 3))
    return levels
