"""The pictures of the Doom tasks: textures and sprites, made of formulas, all our own.

Their mean colours and sizes are near those that the engine shows, so that small pictures of both look alike.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from imagine_envs.tasks.doom.canvas import SIDE, Canvas, Color, halved

__all__ = [
    "ARMOR",
    "BLOCKS",
    "BRICKS",
    "BURST",
    "DEMON",
    "DEMON_DEAD",
    "FIREBALL",
    "GRATING",
    "IMP",
    "IMP_RAISES",
    "IMP_STEPS",
    "MEDKIT",
    "MOSS",
    "NIGHT",
    "PISTOL",
    "PISTOL_FIRES",
    "PLATES",
    "ROOM_WALLS",
    "SLIME",
    "STONES",
    "TILES",
    "TUNNEL",
    "sprite_looks",
    "sprites",
    "textures",
]

BRICKS, PLATES, BLOCKS, TILES, GRATING, MOSS, SLIME, NIGHT, TUNNEL, STONES = range(10)
"""Numbers of textures."""

ROOM_WALLS = range(10, 18)
"""Textures of the eight rooms of My Way Home."""

IMP, IMP_STEPS, IMP_RAISES, FIREBALL, BURST, DEMON, DEMON_DEAD, MEDKIT, ARMOR, PISTOL, PISTOL_FIRES = range(11)
"""Numbers of sprites."""


@functools.cache
def textures() -> NDArray[np.uint8]:
    """All textures, uint8 ``[T, levels, 64, 64, 3]``."""
    drawn = (
        lambda: _masonry((124, 98, 76), (84, 64, 48), rows=8, columns=4, seed=1),
        lambda: _streaks((82, 82, 82), 0.05, seed=2),
        lambda: _masonry((90, 69, 46), (42, 30, 18), rows=4, columns=2, seed=3),
        lambda: _masonry((120, 96, 75), (92, 72, 55), rows=2, columns=2, seed=4),
        _grating,
        lambda: _masonry((72, 76, 50), (40, 42, 24), rows=4, columns=2, seed=5),
        lambda: _waves((24, 49, 14), seed=6),
        lambda: _waves((0, 0, 25), seed=7),
        lambda: _masonry((54, 34, 19), (20, 11, 6), rows=2, columns=1, seed=8),
        lambda: _masonry((64, 43, 24), (34, 22, 12), rows=4, columns=3, seed=9),
        lambda: _panels((84, 84, 82), (28, 28, 28), 2, seed=10),
        lambda: _bars((8, 8, 52), (0, 0, 10), 8, seed=11),
        lambda: _panels((106, 106, 104), (62, 62, 62), 1, seed=12),
        lambda: _panels((150, 150, 150), (96, 96, 96), 2, seed=13),
        _lamps,
        lambda: _streaks((140, 5, 3), 0.05, seed=15),
        _lights,
        lambda: _bars((44, 92, 30), (12, 40, 8), 11, seed=17),
    )
    return np.stack([halved(draw().array()[:, :, :3]) for draw in drawn])


@functools.cache
def sprites() -> NDArray[np.uint8]:
    """All sprites: colours times opacity, and opacity, uint8 ``[S, levels, 64, 64, 4]``."""
    return np.stack([halved(draw().array()) for draw, *_ in _SPRITES])


@functools.cache
def sprite_looks() -> NDArray[np.float64]:
    """Width and height of each sprite in units, and 1 where it shines, ``[S, 3]``."""
    return np.array([[width, height, shines] for _, width, height, shines in _SPRITES], np.float64)


# --- textures -------------------------------------------------------------------------------------------------------


def _masonry(stone: Color, mortar: Color, *, rows: int, columns: int, seed: int) -> Canvas:
    """Courses of stones, each second one shifted by half a stone."""
    canvas = Canvas(mortar)
    rng = np.random.default_rng(seed)
    tall, wide = 1.0 / rows, 1.0 / columns
    for row in range(rows):
        shift = 0.5 * wide if row % 2 and columns > 1 else 0.0
        for column in range(columns):
            tone = rng.uniform(0.88, 1.12)
            u, v = (canvas.x + shift - column * wide) % 1.0, canvas.y - row * tall
            inside = (u > 0.02) & (u < wide) & (v > 0.02) & (v < tall)
            canvas.fill(inside, stone, tone * (1.06 - 0.12 * v / tall))
    canvas.grain(0.06, seed)
    return canvas


def _streaks(color: Color, amount: float, *, seed: int) -> Canvas:
    """A plain sheet, brushed along one way."""
    canvas = Canvas(color)
    rows = np.random.default_rng(seed).normal(0.0, amount, SIDE)
    canvas.color *= np.repeat(1.0 + rows, len(canvas.x) // SIDE)[:, None]
    canvas.grain(0.5 * amount, seed + 100)
    return canvas


def _waves(color: Color, *, seed: int) -> Canvas:
    """Something that might flow: waves of few lengths in many directions, which fit the texture's edges."""
    canvas = Canvas(color)
    rng = np.random.default_rng(seed)
    height = np.zeros_like(canvas.x)
    for _ in range(14):
        a, b = rng.integers(-5, 6, 2)
        height += np.sin(2 * np.pi * (a * canvas.x + b * canvas.y + rng.random()))
    canvas.color *= (1.0 + 0.16 * height)[:, :, None]
    canvas.grain(0.1, seed)
    return canvas


