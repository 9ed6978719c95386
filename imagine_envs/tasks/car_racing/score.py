"""What the score in the lower left corner looks like, for every score, reduced to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imagine_envs.tasks.car_racing.screen import SCREEN_HEIGHT, SCREEN_WIDTH

__all__ = ["HIGHEST", "LOWEST", "digits", "digits_row", "written"]

LOWEST, HIGHEST = -400, 1_100
"""Nobody earns more than 1,000, nor, in an episode of 4,000 frames, less than −400; beyond, these are shown."""

_MIDDLE = (60, 750)
_TOP, _BOTTOM, _RIGHT = 720, 780, 120
"""The part of the screen that holds it, in pixels."""


def digits_row(height: int) -> int:
    """In which row of a picture of that height the digits begin."""
    return int(_TOP * height / SCREEN_HEIGHT)


@lru_cache(maxsize=8)
def digits(height: int, width: int) -> NDArray[np.uint8]:
    """The scores from :data:`LOWEST` to :data:`HIGHEST`, white on black, as they look in the lower left of a picture.

    Args:
        height: Pixels of the picture.
        width: Pixels of the picture.

    Returns:
        uint8 ``[scores, h, w]``, read only: as many as there are scores and one more, for what rounds to 0 from below
        is "-000" and stands between −1 and 0. See :func:`digits_row` for where it belongs.
    """
    return _drawn([*range(LOWEST, 0), -0.0, *range(HIGHEST + 1)], height, width)


def written(height: int, width: int, score: float) -> NDArray[np.uint8]:
    """One score, uint8 ``[1, h, w]``, read only, as in :func:`digits`."""
    return _drawn([score], height, width)


def _drawn(scores: Sequence[float], height: int, width: int) -> NDArray[np.uint8]:
    import pygame

    pygame.font.init()
    font = pygame.font.Font(pygame.font.get_default_font(), 42)
    first, last = digits_row(height), -int(-_BOTTOM * height // SCREEN_HEIGHT)
    wide = -int(-_RIGHT * width // SCREEN_WIDTH)
    down = _shares(first, last, height, SCREEN_HEIGHT)
    across = _shares(0, wide, width, SCREEN_WIDTH)
    top = int(first * SCREEN_HEIGHT / height)
    surface = pygame.Surface((across.shape[1], down.shape[1] - top))
    found = np.empty((len(scores), last - first, wide), np.uint8)
    for number, score in enumerate(scores):
        surface.fill((0, 0, 0))
        text = font.render(f"{score:04.0f}", True, (255, 255, 255), (0, 0, 0))
        surface.blit(text, text.get_rect(center=(_MIDDLE[0], _MIDDLE[1] - top)))
        screen = pygame.surfarray.array3d(surface)[:, :, 0].T.astype(np.float64)
        found[number] = np.round(down[:, top:] @ screen @ across.T)
    found.flags.writeable = False
    return found


def _shares(first: int, last: int, pixels: int, screen: int) -> NDArray[np.float64]:
    """Of which screen pixels the pixels from ``first`` to ``last`` are the mean, ``[last − first, screen pixels]``."""
    side = screen / pixels
    begin = np.arange(first, last)[:, None] * side
    cells = np.arange(int(np.ceil(last * side)))[None]
    covered = np.minimum(begin + side, cells + 1) - np.maximum(begin, cells)
    return np.clip(covered, 0, None) / side
