"""Pictures seen from inside a level: walls, floor and ceiling by columns and rows, then billboards, far ones first.

The view is Doom's: 90° wide, and 5/8 as high as it is wide (its pixels were a fifth higher than wide). Each wall column
is found by stepping from cell to cell along its ray (Amanatides & Woo, "A fast voxel traversal algorithm for ray
tracing", 1987); a line of the floor has one depth. Textures and sprites are sampled from copies of half, a quarter, …
of the size, so that small pictures do not flicker.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

__all__ = ["MOST_BILLBOARDS", "draw"]

MOST_BILLBOARDS = 96
"""In a row; further ones are left out."""

_SLOPE = 0.625
"""Half the height of the view at depth 1; half its width is 1."""

_SIDE, _LEVELS = 64, 7
_NEAREST = 4.0
_FAR = 65_536.0
"""A whole number of textures, so that what is rounded towards zero is not negative."""
_CONTRAST = 16.0
"""By how much walls that stand across x are brighter and those across y darker, as in Doom."""


@njit(cache=True)
def _brightness(light: float, depth: float) -> int:
    """How bright (0 to 256) a surface is: Doom's 32 steps of shade, which distance makes darker."""
    shade = 64.0 - (light + 12.0) / 4.0 - min(24.0, 1_280.0 / depth)
    return int(256.0 - 8.0 * min(31.0, max(0.0, shade)))


@njit(cache=True, nogil=True)
def draw(
    rows: Any,
    cameras: Any,
    xs: Any,
    ys: Any,
    cells: Any,
    height: float,
    light: float,
    floor: int,
    ceiling: int,
    textures: Any,
    billboards: Any,
    counts: Any,
    sprites: Any,
    looks: Any,
    weapons: Any,
    out: Any,
) -> None:
    """Draws some rows into ``out``, uint8 ``[B, H, W, 3]``.

    Args:
        rows: Which rows of the batch, int64 ``[R]``.
        cameras: x, y, height of the eyes and angle in radians, float64 ``[B, 4]``.
        xs: Of the level.
        ys: Of the level.
        cells: Of the level.
        height: Of the level's ceiling.
        light: Of the level.
        floor: Of the level.
        ceiling: Of the level.
        textures: uint8 ``[T, levels, 64, 64, 3]``, each level half as large as the one before, in its corner.
        billboards: x, y, height of the feet and sprite, float64 ``[B, N, 4]``.
        counts: How many billboards each row has, int64 ``[B]``.
        sprites: Colours times opacity, and opacity, uint8 ``[S, levels, 64, 64, 4]``.
        looks: Width and height of each sprite in units, and 1 where it shines, float64 ``[S, 3]``.
        weapons: The sprite that the player holds into the picture, −1 for none, int64 ``[B]``.
        out: Written over.
    """
    high, wide = out.shape[1], out.shape[2]
    depths, wall = np.empty(wide), np.empty((wide, 6), np.int64)
    order, distance = np.empty(MOST_BILLBOARDS, np.int64), np.empty(MOST_BILLBOARDS)
    for row in rows:
        picture = out[row]
        x, y, eye, angle = cameras[row, 0], cameras[row, 1], cameras[row, 2], cameras[row, 3]
        ahead_x, ahead_y = math.cos(angle), math.sin(angle)
        _find_walls(x, y, eye, ahead_x, ahead_y, xs, ys, cells, height, light, high, depths, wall)
        _paint_flats(picture, x, y, eye, ahead_x, ahead_y, height, light, textures[floor], textures[ceiling], wall)
        _paint_walls(picture, eye, height, textures, depths, wall)
        count = _sort(x, y, ahead_x, ahead_y, billboards[row], min(counts[row], MOST_BILLBOARDS), order, distance)
        per_unit = 0.5 * high / _SLOPE
        for place in range(count):
            number, depth = order[place], distance[place]
            beside_x, beside_y = billboards[row, number, 0] - x, billboards[row, number, 1] - y
            sprite = int(billboards[row, number, 3])
            centre = 0.5 * wide * (1.0 + (beside_x * ahead_y - beside_y * ahead_x) / depth)
            half = 0.25 * wide * looks[sprite, 0] / depth
            bottom = 0.5 * high + (eye - billboards[row, number, 2]) * per_unit / depth
            top = bottom - looks[sprite, 1] * per_unit / depth
            shade = 256 if looks[sprite, 2] > 0 else _brightness(light, depth)
            _paint_sprite(picture, sprites[sprite], centre - half, top, centre + half, bottom, shade, depth, depths)
        if weapons[row] >= 0:
            sprite = weapons[row]
            half, tall = 0.5 * wide * looks[sprite, 0] / 320.0, high * looks[sprite, 1] / 200.0
            left, right = 0.5 * wide - half, 0.5 * wide + half
            _paint_sprite(picture, sprites[sprite], left, high - tall, right, high, 256, 0.0, depths)


