"""What the cells of Sokoban look like: planes, single pixels, and sprites of any size."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imagine_envs.tasks.sokoban.levels import BOX, PLAYER, SYMBOLS, TARGET, WALL

__all__ = ["LOOKS", "TINY", "looks", "sprites"]

LOOKS = ("planes", "tiny", "rgb")

TINY = {
    WALL: (0, 0, 0),
    0: (243, 248, 238),
    TARGET: (254, 126, 125),
    BOX | TARGET: (254, 95, 56),
    BOX: (142, 121, 56),
    PLAYER: (160, 212, 56),
    PLAYER | TARGET: (219, 212, 56),
}
"""The colours of the I2A paper's Sokoban with one pixel a cell, as gym-sokoban has them."""

_SPRITE = 8
"""Pixels of a sprite in observations: ten cells make 80, as in the paper."""

_FLOOR, _TILE = TINY[0], (232, 238, 226)
_BRICK, _BRICK_LIGHT, _MORTAR = (46, 50, 60), (60, 65, 77), (20, 22, 28)
_RING, _RING_PALE = (246, 104, 104), (254, 190, 186)
_WOOD, _WOOD_EDGE, _WOOD_LINE = (168, 142, 68), (104, 86, 34), (132, 110, 48)
_DONE, _DONE_EDGE, _DONE_LINE = (254, 112, 70), (186, 52, 22), (222, 78, 40)
_BODY, _BODY_EDGE, _EYE, _PUPIL = (150, 208, 44), (88, 138, 16), (252, 253, 250), (34, 40, 30)
_WARM, _WARM_EDGE = (226, 214, 58), (160, 140, 14)


def looks(observation: str) -> NDArray[np.uint8]:
    """What each cell looks like in an observation, by its bits.

    Args:
        observation: "planes" (four channels: wall, target, box, player; 255 where there is one, else 0), "tiny" (one
            RGB pixel a cell) or "rgb" (a sprite of 8 × 8 pixels a cell).

    Returns:
        uint8 ``[16, s, s, C]``.

    Raises:
        ValueError: If ``observation`` is none of these.
    """
    if observation == "planes":
        bits = np.array([WALL, TARGET, BOX, PLAYER])
        return np.where(np.arange(16)[:, None] & bits, 255, 0).astype(np.uint8)[:, None, None]
    if observation == "tiny":
        colours = np.zeros((16, 1, 1, 3), dtype=np.uint8)
        for bits_of_cell, colour in TINY.items():
            colours[bits_of_cell] = colour
        return colours
    if observation == "rgb":
        return sprites(_SPRITE).copy()
    raise ValueError(f"observation={observation!r} must be one of {', '.join(map(repr, LOOKS))}")


@lru_cache(maxsize=16)
def sprites(size: int) -> NDArray[np.uint8]:
    """Sprites of ``size`` × ``size`` pixels, by the bits of the cell, uint8 ``[16, size, size, 3]``, read only.

    They are laid out on eighths of a cell, so that lines are sharp at 8 pixels and at every multiple of it.
    """
    pictures = np.zeros((16, size, size, 3), dtype=np.uint8)
    for bits in SYMBOLS.values():
        pictures[bits] = _drawn(bits, size)
    pictures.flags.writeable = False
    return pictures


def _drawn(bits: int, size: int) -> NDArray[np.uint8]:
    canvas = _Canvas(size)
    if bits & WALL:
        _draw_wall(canvas)
        return canvas.picture()
    canvas.fill(_FLOOR)
    canvas.box(7.5, 0, 0.5, 8, _TILE)
    canvas.box(0, 7.5, 8, 0.5, _TILE)
    if bits & TARGET and not bits & BOX:
        canvas.disc(4, 4, 3, _RING)
        canvas.disc(4, 4, 2.1, _RING_PALE)
        canvas.disc(4, 4, 1.1, _RING)
    if bits & BOX:
        _draw_crate(canvas, *((_DONE, _DONE_EDGE, _DONE_LINE) if bits & TARGET else (_WOOD, _WOOD_EDGE, _WOOD_LINE)))
    if bits & PLAYER:
        if bits & TARGET:
            canvas.disc(4, 4, 3.9, _RING)
            canvas.disc(4, 4, 3.6, _RING_PALE)
        _draw_player(canvas, *((_WARM, _WARM_EDGE) if bits & TARGET else (_BODY, _BODY_EDGE)))
    return canvas.picture()


def _draw_wall(canvas: _Canvas) -> None:
    canvas.fill(_MORTAR)
    for x, y, width in ((0, 0, 5), (6, 0, 2), (0, 4, 1), (2, 4, 6)):
        canvas.box(x, y, width, 3, _BRICK)
        canvas.box(x, y, width, 1, _BRICK_LIGHT)


def _draw_crate(canvas: _Canvas, face: tuple[int, ...], edge: tuple[int, ...], line: tuple[int, ...]) -> None:
    canvas.box(0.5, 0.5, 7, 7, edge)
    canvas.box(1, 1, 6, 6, face)
    canvas.stripe(1, 1, 7, 7, 0.6, line)
    canvas.stripe(1, 7, 7, 1, 0.6, line)
    for x, y, width, height in ((1, 1, 6, 1), (1, 6, 6, 1), (1, 1, 1, 6), (6, 1, 1, 6)):
        canvas.box(x, y, width, height, face)
    for x, y in ((1, 1), (6, 1), (1, 6), (6, 6)):
        canvas.box(x + 0.25, y + 0.25, 0.5, 0.5, edge)


def _draw_player(canvas: _Canvas, body: tuple[int, ...], edge: tuple[int, ...]) -> None:
    canvas.disc(4, 4, 3.2, edge)
    canvas.disc(4, 4, 2.7, body)
    for x in (2.6, 5.4):
        canvas.disc(x, 3.4, 0.9, _EYE)
        canvas.disc(x, 3.5, 0.55, _PUPIL)
    canvas.box(3, 5.2, 2, 0.6, edge)


class _Canvas:
    """A cell that is drawn on in eighths and then reduced to its pixels, which smooths the edges."""

    def __init__(self, size: int) -> None:
        self._size, self._finer = size, -(-64 // size)
        points = (np.arange(size * self._finer) + 0.5) * 8 / (size * self._finer)
        self._x, self._y = points[None, :], points[:, None]
        self._pixels = np.zeros((len(points), len(points), 3))

    def fill(self, colour: tuple[int, ...]) -> None:
        self._pixels[:] = colour

    def box(self, x: float, y: float, width: float, height: float, colour: tuple[int, ...]) -> None:
        inside = (self._x >= x) & (self._x < x + width) & (self._y >= y) & (self._y < y + height)
        self._pixels[inside] = colour

    def disc(self, x: float, y: float, radius: float, colour: tuple[int, ...]) -> None:
        self._pixels[(self._x - x) ** 2 + (self._y - y) ** 2 < radius**2] = colour

    def stripe(self, x: float, y: float, to_x: float, to_y: float, half: float, colour: tuple[int, ...]) -> None:
        dx, dy = to_x - x, to_y - y
        across = np.abs((self._x - x) * dy - (self._y - y) * dx) / np.hypot(dx, dy)
        along = ((self._x - x) * dx + (self._y - y) * dy) / (dx * dx + dy * dy)
        self._pixels[(across < half) & (along >= 0) & (along <= 1)] = colour

    def picture(self) -> NDArray[np.uint8]:
        parts = self._pixels.reshape(self._size, self._finer, self._size, self._finer, 3)
        return np.round(parts.mean((1, 3))).astype(np.uint8)
