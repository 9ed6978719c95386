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

from imagine_envs.tasks.car_racing.car_view import draw_car
from imagine_envs.tasks.car_racing.compiled import inner, kernel
from imagine_envs.tasks.car_racing.contact import TOUCHED
from imagine_envs.tasks.car_racing.coverage import LAYERS, add_edge
from imagine_envs.tasks.car_racing.frames import FRAME_COST, FRAMES, TILES
from imagine_envs.tasks.car_racing.instruments import draw_bar
from imagine_envs.tasks.car_racing.motion import HEADING, X, Y
from imagine_envs.tasks.car_racing.options import SHADES
from imagine_envs.tasks.car_racing.screen import BAR_TOP, CAR_X, CAR_Y, SCREEN_HEIGHT, SCREEN_WIDTH
from imagine_envs.tasks.car_racing.track import HALF_WIDTH, KERB, PLAYFIELD
from imagine_envs.tasks.car_racing.tyres import FRAME

__all__ = ["draw"]

_FADES, _NONE = SHADES.index("fades"), SHADES.index("none")

_ROAD = 102.0
_SHADES = np.array([0.0, 2.0, 5.0])
_GROUND = (102.0, 204.0, 102.0)
_PATCH = 26.0
"""How much greener every fourth square of the ground is."""
_PATCH_SIDE = PLAYFIELD / 20

_ZOOM, _FIRST_ZOOM = 16.2, 0.6
"""Screen pixels a unit; in the first second the one becomes the other."""

_KERB_REACH = 1 + KERB / HALF_WIDTH
_TILE_REACH = 9.0
"""Units from the middle of a tile's line within which all of the tile lies, its kerb included."""

_LOSS = np.float32(1.001)
"""pygame's reduction cuts off what is behind the point, twice: it makes 100 of an even grey of 102."""

_GROWTH = 0.5
"""pygame fills the pixels of a shape's edges too: it is larger by half a screen pixel on every side, on average."""