@njit(cache=True)
def _find_walls(
    x: float,
    y: float,
    eye: float,
    ahead_x: float,
    ahead_y: float,
    xs: Any,
    ys: Any,
    cells: Any,
    height: float,
    light: float,
    high: int,
    depths: Any,
    wall: Any,
) -> None:
    """Follows the ray of each column to its wall.

    ``wall`` (int64 ``[W, 6]``) gets the line where the wall begins and the one behind its end, its texture, which copy
    and which column of that, and its brightness.
    """
    wide = len(depths)
    per_unit = 0.5 * high / _SLOPE
    home_x, home_y = 0, 0
    while home_x < len(xs) - 2 and x >= xs[home_x + 1]:
        home_x += 1
    while home_y < len(ys) - 2 and y >= ys[home_y + 1]:
        home_y += 1
    for column in range(wide):
        side = (2.0 * column + 1.0) / wide - 1.0
        ray_x, ray_y = ahead_x + ahead_y * side, ahead_y - ahead_x * side
        cell_x, cell_y = home_x, home_y
        kind, depth, across_x = cells[cell_y, cell_x], 0.0, True
        while True:
            to_x = to_y = 1e30
            if abs(ray_x) > 1e-12:
                to_x = (xs[cell_x + (ray_x > 0)] - x) / ray_x
            if abs(ray_y) > 1e-12:
                to_y = (ys[cell_y + (ray_y > 0)] - y) / ray_y
            across_x = to_x < to_y
            if across_x:
                depth = to_x
                cell_x += 1 if ray_x > 0 else -1
            else:
                depth = to_y
                cell_y += 1 if ray_y > 0 else -1
            if cell_x < 0 or cell_y < 0 or cell_x >= len(xs) - 1 or cell_y >= len(ys) - 1:
                break
            if cells[cell_y, cell_x] < 0:
                break
            kind = cells[cell_y, cell_x]
        depth = max(depth, 1e-3)
        depths[column] = depth
        level = _level_of(2.0 * depth / wide)
        where = y + depth * ray_y if across_x else x + depth * ray_x
        wall[column, 0] = max(0, math.ceil(0.5 * high - (height - eye) * per_unit / depth - 0.5))
        wall[column, 1] = min(high, math.ceil(0.5 * high + eye * per_unit / depth - 0.5))
        wall[column, 2], wall[column, 3] = kind, level
        wall[column, 4] = (math.floor(where) & (_SIDE - 1)) >> level
        wall[column, 5] = _brightness(light + _CONTRAST if across_x else light - _CONTRAST, depth)


@njit(cache=True)
def _paint_flats(
    picture: Any,
    x: float,
    y: float,
    eye: float,
    ahead_x: float,
    ahead_y: float,
    height: float,
    light: float,
    floor: Any,
    ceiling: Any,
    wall: Any,
) -> None:
    """Paints whole lines of floor and ceiling, wherever some column shows them."""
    high, wide = picture.shape[0], picture.shape[1]
    lowest, highest = 0, high
    for column in range(wide):
        lowest, highest = max(lowest, wall[column, 0]), min(highest, wall[column, 1])
    for line in range(high):
        if lowest <= line < highest:
            continue
        below = (2.0 * line + 1.0) / high - 1.0
        rises = below < 0
        texture = ceiling if rises else floor
        depth = ((eye - height) if rises else eye) / (_SLOPE * below) if below != 0.0 else 0.0
        level = _level_of(2.0 * depth / wide)
        shade = _brightness(light, max(depth, 1.0))
        step_x, step_y = 2.0 * depth * ahead_y / wide, -2.0 * depth * ahead_x / wide
        from_x = x + depth * (ahead_x - ahead_y) + 0.5 * step_x + _FAR
        from_y = y + depth * (ahead_y + ahead_x) + 0.5 * step_y + _FAR
        for column in range(wide):
            u = (int(from_x + column * step_x) & (_SIDE - 1)) >> level
            v = (int(from_y + column * step_y) & (_SIDE - 1)) >> level
            for channel in range(3):
                picture[line, column, channel] = (texture[level, v, u, channel] * shade) >> 8


