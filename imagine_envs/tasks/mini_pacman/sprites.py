"""How MiniPacman looks: a pixel a cell, sprites of 8 × 8 pixels, and pictures of any size."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_envs.tasks.drawing import Color, Picture
from imagine_envs.tasks.mini_pacman.kernel import FOOD, PILL, POWER, TILE_COUNT

__all__ = ["TILES", "codes_of", "draw_scene"]

_SPRITE = 8

_NIGHT, _WALL_EDGE, _WALL, _CRUMB, _PILL = (16, 18, 32), (72, 92, 190), (30, 36, 84), (240, 202, 160), (250, 236, 214)
_PACMAN, _EYE, _PUPIL, _SCARED, _SCARED_END = (
    (252, 216, 72),
    (250, 250, 252),
    (30, 40, 90),
    (74, 108, 236),
    (214, 222, 250),
)
_GHOSTS: tuple[Color, ...] = ((232, 82, 76), (240, 146, 200), (88, 200, 214), (240, 160, 70))
_DIRECTIONS = ((1, 0), (0, -1), (-1, 0), (0, 1))


@functools.cache
def tiny_tiles() -> NDArray[np.uint8]:
    """The colours of the paper's frames, ``[codes, 1, 1, 3]``; a ghost turns from red to yellow with Pacman's power."""
    colors = [(0, 0, 0), (255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0)]
    colors += [(255, round(255 * power / POWER), 0) for power in range(POWER + 1)]
    return np.array(colors, np.uint8).reshape(TILE_COUNT, 1, 1, 3)


@functools.cache
def sprite_tiles() -> NDArray[np.uint8]:
    """The same as sprites, ``[codes, 8, 8, 3]``."""
    drawings: list[Callable[[Picture], None]] = [lambda picture: None, _draw_wall, _draw_food, _draw_pill]
    drawings.append(lambda picture: _draw_pacman(picture, 0, 0, 0))
    tiles = [_tile(draw) for draw in drawings]
    for power in range(POWER + 1):
        tiles.append(_tile(functools.partial(_draw_ghost, x=0, y=0, heading=0, power=power, number=0)))
    return np.stack(tiles)


TILES: dict[str, Callable[[], NDArray[np.uint8]]] = {"tiny": tiny_tiles, "rgb": sprite_tiles}
"""Kind of observation → its tiles, ``[codes, s, s, 3]``."""


def codes_of(images: NDArray[Any], tiles: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Which tile each cell of ``[B, H · s, W · s, 3]`` shows, int64 ``[B, H, W]``; the nearest one if none fits."""
    batch, height, width, channels = images.shape
    side = tiles.shape[1]
    cells = images.reshape(batch, height // side, side, width // side, side, channels).transpose(0, 1, 3, 2, 4, 5)
    flat = cells.reshape(-1, side * side * channels).astype(np.float32)  # in which all sums below are exact
    known = tiles.reshape(len(tiles), -1).astype(np.float32)
    distance = np.square(known).sum(1) - 2 * flat @ known.T  # the cell's own square is the same for all
    return distance.argmin(1).reshape(batch, height // side, width // side)


def draw_scene(
    walls: NDArray[np.bool_],
    board: NDArray[np.uint8],
    pacman: tuple[int, int],
    ghosts: Sequence[tuple[int, int]],
    power: int,
    size: int,
) -> NDArray[np.uint8]:
    """A picture of one row.

    Args:
        walls: bool ``[H, W]``.
        board: Bits of food and pills, uint8 ``[H, W]``.
        pacman: Cell and direction.
        ghosts: Those that are alive, cell and direction each.
        power: Steps that the pill still lasts.
        size: Pixels of the longer side, about.
    """
    height, width = walls.shape
    picture = Picture(height, width, size=size, background=_NIGHT)
    for y, x in np.argwhere(walls):
        _draw_wall_among(picture, walls, int(x), int(y))
    for y, x in np.argwhere(board & PILL != 0):
        _draw_pill(picture, x, y)
    for y, x in np.argwhere((board & FOOD != 0) & (board & PILL == 0)):
        _draw_food(picture, x, y)
    cell, facing = pacman
    _draw_pacman(picture, cell % width, cell // width, facing)
    for number, (cell, heading) in enumerate(ghosts):
        _draw_ghost(picture, cell % width, cell // width, heading, power, number)
    return picture.array()


def _tile(draw: Callable[[Picture], None]) -> NDArray[np.uint8]:
    picture = Picture(1, 1, size=_SPRITE, background=_NIGHT)
    draw(picture)
    return picture.array()


def _draw_wall(picture: Picture, x: float = 0, y: float = 0) -> None:
    picture.rectangle(x, y, 1, 1, _WALL_EDGE)
    picture.rectangle(x + 0.14, y + 0.14, 0.72, 0.72, _WALL)


def _draw_wall_among(picture: Picture, walls: NDArray[np.bool_], x: int, y: int) -> None:
    """A wall that grows together with its neighbours: a lit edge only where there is floor."""
    padded = np.pad(walls, 1, constant_values=True)

    def is_wall(right: int, down: int) -> bool:
        return bool(padded[y + 1 + down, x + 1 + right])

    picture.rectangle(x, y, 1, 1, _WALL)
    edge = 0.12
    for right, down in _DIRECTIONS:
        if not is_wall(right, down):
            left, top = x + (1 - edge) * (right == 1), y + (1 - edge) * (down == 1)
            picture.rectangle(left, top, edge if right else 1, edge if down else 1, _WALL_EDGE)
    for right in (-1, 1):
        for down in (-1, 1):
            if is_wall(right, 0) and is_wall(0, down) and not is_wall(right, down):
                left, top = x + (1 - edge) * (right == 1), y + (1 - edge) * (down == 1)
                picture.rectangle(left, top, edge, edge, _WALL_EDGE)


def _draw_food(picture: Picture, x: float = 0, y: float = 0) -> None:
    picture.circle(x + 0.5, y + 0.5, 0.1, _CRUMB)


def _draw_pill(picture: Picture, x: float = 0, y: float = 0) -> None:
    picture.circle(x + 0.5, y + 0.5, 0.29, _PILL)


def _draw_pacman(picture: Picture, x: float, y: float, facing: int) -> None:
    picture.circle(x + 0.5, y + 0.5, 0.44, _PACMAN)
    right, down = _DIRECTIONS[facing]
    mouth = [(x + 0.5 - 0.1 * right, y + 0.5 - 0.1 * down)]
    for side in (-0.34, 0.34):
        mouth.append((x + 0.5 + 0.5 * right + side * down, y + 0.5 + 0.5 * down + side * right))
    picture.polygon(mouth, _NIGHT)


def _draw_ghost(picture: Picture, x: float, y: float, heading: int, power: int, number: int) -> None:
    """A ghost of the colour of its number; blue while it can be eaten, and paler towards the end."""
    color = _GHOSTS[number % len(_GHOSTS)]
    if power:
        share = 1 - power / POWER
        red, green, blue = (round(a + (b - a) * share) for a, b in zip(_SCARED, _SCARED_END, strict=True))
        color = (red, green, blue)
    picture.circle(x + 0.5, y + 0.46, 0.38, color)
    picture.rectangle(x + 0.12, y + 0.46, 0.76, 0.34, color)
    for foot in range(3):
        picture.circle(x + 0.247 + 0.253 * foot, y + 0.8, 0.127, color)
    right, down = _DIRECTIONS[heading]
    for side in (-0.15, 0.15):
        picture.circle(x + 0.5 + side + 0.04 * right, y + 0.42 + 0.04 * down, 0.11, _EYE)
        picture.circle(x + 0.5 + side + 0.09 * right, y + 0.42 + 0.09 * down, 0.06, _PUPIL)
