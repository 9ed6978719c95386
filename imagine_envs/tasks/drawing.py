"""Pictures of grids: shapes in units of cells, smooth at any size, without a display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Color", "Picture"]

Color = tuple[int, int, int]

_FINER = 3
"""Drawn so many times larger and then reduced, which smooths the edges."""


class Picture:
    """A picture of ``height`` × ``width`` cells; x runs to the right and y downwards, both in cells.

    Args:
        height: Rows of cells.
        width: Columns of cells.
        size: Pixels that the longer side should have; cells have the nearest whole number of pixels, at least one.
        background: Colour of the whole.

    Example:
        >>> picture = Picture(6, 9, size=512, background=(250, 250, 250))
        >>> picture.circle(2.5, 0.5, 0.4, (66, 133, 190))
        >>> picture.array().shape
        (342, 513, 3)
    """

    def __init__(self, height: float, width: float, *, size: int, background: Color) -> None:
        import pygame

        self.cell = max(1, round(size / max(height, width)))
        self._scale = self.cell * _FINER
        self._shape = (round(width * self.cell), round(height * self.cell))
        self._surface: Any = pygame.Surface((self._shape[0] * _FINER, self._shape[1] * _FINER))
        self._surface.fill(background)

    def rectangle(self, x: float, y: float, width: float, height: float, color: Color, radius: float = 0.0) -> None:
        """A rectangle with its corner at (x, y), rounded by ``radius``."""
        import pygame

        left, top = round(x * self._scale), round(y * self._scale)
        right, bottom = round((x + width) * self._scale), round((y + height) * self._scale)
        area = pygame.Rect(left, top, right - left, bottom - top)
        pygame.draw.rect(self._surface, color, area, border_radius=round(radius * self._scale))

    def circle(self, x: float, y: float, radius: float, color: Color) -> None:
        """A disc around (x, y)."""
        import pygame

        pygame.draw.circle(self._surface, color, self._at(x, y), max(1.0, radius * self._scale))

    def polygon(self, points: Sequence[tuple[float, float]], color: Color) -> None:
        """A filled polygon."""
        import pygame

        pygame.draw.polygon(self._surface, color, [self._at(x, y) for x, y in points])

    def line(self, start: tuple[float, float], end: tuple[float, float], thickness: float, color: Color) -> None:
        """A line with round ends."""
        import pygame

        width = max(1, round(thickness * self._scale))
        pygame.draw.line(self._surface, color, self._at(*start), self._at(*end), width)
        for point in (start, end):
            pygame.draw.circle(self._surface, color, self._at(*point), width / 2)

    def text(self, x: float, y: float, text: str, height: float, color: Color) -> None:
        """A line of text centred at (x, y)."""
        import pygame

        pygame.font.init()
        written = pygame.font.Font(None, max(6, round(height * self._scale))).render(text, True, color)
        self._surface.blit(written, written.get_rect(center=self._at(x, y)))

    def array(self) -> NDArray[np.uint8]:
        """The picture, uint8 ``[H, W, 3]``, a fresh array."""
        import pygame

        reduced = pygame.transform.smoothscale(self._surface, self._shape)
        return np.ascontiguousarray(pygame.surfarray.array3d(reduced).transpose(1, 0, 2))

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return x * self._scale, y * self._scale