@kernel
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
        wheels: float64 ``[B, 4, 10]``.
        progress: int64 ``[B, 3]``: tiles, tiles visited, frames.
        score: float64 ``[B, 2]``.
        track: float64 ``[B, MOST_TILES, 4]``.
        edges: float32 ``[B, MOST_TILES, 4]``.
        kerbs: int8 ``[B, MOST_TILES]``.
        tiles: uint8 ``[B, MOST_TILES]``.
        out: uint8 ``[B, height, width, 3 or 1]``; of one channel it becomes the luma (ITU-R 601).
    """
    shown = min(height, math.ceil(BAR_TOP * height / SCREEN_HEIGHT))
    sums = np.zeros((shown, width + 2, LAYERS), np.float32)
    field = np.ones((shown, width), np.float32)
    picture = np.empty((height, width, 3), np.float32)
    seen = np.empty(track.shape[1] + 1, np.bool_)
    for index in range(len(rows)):
        row = rows[index]
        seconds = progress[row, FRAMES] * FRAME if zooming else 1.0
        zoom = _FIRST_ZOOM * max(1 - seconds, 0.0) + _ZOOM * min(seconds, 1.0)
        heading = body[row, HEADING]
        cos, sin = math.cos(heading), math.sin(heading)
        stretch_x, stretch_y = width / SCREEN_WIDTH, height / SCREEN_HEIGHT
        # pixel = origin + (world − car) turned so that the car looks up, y downwards
        x_x, x_y = zoom * stretch_x * cos, zoom * stretch_x * sin
        y_x, y_y = zoom * stretch_y * sin, -zoom * stretch_y * cos
        origin_x = CAR_X * stretch_x - x_x * body[row, X] - x_y * body[row, Y]
        origin_y = CAR_Y * stretch_y - y_x * body[row, X] - y_y * body[row, Y]
        place = (origin_x, x_x, x_y, origin_y, y_x, y_y)
        grown = _GROWTH / zoom
        reach = math.sqrt((CAR_X / zoom) ** 2 + (CAR_Y / zoom) ** 2)

        outside = abs(body[row, X]) + reach > PLAYFIELD or abs(body[row, Y]) + reach > PLAYFIELD
        if outside:
            _draw_field(sums, shown, width, place, grown, field)
        _add_patches(sums, shown, width, place, grown, body[row, X], body[row, Y], reach)
        count = progress[row, TILES]
        _add_road(
            sums, shown, width, place, zoom, grown, count, shading, track[row], edges[row], kerbs[row],
            tiles[row], seen,
        )  # fmt: skip
        _resolve_ground(sums, shown, width, outside, field, picture)
        draw_car(sums, height, width, zoom, heading, wheels[row], picture)
        draw_bar(body[row], wheels[row], picture)
        # CarRacing-v3 draws before it takes the price of the frame.
        shown_score = score[row, 0] + (FRAME_COST if progress[row, FRAMES] > 1 else 0.0)
        shows = int(np.rint(shown_score)) - lowest + (0 if shown_score < 0 else 1)
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


@inner
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


@inner
def _draw_field(sums: Any, height: int, width: int, place: Any, grown: float, field: Any) -> None:
    """Writes how much of each pixel shows the playfield; the rest of the screen is black."""
    least, side = -PLAYFIELD - grown, 2 * (PLAYFIELD + grown)
    _add_square(sums, height, width, place, least, least, side, 1.0, 0.0)
    for line in range(height):
        covered = 0.0
        for column in range(width):
            covered += sums[line, column, 0]
            field[line, column] = min(max(covered, 0.0), 1.0)
    sums[:] = 0


@inner
def _add_patches(
    sums: Any, height: int, width: int, place: Any, grown: float, x: float, y: float, reach: float
) -> None:
    """Layer 4: how much greener the ground is."""
    pair, side = 2 * _PATCH_SIDE, _PATCH_SIDE + 2 * grown
    for step_x in range(max(-10, math.floor((x - reach) / pair)), min(9, int((x + reach) // pair)) + 1):
        for step_y in range(max(-10, math.floor((y - reach) / pair)), min(9, int((y + reach) // pair)) + 1):
            _add_square(sums, height, width, place, pair * step_x - grown, pair * step_y - grown, side, 0.0, _PATCH)


@inner
def _add_road(
    sums: Any,
    height: int,
    width: int,
    place: Any,
    zoom: float,
    grown: float,
    count: int,
    shading: int,
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
    wider = 0.5 * grown / HALF_WIDTH
    for index in range(count):
        following = index + 1 if index + 1 < count else 0
        if not (seen[index] or seen[index + 1]):
            continue
        ax, ay, bx, by = _line(place, edges[index], wider)
        grey = _grey(index, tiles[index], shading) if seen[index] else 0.0
        ahead = _grey(following, tiles[following], shading) if seen[index + 1] else 0.0
        covers = (1.0 if seen[index] else 0.0) - (1.0 if seen[index + 1] else 0.0)
        if covers != 0 or grey != ahead:
            add_edge(sums, height, width, ax, ay, bx, by, covers, grey - ahead, grey - ahead, 0.0)
        if not seen[index]:
            continue
        before = index - 1 if index > 0 else count - 1
        dx, dy, cx, cy = _line(place, edges[before], wider)
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
def _line(place: Any, edge: Any, wider: float) -> Any:
    """The left and the right end of a line across the road in pixels, each moved out by that part of its length."""
    more_x, more_y = wider * (edge[2] - edge[0]), wider * (edge[3] - edge[1])
    left_x, left_y, right_x, right_y = edge[0] - more_x, edge[1] - more_y, edge[2] + more_x, edge[3] + more_y
    return (
        _across(place, left_x, left_y),
        _down(place, left_x, left_y),
        _across(place, right_x, right_y),
        _down(place, right_x, right_y),
    )


@njit(cache=True, nogil=True, inline="always")
def _grey(index: int, bits: int, shading: int) -> float:
    if shading == _NONE or (shading == _FADES and bits & TOUCHED):
        return _ROAD
    return _ROAD + _SHADES[index % 3]


@inner
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


@inner
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


@inner
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
