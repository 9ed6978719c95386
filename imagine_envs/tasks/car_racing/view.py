"""The picture: gymnasium's screen of 1000 × 800 pixels, seen through pixels of any size.

A pixel is the mean colour of the part of that screen which it covers. At 96 × 96 this is what CarRacing-v3 shows (it
draws the screen and reduces it by area); no screen is drawn here, for how much of a pixel a polygon covers can be told
from its edges (:mod:`~imagine_envs.tasks.car_racing.coverage`).

The car stands at three quarters of the height and always looks up; the world turns around it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from imagine_envs.tasks.car_racing.contact import TOUCHED
from imagine_envs.tasks.car_racing.coverage import LAYERS, add_edge
from imagine_envs.tasks.car_racing.motion import HEADING, SPIN, VELOCITY_X, VELOCITY_Y, X, Y
from imagine_envs.tasks.car_racing.options import SHADES
from imagine_envs.tasks.car_racing.shapes import (
    HULL,
    HULL_CORNERS,
    WHEEL_HALF_LENGTH,
    WHEEL_HALF_WIDTH,
    WHEELS,
)
from imagine_envs.tasks.car_racing.track import HALF_WIDTH, KERB, PLAYFIELD
from imagine_envs.tasks.car_racing.tyres import ANGLE, FRAME, OMEGA, PHASE

__all__ = ["SCREEN_HEIGHT", "SCREEN_WIDTH", "draw"]

SCREEN_WIDTH, SCREEN_HEIGHT = 1000, 800

_FADES, _NONE = SHADES.index("fades"), SHADES.index("none")

_ROAD = 102.0
_SHADES = np.array([0.0, 2.0, 5.0])
_GROUND = (102.0, 204.0, 102.0)
_PATCH = 26.0
"""How much greener every fourth square of the ground is."""
_PATCH_SIDE = PLAYFIELD / 20
_STRIPE = 77.0
_HULL_RED = 204.0

_ZOOM, _FIRST_ZOOM = 16.2, 0.6
"""Screen pixels a unit; in the first second the one becomes the other."""

_KERB_REACH = 1 + KERB / HALF_WIDTH
_CAR_X, _CAR_Y = 500.0, 600.0
_BAR_TOP = 700.0
_VISIBLE = 1e-4
"""An instrument that shows less than this shows nothing."""
_CAR_REACH = 4.0
_TILE_REACH = 9.0
"""Units from the middle of a tile's line within which all of the tile lies, its kerb included."""

_LOSS = np.float32(1.001)
"""pygame's reduction cuts off what is behind the point, twice: it makes 100 of an even grey of 102."""

_MOST_CORNERS = 8
_HULL = np.zeros((len(HULL), _MOST_CORNERS, 2))
for _number, _shape in enumerate(HULL):
    _first, _second = _shape[1] - _shape[0], _shape[2] - _shape[1]
    _clockwise = _first[0] * _second[1] - _first[1] * _second[0] < 0
    _HULL[_number, : len(_shape)] = _shape if _clockwise else _shape[::-1]


