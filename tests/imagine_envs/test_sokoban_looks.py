from __future__ import annotations

import itertools

import numpy as np
import pytest

from imagine_envs.tasks.sokoban.levels import BOX, PLAYER, SYMBOLS, TARGET, WALL
from imagine_envs.tasks.sokoban.looks import looks, sprites

CELLS = sorted(SYMBOLS.values())


def test_planes_are_one_channel_for_each_kind_of_thing() -> None:
    planes = looks("planes")
    assert (planes.shape, planes.dtype) == ((16, 1, 1, 4), np.uint8)
    assert planes[WALL, 0, 0].tolist() == [255, 0, 0, 0]
    assert planes[0, 0, 0].tolist() == [0, 0, 0, 0]
    assert planes[BOX | TARGET, 0, 0].tolist() == [0, 255, 255, 0]
    assert planes[PLAYER, 0, 0].tolist() == [0, 0, 0, 255]


def test_tiny_has_the_colours_of_the_paper() -> None:
    tiny = looks("tiny")
    assert (tiny.shape, tiny.dtype) == ((16, 1, 1, 3), np.uint8)
    assert [tiny[bits, 0, 0].tolist() for bits in (WALL, 0, TARGET, BOX | TARGET, BOX, PLAYER, PLAYER | TARGET)] == [
        [0, 0, 0], [243, 248, 238], [254, 126, 125], [254, 95, 56], [142, 121, 56], [160, 212, 56], [219, 212, 56],
    ]  # fmt: skip


def test_sprites_are_eight_pixels_in_observations() -> None:
    assert looks("rgb").shape == (16, 8, 8, 3)
    np.testing.assert_array_equal(looks("rgb"), sprites(8))
    with pytest.raises(ValueError, match="observation='text' must be one of 'planes', 'tiny', 'rgb'"):
        looks("text")


@pytest.mark.parametrize("size", [1, 2, 5, 8, 16, 61])
def test_sprites_of_any_size_tell_the_cells_apart(size: int) -> None:
    pictures = sprites(size).astype(int)
    assert pictures.shape == (16, size, size, 3)
    for one, other in itertools.combinations(CELLS, 2):
        assert np.abs(pictures[one] - pictures[other]).mean() > 6


def test_sprites_are_drawn_once() -> None:
    assert sprites(8) is sprites(8)
    assert not sprites(8).flags.writeable
    assert looks("rgb").flags.writeable


def test_larger_sprites_show_the_same_in_more_detail() -> None:
    reduced = sprites(48).reshape(16, 8, 6, 8, 6, 3).mean((2, 4))
    assert np.abs(reduced - sprites(8)).max() < 20