def _grating() -> Canvas:
    """Bars over the dark."""
    canvas = Canvas((14, 14, 14))
    for at in (0.0, 0.25, 0.5, 0.75):
        for along in (canvas.x, canvas.y):
            canvas.fill((along >= at) & (along < at + 0.05), (112, 112, 112))
    return canvas


def _panels(color: Color, seam: Color, columns: int, *, seed: int) -> Canvas:
    """Plates side by side, each with a bright upper and a dark lower edge."""
    canvas = Canvas(seam)
    for column in range(columns):
        left, right = column / columns + 0.02, (column + 1) / columns - 0.02
        for top, bottom in ((0.02, 0.48), (0.52, 0.98)):
            canvas.rectangle(left, top, right, bottom, color)
            canvas.rectangle(left, top, right, top + 0.03, (min(255.0, 1.3 * color[0]),) * 3)
    canvas.grain(0.08, seed)
    return canvas


def _bars(color: Color, between: Color, count: int, *, seed: int) -> Canvas:
    """Upright stripes."""
    canvas = Canvas(between)
    phase = (canvas.x * count) % 1.0
    canvas.fill(phase < 0.6, color, 1.0 - 0.5 * np.abs(phase - 0.3))
    canvas.grain(0.18, seed)
    return canvas


def _lamps() -> Canvas:
    """Bright diamonds on dark rock."""
    canvas = Canvas((46, 44, 44))
    canvas.grain(0.2, 14)
    for x, y in ((0.25, 0.25), (0.75, 0.75)):
        away = (np.abs(canvas.x - x) + np.abs(canvas.y - y)) / 0.13
        canvas.fill(away < 1.0, (255, 190, 140), 1.1 - 0.3 * away)
    return canvas


def _lights() -> Canvas:
    """Two rows of blue lights on silver."""
    canvas = _streaks((150, 150, 152), 0.05, seed=16)
    for x in (0.12, 0.42, 0.72):
        for y in (0.1, 0.3, 0.6, 0.8):
            canvas.rectangle(x, y, x + 0.16, y + 0.14, (24, 24, 200))
    return canvas


# --- sprites --------------------------------------------------------------------------------------------------------

_HIDE, _HORN, _CREST, _EYE = (62.0, 38.0, 22.0), (150.0, 96.0, 44.0), (178.0, 20.0, 14.0), (255.0, 210.0, 150.0)


def _imp(step: float, raised: bool) -> Canvas:
    """A horned fiend who looks at us, on one leg or the other."""
    canvas = Canvas()
    for side in (-1.0, 1.0):
        foot = 0.5 + side * 0.17 + 0.05 * step
        canvas.limb((0.5 + side * 0.1, 0.6), (foot, 0.92), 0.085, _HIDE)
        canvas.limb((foot - 0.04, 0.96), (foot + 0.05, 0.96), 0.04, _HORN)
        if raised and side > 0:
            canvas.limb((0.5 + side * 0.2, 0.32), (0.5 + side * 0.38, 0.1), 0.07, _HIDE)
        else:
            canvas.limb((0.5 + side * 0.2, 0.32), (0.5 + side * 0.36, 0.5), 0.07, _HIDE)
            canvas.limb((0.5 + side * 0.36, 0.5), (0.5 + side * 0.34, 0.66), 0.05, _HIDE)
            canvas.ellipse(0.5 + side * 0.34, 0.68, 0.05, 0.04, _HORN)
    canvas.ellipse(0.5, 0.45, 0.24, 0.25, _HIDE, round_=0.6)
    canvas.ellipse(0.5, 0.18, 0.14, 0.13, _HIDE, round_=0.4)
    canvas.ellipse(0.5, 0.06, 0.22, 0.055, _CREST)
    for side in (-1.0, 1.0):
        canvas.limb((0.5 + side * 0.1, 0.1), (0.5 + side * 0.24, 0.03), 0.035, _CREST)
        canvas.ellipse(0.5 + side * 0.055, 0.16, 0.03, 0.02, _EYE)
    canvas.limb((0.42, 0.52), (0.58, 0.52), 0.03, _HORN)
    canvas.grain(0.15, 20)
    return canvas


def _fireball() -> Canvas:
    canvas = Canvas()
    away = np.hypot(canvas.x - 0.5, canvas.y - 0.5) / 0.5
    for reach, color in ((1.0, (226, 140, 60)), (0.86, (252, 232, 110)), (0.45, (255, 252, 226))):
        canvas.fill(away < reach, color)
    return canvas