@njit(cache=True, nogil=True)
def draw(
    rows: Any,
    height: int,
    width: int,
    zooming: bool,
    shading: int,
    digits: Any,
    lowest: int,
    digits_row: int,
    body: Any,
    wheels: Any,
    progress: Any,
    score: Any,
    track: Any,
    edges: Any,
    kerbs: Any,
    tiles: Any,
    out: Any,
) -> None:
    """Draws some rows.

    Args:
        rows: int64 ``[R]``.
        height: Pixels of a picture.
        width: Pixels of a picture.
        zooming: Whether the first second zooms in.
        shading: Index of :data:`~imagine_envs.tasks.car_racing.options.SHADES`.
        digits: uint8 ``[scores, h, w]``: what the score looks like, at the left edge, from the score ``lowest`` on.
            After −1 comes what rounds to 0 from below. What lies beyond shows the nearest.
        lowest: The first score of ``digits``.
        digits_row: Which row of pixels the first one of ``digits`` is.
        body: float64 ``[B, 6]``.
        wheels: float64 ``[B, 4, 9]``.
        progress: int64 ``[B, 3]``: tiles, tiles visited, frames.
        score: float64 ``[B, 2]``.
        track: float64 ``[B, MOST_TILES, 4]``.
        edges: float32 ``[B, MOST_TILES, 4]``.
        kerbs: int8 ``[B, MOST_TILES]``.
        tiles: uint8 ``[B, MOST_TILES]``.
        out: uint8 ``[B, height, width, 3 or 1]``; of one channel it becomes the luma (ITU-R 601).
    """
    shown = min(height, math.ceil(_BAR_TOP * height / SCREEN_HEIGHT))
    sums = np.zeros((shown, width + 2, LAYERS), np.float32)
    field = np.ones((shown, width), np.float32)
    picture = np.empty((height, width, 3), np.float32)
    seen = np.empty(track.shape[1] + 1, np.bool_)
    for index in range(len(rows)):
        row = rows[index]
        seconds = progress[row, 2] * FRAME if zooming else 1.0
        zoom = _FIRST_ZOOM * max(1 - seconds, 0.0) + _ZOOM * min(seconds, 1.0)
        heading = body[row, HEADING]
        cos, sin = math.cos(heading), math.sin(heading)
        stretch_x, stretch_y = width / SCREEN_WIDTH, height / SCREEN_HEIGHT
        # pixel = origin + (world − car) turned so that the car looks up, y downwards
        x_x, x_y = zoom * stretch_x * cos, zoom * stretch_x * sin
        y_x, y_y = zoom * stretch_y * sin, -zoom * stretch_y * cos
        origin_x = _CAR_X * stretch_x - x_x * body[row, X] - x_y * body[row, Y]
        origin_y = _CAR_Y * stretch_y - y_x * body[row, X] - y_y * body[row, Y]
        place = (origin_x, x_x, x_y, origin_y, y_x, y_y)
        reach = math.sqrt((_CAR_X / zoom) ** 2 + (_CAR_Y / zoom) ** 2)

        outside = abs(body[row, X]) + reach > PLAYFIELD or abs(body[row, Y]) + reach > PLAYFIELD
        if outside:
            _draw_field(sums, shown, width, place, field)
        _add_patches(sums, shown, width, place, body[row, X], body[row, Y], reach)
        count = progress[row, 0]
        _add_road(
            sums, shown, width, place, zoom, count, shading, body[row], track[row], edges[row], kerbs[row],
            tiles[row], seen,
        )  # fmt: skip
        _resolve_ground(sums, shown, width, outside, field, picture)
        _draw_car(sums, shown, width, zoom, stretch_x, stretch_y, heading, wheels[row], picture)
        _draw_bar(body[row], wheels[row], picture)
        shows = int(np.rint(score[row, 0])) - lowest + (0 if score[row, 0] < 0 else 1)
        shows = min(max(shows, 0), len(digits) - 1)
        for line in range(digits.shape[1]):
            for column in range(min(width, digits.shape[2])):
                for channel in range(3):
                    picture[digits_row + line, column, channel] = digits[shows, line, column]
        _write(picture, out[row])


@njit(cache=True, nogil=True, inline="always")
def _across(place: Any, x: float, y: float) -> float:
    return place[0] + place[1] * x + place[2] * y


@njit(cache=True, nogil=True, inline="always")
def _down(place: Any, x: float, y: float) -> float:
    return place[3] + place[4] * x + place[5] * y


@njit(cache=True, nogil=True)
def _add_square(
    sums: Any, height: int, width: int, place: Any, x: float, y: float, side: float, first: float, fourth: float
) -> None:
    """Adds the square with its lower left corner at (x, y) in the world."""
    ax, ay = _across(place, x, y + side), _down(place, x, y + side)
    bx, by = _across(place, x + side, y + side), _down(place, x + side, y + side)
    cx, cy = _across(place, x + side, y), _down(place, x + side, y)
    dx, dy = _across(place, x, y), _down(place, x, y)
    if max(ax, bx, cx, dx) <= 0 or min(ax, bx, cx, dx) >= width:
        return
    if max(ay, by, cy, dy) <= 0 or min(ay, by, cy, dy) >= height:
        return
    add_edge(sums, height, width, ax, ay, bx, by, first, 0.0, 0.0, fourth)
    add_edge(sums, height, width, bx, by, cx, cy, first, 0.0, 0.0, fourth)
    add_edge(sums, height, width, cx, cy, dx, dy, first, 0.0, 0.0, fourth)
    add_edge(sums, height, width, dx, dy, ax, ay, first, 0.0, 0.0, fourth)