@njit(cache=True)
def _paint_walls(picture: Any, eye: float, height: float, textures: Any, depths: Any, wall: Any) -> None:
    """Paints the wall of each column."""
    high = picture.shape[0]
    for column in range(picture.shape[1]):
        kind, level, u, shade = wall[column, 2], wall[column, 3], wall[column, 4], wall[column, 5]
        step = 2.0 * _SLOPE * depths[column] / high
        down = height - eye + _FAR - (0.5 * high - 0.5) * step
        for line in range(wall[column, 0], wall[column, 1]):
            v = (int(down + line * step) & (_SIDE - 1)) >> level
            for channel in range(3):
                picture[line, column, channel] = (textures[kind, level, v, u, channel] * shade) >> 8


@njit(cache=True)
def _sort(
    x: float, y: float, ahead_x: float, ahead_y: float, billboards: Any, count: int, order: Any, distance: Any
) -> int:
    """Puts the billboards that are ahead in order, far ones first, and returns their number."""
    found = 0
    for number in range(count):
        depth = (billboards[number, 0] - x) * ahead_x + (billboards[number, 1] - y) * ahead_y
        if depth < _NEAREST:
            continue
        place = found
        while place > 0 and distance[place - 1] < depth:
            distance[place], order[place] = distance[place - 1], order[place - 1]
            place -= 1
        distance[place], order[place] = depth, number
        found += 1
    return found


@njit(cache=True)
def _level_of(texels: float) -> int:
    """The copy of a texture in which a pixel, so many texels wide, is about one."""
    level = 0
    while texels > 1.0 and level < _LEVELS - 1:
        texels *= 0.5
        level += 1
    return level


@njit(cache=True)
def _paint_sprite(
    picture: Any,
    sprite: Any,
    left: float,
    top: float,
    right: float,
    bottom: float,
    shade: int,
    depth: float,
    depths: Any,
) -> None:
    """Paints a sprite over a rectangle of the picture, between whole texels, where no wall is nearer."""
    high, wide = picture.shape[0], picture.shape[1]
    across, down = right - left, bottom - top
    level = 0
    while (_SIDE >> level) > 1.4 * max(across, down) and level < _LEVELS - 1:
        level += 1
    size = _SIDE >> level
    reach_x, reach_y = 0.5 * across / size, 0.5 * down / size
    for column in range(max(0, math.floor(left - reach_x)), min(wide, math.ceil(right + reach_x))):
        if depths[column] < depth:
            continue
        u = (column + 0.5 - left) / across * size - 0.5
        first = math.floor(u)
        u -= first
        if first < -1 or first >= size:
            continue
        for line in range(max(0, math.floor(top - reach_y)), min(high, math.ceil(bottom + reach_y))):
            v = (line + 0.5 - top) / down * size - 0.5
            upper = math.floor(v)
            v -= upper
            if upper < -1 or upper >= size:
                continue
            red = green = blue = opacity = 0.0
            for corner in range(4):
                a, b = upper + (corner >> 1), first + (corner & 1)
                if a < 0 or b < 0 or a >= size or b >= size:
                    continue
                weight = (v if corner >> 1 else 1.0 - v) * (u if corner & 1 else 1.0 - u)
                opacity += weight * sprite[level, a, b, 3]
                red += weight * sprite[level, a, b, 0]
                green += weight * sprite[level, a, b, 1]
                blue += weight * sprite[level, a, b, 2]
            if opacity < 1.0:
                continue
            rest, lit = 1.0 - opacity / 255.0, shade / 256.0
            picture[line, column, 0] = int(rest * picture[line, column, 0] + lit * red)
            picture[line, column, 1] = int(rest * picture[line, column, 1] + lit * green)
            picture[line, column, 2] = int(rest * picture[line, column, 2] + lit * blue)