def _burst() -> Canvas:
    canvas = Canvas()
    turn = np.arctan2(canvas.y - 0.5, canvas.x - 0.5)
    away = np.hypot(canvas.x - 0.5, canvas.y - 0.5) / (0.44 + 0.05 * np.sin(7 * turn) + 0.03 * np.sin(12 * turn + 1))
    for reach, color in ((1.0, (214, 120, 50)), (0.85, (252, 226, 120)), (0.5, (255, 246, 190)), (0.2, (120, 70, 40))):
        canvas.fill(away < reach, color)
    return canvas


def _demon() -> Canvas:
    """A floating ball of teeth with one eye, between blue plates."""
    canvas = Canvas()
    for side in (-1.0, 1.0):
        canvas.limb((0.5 + side * 0.32, 0.12), (0.5 + side * 0.4, 0.7), 0.09, (24, 24, 120))
        canvas.limb((0.5 + side * 0.2, 0.75), (0.5 + side * 0.22, 0.95), 0.07, (150, 36, 40))
    canvas.ellipse(0.5, 0.46, 0.36, 0.42, (74, 48, 34), round_=0.7)
    canvas.ellipse(0.5, 0.36, 0.12, 0.1, (236, 200, 90))
    canvas.ellipse(0.5, 0.37, 0.05, 0.07, (30, 16, 10))
    canvas.ellipse(0.5, 0.66, 0.2, 0.09, (120, 14, 16))
    for tooth in range(4):
        x = 0.36 + 0.08 * tooth
        canvas.rectangle(x, 0.59, x + 0.035, 0.66, (232, 224, 196))
    canvas.grain(0.12, 21)
    return canvas


def _demon_dead() -> Canvas:
    canvas = Canvas()
    canvas.ellipse(0.5, 0.78, 0.42, 0.2, (96, 30, 28), round_=0.6)
    canvas.ellipse(0.4, 0.72, 0.12, 0.08, (60, 14, 14))
    canvas.limb((0.2, 0.9), (0.8, 0.92), 0.05, (24, 24, 100))
    canvas.grain(0.2, 22)
    return canvas


def _medkit() -> Canvas:
    """A white box with a green cross."""
    canvas = Canvas()
    canvas.rectangle(0.04, 0.2, 0.96, 1.0, (168, 168, 168))
    canvas.rectangle(0.04, 0.2, 0.96, 0.32, (214, 214, 214))
    canvas.rectangle(0.35, 0.08, 0.65, 0.2, (96, 96, 96))
    canvas.rectangle(0.44, 0.4, 0.56, 0.94, (40, 160, 50))
    canvas.rectangle(0.3, 0.58, 0.7, 0.76, (40, 160, 50))
    canvas.grain(0.06, 23)
    return canvas


def _armor() -> Canvas:
    """A green vest."""
    canvas = Canvas()
    canvas.ellipse(0.5, 0.62, 0.4, 0.38, (44, 150, 44), round_=0.6)
    for side in (-1.0, 1.0):
        canvas.ellipse(0.5 + side * 0.34, 0.34, 0.16, 0.22, (60, 190, 60), round_=0.5)
    canvas.ellipse(0.5, 0.3, 0.15, 0.16, (20, 24, 20))
    canvas.limb((0.5, 0.46), (0.5, 0.94), 0.02, (180, 230, 180))
    canvas.grain(0.08, 24)
    return canvas


def _pistol(fires: bool) -> Canvas:
    """A hand with a pistol, from behind."""
    canvas = Canvas()
    if fires:
        away = np.hypot(canvas.x - 0.5, canvas.y - 0.12) / 0.2
        canvas.fill(away < 1.0, (255, 190, 80))
        canvas.fill(away < 0.6, (255, 246, 200))
    canvas.limb((0.5, 0.2), (0.5, 0.55), 0.15, (70, 72, 76))
    canvas.limb((0.5, 0.14), (0.5, 0.5), 0.07, (126, 128, 132))
    canvas.ellipse(0.5, 0.8, 0.4, 0.26, (150, 98, 62), round_=0.7)
    canvas.ellipse(0.32, 0.7, 0.16, 0.2, (134, 86, 52), round_=0.6)
    canvas.ellipse(0.55, 1.0, 0.4, 0.2, (140, 90, 56))
    canvas.grain(0.08, 25)
    return canvas


_SPRITES: tuple[tuple[Callable[[], Canvas], float, float, float], ...] = (
    (lambda: _imp(-1.0, False), 46, 60, 0),
    (lambda: _imp(1.0, False), 46, 60, 0),
    (lambda: _imp(0.0, True), 46, 60, 0),
    (_fireball, 15, 15, 1),
    (_burst, 34, 30, 1),
    (_demon, 65, 64, 0),
    (_demon_dead, 65, 50, 0),
    (_medkit, 30, 22, 0),
    (_armor, 32, 20, 0),
    (lambda: _pistol(False), 55, 71, 1),
    (lambda: _pistol(True), 55, 86, 1),
)
"""How each sprite is drawn, its width and height in units (of weapons: in 320ths and 200ths of the picture), and
whether it shines in the dark."""
