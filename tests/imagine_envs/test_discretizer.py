from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from imagine_envs.discretizer import Discretizer

SQUARE = spaces.Box(np.array([-1.0, 0.0]), np.array([1.0, 3.0]), dtype=np.float64)


def test_cells_are_numbered_row_by_row() -> None:
    grid = Discretizer(SQUARE, (2, 3))
    assert grid.num_states == 6
    seen = [[-1, 0], [-0.5, 1.5], [-0.1, 3], [0, 0.99], [0.5, 1], [1, 2.5]]
    assert grid.index(seen).tolist() == [0, 1, 2, 3, 4, 5]
    assert grid.index(seen).dtype == np.int64
    np.testing.assert_allclose(grid.centre(range(3)), [[-0.5, 0.5], [-0.5, 1.5], [-0.5, 2.5]])


def test_what_lies_outside_falls_into_the_outermost_cells() -> None:
    grid = Discretizer(SQUARE, (2, 3))
    assert grid.index([[-9, -9], [9, 9], [-np.inf, np.inf], [1e300, -1e300]]).tolist() == [0, 5, 2, 3]


@pytest.mark.parametrize(
    "space",
    [
        SQUARE,
        spaces.Box(-1, 1, (2, 3), np.float32),
        spaces.Box(0, 255, (2,), np.uint8),
        spaces.Box(0.0, 1.0, (), np.float64),
    ],
    ids=str,
)
def test_the_middle_of_a_cell_lies_in_it(space: spaces.Box) -> None:
    grid = Discretizer(space, 3)
    index = np.arange(grid.num_states)
    centre = grid.centre(index)
    assert centre.dtype == space.dtype
    assert all(space.contains(one) for one in centre)
    np.testing.assert_array_equal(grid.index(centre), index)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 3), (-3, 4), (2, 12), (-20, -9), (-128, 127), (0, 255)])
def test_the_middle_of_integers_is_one_of_their_own_cell(low: int, high: int, dtype: type) -> None:
    if low < np.iinfo(dtype).min or high > np.iinfo(dtype).max:
        pytest.skip("not of this type")
    space = spaces.Box(low, high, (1,), dtype)
    every = np.arange(low, high + 1)[:, None]
    own = [(low, high), (low - 0.5, high + 0.5), (low - 3, high + 2.5), (low + 0.2, low + 0.4), (low + 0.3, high)]
    for bins in [*range(1, 14), high - low, high - low + 1, 3 * (high - low)]:
        for first, last in own:
            grid = Discretizer(space, bins, low=first, high=last)
            cells = grid.index(every)
            shown = grid.centre(cells)
            assert all(space.contains(one) for one in shown), (bins, first, last)
            np.testing.assert_array_equal(grid.index(shown), cells, f"{bins} bins from {first} to {last}")
            if bins <= high - low and (first, last) == (low, high):
                assert len(set(cells.tolist())) == bins


def test_integers_are_shown_in_the_middle() -> None:
    for bins, shown in ((3, [0, 1, 2, 2]), (2, [1, 1, 2, 2]), (1, [1] * 4)):
        grid = Discretizer(spaces.Box(0, 3, (1,), np.int64), bins)
        assert grid.centre(grid.index(np.arange(4)[:, None]))[:, 0].tolist() == shown
    assert Discretizer(spaces.Box(0, 255, (1,), np.uint8), 3).centre(range(3))[:, 0].tolist() == [42, 127, 212]


def test_a_middle_beyond_the_space_is_shown_at_its_edge() -> None:
    for dtype in (np.float32, np.uint8):
        grid = Discretizer(spaces.Box(0, 9, (1,), dtype), 2, low=-30, high=4)
        assert grid.centre([0, 1]).tolist() == [[0], [0]]


def test_cart_pole_needs_bounds_for_its_speeds() -> None:
    space = gym.make("CartPole-v1").observation_space
    with pytest.raises(ValueError, match=r"no bound in dimension\(s\) 1, 3: give low there"):
        Discretizer(space, 4)
    with pytest.raises(ValueError, match=r"no bound in dimension\(s\) 3: give high there"):
        Discretizer(space, 4, low=[None, -3, None, -3], high=[None, 3, None, None])
    grid = Discretizer(space, [2, 4, 6, 4], low=[None, -3, None, -3], high=[None, 3, None, 3])
    assert grid.num_states == 192
    settings = grid.settings()
    assert settings["low"] == [space.low[0], -3.0, space.low[2], -3.0]
    again = Discretizer(space, **json.loads(json.dumps(settings)))
    sample = np.random.default_rng(0).normal(size=(100, 4)) * [3, 2, 0.3, 2]
    np.testing.assert_array_equal(again.index(sample), grid.index(sample))
    assert len(set(grid.index(sample).tolist())) > 40


def test_one_bound_for_all_dimensions() -> None:
    assert Discretizer(SQUARE, 2, low=-2, high=4.0).settings() == {
        "bins": [2, 2],
        "low": [-2.0, -2.0],
        "high": [4.0, 4.0],
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"bins": 0}, "bins=0 must be a whole number of at least 1, or 2 of them"),
        ({"bins": 2.5}, "bins=2.5 must be"),
        ({"bins": [2, 2, 2]}, r"bins=\[2, 2, 2\] must be"),
        ({"bins": [2, -1]}, "must be"),
        ({"bins": 2, "low": [0.0]}, "low has 1 numbers; one, or 2, were expected"),
        ({"bins": 2, "high": [0.0, 0.0]}, "dimension 1 goes from 0.0 to 0.0"),
        ({"bins": 2, "low": np.nan}, r"no bound in dimension\(s\) 0, 1"),
        ({"bins": 1 << 40}, "more cells than an int64 can number"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Discretizer(SQUARE, **arguments)


def test_observations_that_make_no_sense() -> None:
    grid = Discretizer(SQUARE, 2)
    with pytest.raises(ValueError, match="NaN"):
        grid.index([[0.0, np.nan]])
    with pytest.raises(ValueError, match=r"observations are \(1, 3\); \[B, 2\] expected"):
        grid.index([[0.0, 1.0, 2.0]])
    with pytest.raises(ValueError, match=r"observations are \(2,\); \[B, 2\] expected"):
        grid.index([0.0, 1.0])
    with pytest.raises(ValueError, match="a discretizer is for a Box"):
        Discretizer(spaces.Discrete(3), 2)