@njit(cache=True, nogil=True)
def _draw_field(sums: Any, height: int, width: int, place: Any, field: Any) -> None:
    """Writes how much of each pixel shows the playfield; the rest of the screen is black."""
    _add_square(sums, height, width, place, -PLAYFIELD, -PLAYFIELD, 2 * PLAYFIELD, 1.0, 0.0)
    for line in range(height):
        covered = 0.0
        for column in range(width):
            covered += sums[line, column, 0]
            field[line, column] = min(max(covered, 0.0), 1.0)
    sums[:] = 0


@njit(cache=True, nogil=True)
def _add_patches(sums: Any, height: int, width: int, place: Any, x: float, y: float, reach: float) -> None:
    """Layer 4: how much greener the ground is."""
    pair = 2 * _PATCH_SIDE
    for step_x in range(max(-10, math.floor((x - reach) / pair)), min(9, int((x + reach) // pair)) + 1):
        for step_y in range(max(-10, math.floor((y - reach) / pair)), min(9, int((y + reach) // pair)) + 1):
            _add_square(sums, height, width, place, pair * step_x, pair * step_y, _PATCH_SIDE, 0.0, _PATCH)


@njit(cache=True, nogil=True)
def _add_road(
    sums: Any,
    height: int,
    width: int,
    place: Any,
    zoom: float,
    count: int,
    shading: int,
    body: Any,
    track: Any,
    edges: Any,
    kerbs: Any,
    tiles: Any,
    seen: Any,
) -> None:
    """Layer 1: how much of the pixel is road or kerb; 2: its red; 3: its green, which is its blue."""
    far_x, far_y = _TILE_REACH * zoom * width / SCREEN_WIDTH, _TILE_REACH * zoom * height / SCREEN_HEIGHT
    for index in range(count):
        across, down = _across(place, track[index, 2], track[index, 3]), _down(place, track[index, 2], track[index, 3])
        seen[index] = -far_x < across < width + far_x and -far_y < down < height + far_y
    seen[count] = seen[0]
    for index in range(count):
        following = index + 1 if index + 1 < count else 0
        if not (seen[index] or seen[index + 1]):
            continue
        left_x, left_y, right_x, right_y = edges[index, 0], edges[index, 1], edges[index, 2], edges[index, 3]
        ax, ay = _across(place, left_x, left_y), _down(place, left_x, left_y)
        bx, by = _across(place, right_x, right_y), _down(place, right_x, right_y)
        grey = _grey(index, tiles[index], shading) if seen[index] else 0.0
        ahead = _grey(following, tiles[following], shading) if seen[index + 1] else 0.0
        covers = (1.0 if seen[index] else 0.0) - (1.0 if seen[index + 1] else 0.0)
        if covers != 0 or grey != ahead:
            add_edge(sums, height, width, ax, ay, bx, by, covers, grey - ahead, grey - ahead, 0.0)
        if not seen[index]:
            continue
        before = index - 1 if index > 0 else count - 1
        left_x, left_y, right_x, right_y = edges[before, 0], edges[before, 1], edges[before, 2], edges[before, 3]
        cx, cy = _across(place, right_x, right_y), _down(place, right_x, right_y)
        dx, dy = _across(place, left_x, left_y), _down(place, left_x, left_y)
        add_edge(sums, height, width, bx, by, cx, cy, 1.0, grey, grey, 0.0)
        add_edge(sums, height, width, dx, dy, ax, ay, 1.0, grey, grey, 0.0)
        if kerbs[index] != 0:
            # From the middle of both lines outwards; the inner side is the road's own edge.
            more = 0.5 * (_KERB_REACH - 1) * kerbs[index]
            out_x, out_y, far_out_x, far_out_y = more * (bx - ax), more * (by - ay), more * (cx - dx), more * (cy - dy)
            green = 255.0 if index % 2 == 0 else 0.0
            if kerbs[index] > 0:
                _add_quad(sums, height, width, bx, by, bx + out_x, by + out_y, cx + far_out_x, cy + far_out_y,
                          cx, cy, green)  # fmt: skip
            else:
                _add_quad(sums, height, width, ax + out_x, ay + out_y, ax, ay, dx, dy,
                          dx + far_out_x, dy + far_out_y, green)  # fmt: skip


@njit(cache=True, nogil=True, inline="always")
def _grey(index: int, bits: int, shading: int) -> float:
    if shading == _NONE or (shading == _FADES and bits & TOUCHED):
        return _ROAD
    return _ROAD + _SHADES[index % 3]


@njit(cache=True, nogil=True)
def _add_quad(
    sums: Any,
    height: int,
    width: int,
    ax: float,
    ay: float,
    bx: float,
    by: float,
    cx: float,
    cy: float,
    dx: float,
    dy: float,
    green: float,
) -> None:
    add_edge(sums, height, width, ax, ay, bx, by, 1.0, 255.0, green, 0.0)
    add_edge(sums, height, width, bx, by, cx, cy, 1.0, 255.0, green, 0.0)
    add_edge(sums, height, width, cx, cy, dx, dy, 1.0, 255.0, green, 0.0)
    add_edge(sums, height, width, dx, dy, ax, ay, 1.0, 255.0, green, 0.0)


@njit(cache=True, nogil=True)
def _resolve_ground(sums: Any, height: int, width: int, outside: bool, field: Any, picture: Any) -> None:
    """Turns the layers into colours, and clears them."""
    zero, one = np.float32(0), np.float32(1)
    first, second, third = np.float32(_GROUND[0]), np.float32(_GROUND[1]), np.float32(_GROUND[2])
    for line in range(height):
        covered = red = green = patch = zero
        for column in range(width):
            covered += sums[line, column, 0]
            red += sums[line, column, 1]
            green += sums[line, column, 2]
            patch += sums[line, column, 3]
            free, share = one - covered, one
            if covered > one:  # where the road crosses itself it covers a pixel twice: its colours are mixed
                free, share = zero, one / covered
            if outside:
                free *= field[line, column]
            picture[line, column, 0] = first * free + red * share
            picture[line, column, 1] = (second + patch) * free + green * share
            picture[line, column, 2] = third * free + green * share
    sums[:] = 0


@njit(cache=True, nogil=True)
def _draw_car(
    sums: Any,
    height: int,
    width: int,
    zoom: float,
    stretch_x: float,
    stretch_y: float,
    heading: float,
    wheels: Any,
    picture: Any,
) -> None:
    """Layer 1: how much of the pixel is wheel; 2: the grey of its stripe; 3: how much is hull, which lies on top."""
    scale_x, scale_y = zoom * stretch_x, zoom * stretch_y
    middle_x, middle_y = _CAR_X * stretch_x, _CAR_Y * stretch_y
    for wheel in range(4):
        turn = wheels[wheel, ANGLE] - heading
        _add_part(sums, height, width, scale_x, scale_y, middle_x, middle_y, wheel, turn,
                  WHEEL_HALF_LENGTH, -WHEEL_HALF_LENGTH, 1.0, 0.0)  # fmt: skip
        begin, end = wheels[wheel, PHASE], wheels[wheel, PHASE] + 1.2
        behind, far_behind = math.sin(begin) > 0, math.sin(end) > 0
        if not (behind and far_behind):
            ahead, back = math.cos(begin), math.cos(end)
            if behind:
                ahead = math.copysign(1.0, ahead)
            if far_behind:
                back = math.copysign(1.0, back)
            _add_part(sums, height, width, scale_x, scale_y, middle_x, middle_y, wheel, turn,
                      WHEEL_HALF_LENGTH * max(ahead, back), WHEEL_HALF_LENGTH * min(ahead, back),
                      0.0, _STRIPE)  # fmt: skip
    for part in range(len(HULL_CORNERS)):
        corners = HULL_CORNERS[part]
        for corner in range(corners):
            following = corner + 1 if corner + 1 < corners else 0
            add_edge(
                sums,
                height,
                width,
                middle_x + scale_x * _HULL[part, corner, 0],
                middle_y - scale_y * _HULL[part, corner, 1],
                middle_x + scale_x * _HULL[part, following, 0],
                middle_y - scale_y * _HULL[part, following, 1],
                0.0,
                0.0,
                1.0,
                0.0,
            )
    left = max(0, int(middle_x - _CAR_REACH * scale_x) - 1)
    right = min(width, int(middle_x + _CAR_REACH * scale_x) + 2)
    top = max(0, int(middle_y - _CAR_REACH * scale_y) - 1)
    bottom = min(height, int(middle_y + _CAR_REACH * scale_y) + 2)
    for line in range(top, bottom):
        wheel_part = stripe = hull = 0.0
        for column in range(left, right):
            wheel_part += sums[line, column, 0]
            stripe += sums[line, column, 1]
            hull += sums[line, column, 2]
            free, covers = 1 - min(max(wheel_part, 0.0), 1.0), min(max(hull, 0.0), 1.0)
            for channel in range(3):
                below = picture[line, column, channel] * free + stripe
                picture[line, column, channel] = below * (1 - covers) + (_HULL_RED * covers if channel == 0 else 0.0)
        sums[line, left : right + 2] = 0


@njit(cache=True, nogil=True)
def _add_part(
    sums: Any,
    height: int,
    width: int,
    scale_x: float,
    scale_y: float,
    middle_x: float,
    middle_y: float,
    wheel: int,
    turn: float,
    front: float,
    back: float,
    covers: float,
    grey: float,
) -> None:
    """Adds what lies between ``back`` and ``front`` of a wheel."""
    cos, sin = math.cos(turn), math.sin(turn)
    corner_x, corner_y = np.empty(4), np.empty(4)
    for corner in range(4):
        right = WHEEL_HALF_WIDTH if corner in (1, 2) else -WHEEL_HALF_WIDTH
        ahead = front if corner < 2 else back
        corner_x[corner] = middle_x + scale_x * (WHEELS[wheel, 0] + cos * right - sin * ahead)
        corner_y[corner] = middle_y - scale_y * (WHEELS[wheel, 1] + sin * right + cos * ahead)
    for corner in range(4):
        following = (corner + 1) % 4
        add_edge(sums, height, width, corner_x[corner], corner_y[corner], corner_x[following], corner_y[following],
                 covers, grey, 0.0, 0.0)  # fmt: skip


@njit(cache=True, nogil=True)
def _draw_bar(body: Any, wheels: Any, picture: Any) -> None:
    """The black bar with its instruments: speed, the four wheels, steering, gyroscope."""
    height, width, _ = picture.shape
    top = _BAR_TOP * height / SCREEN_HEIGHT
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


@njit(cache=True, nogil=True)
def _add_upright(picture: Any, place: float, value: float, scale: float, red: float, green: float, blue: float) -> None:
    """A bar that grows upwards from a fortieth above the bottom."""
    if abs(value) > _VISIBLE:
        level, end = SCREEN_HEIGHT - 20.0, SCREEN_HEIGHT - 20.0 - 20.0 * scale * value
        _add_box(picture, 25.0 * place, 25.0 * (place + 1), min(level, end), max(level, end), red, green, blue)


@njit(cache=True, nogil=True)
def _add_level(picture: Any, place: float, value: float, scale: float, red: float, green: float, blue: float) -> None:
    """A bar that grows to the right, or to the left."""
    if abs(value) > _VISIBLE:
        level, end = 25.0 * place, 25.0 * (place + scale * value)
        top, bottom = SCREEN_HEIGHT - 80.0, SCREEN_HEIGHT - 40.0
        _add_box(picture, min(level, end), max(level, end), top, bottom, red, green, blue)


@njit(cache=True, nogil=True)
def _add_box(
    picture: Any, left: float, right: float, top: float, bottom: float, red: float, green: float, blue: float
) -> None:
    """A box, in pixels of the screen; pygame draws the pixels of its edges too, so that it is one pixel larger."""
    height, width, _ = picture.shape
    left, right = left * width / SCREEN_WIDTH, (right + 1) * width / SCREEN_WIDTH
    top, bottom = top * height / SCREEN_HEIGHT, (bottom + 1) * height / SCREEN_HEIGHT
    for line in range(max(0, int(top)), min(height, math.ceil(bottom))):
        tall = min(bottom, line + 1.0) - max(top, float(line))
        for column in range(max(0, int(left)), min(width, math.ceil(right))):
            covers = tall * (min(right, column + 1.0) - max(left, float(column)))
            picture[line, column, 0] += covers * (red - picture[line, column, 0])
            picture[line, column, 1] += covers * (green - picture[line, column, 1])
            picture[line, column, 2] += covers * (blue - picture[line, column, 2])


@njit(cache=True, nogil=True)
def _write(picture: Any, out: Any) -> None:
    """Makes whole numbers as pygame's reduction does, and mixes the channels where there is only one."""
    height, width, channels = out.shape
    zero = np.float32(0)
    if channels == 3:
        values, bytes_out = picture.reshape(height * width * 3), out.reshape(height * width * 3)
        for index in range(len(values)):
            bytes_out[index] = np.int32(max(values[index] - _LOSS, zero))
        return
    for line in range(height):
        for column in range(width):
            red = np.int32(max(picture[line, column, 0] - _LOSS, zero))
            green = np.int32(max(picture[line, column, 1] - _LOSS, zero))
            blue = np.int32(max(picture[line, column, 2] - _LOSS, zero))
            out[line, column, 0] = (299 * red + 587 * green + 114 * blue + 500) // 1000
