from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from imagine_envs.spaces import map_observation, space_from_json, space_to_json, to_numpy, to_tensor

SPACES = [
    spaces.Box(-1, 1, (3,), np.float32),
    spaces.Box(np.array([-np.inf, 0.1, -3]), np.array([1, np.inf, 7]), dtype=np.float64),
    spaces.Box(np.array([-1, 2], np.float32), np.array([0.1, np.inf], np.float32)),
    spaces.Box(-np.inf, np.inf, (2, 2), np.float32),
    spaces.Box(0, 255, (4, 4, 3), np.uint8),
    spaces.Box(0, 2**64 - 1, (2,), np.uint64),
    spaces.Box(np.array([[0], [-5]]), np.array([[2**40], [5]]), dtype=np.int64),
    spaces.Box(-1, 1, (), np.float32),
    spaces.Box(0, 1, (0,), np.float32),
    spaces.Discrete(4),
    spaces.Discrete(3, start=-1),
    spaces.Discrete(3, dtype=np.int32),
    spaces.MultiDiscrete([2, 5]),
    spaces.MultiDiscrete([[2, 5], [3, 4]], start=[[0, 1], [-2, 0]]),
    spaces.MultiDiscrete([3, 4], dtype=np.int32),
    spaces.MultiBinary(3),
    spaces.MultiBinary((2, 3)),
    spaces.MultiBinary([3]),
    spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Dict({"c": spaces.Box(0, 1, (2,), np.float32)})}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_space_survives_json(space: spaces.Space[Any]) -> None:
    text = json.dumps(space_to_json(space), allow_nan=False)
    again = space_from_json(json.loads(text))
    assert again == space
    assert again.dtype == space.dtype
    if isinstance(space, spaces.Box):
        assert isinstance(again, spaces.Box)
        np.testing.assert_array_equal(again.low, space.low)
        np.testing.assert_array_equal(again.high, space.high)


def test_equal_bounds_are_one_number() -> None:
    description = space_to_json(spaces.Box(0, 255, (64, 64, 3), np.uint8))
    assert description["low"] == 0
    assert description["high"] == 255
    assert len(json.dumps(description)) < 120


@pytest.mark.parametrize(
    "space", [spaces.Text(3), spaces.Tuple([spaces.Discrete(2)]), spaces.Dict({"a": spaces.Text(3)})], ids=str
)
def test_a_space_that_cannot_be_described_is_named(space: spaces.Space[Any]) -> None:
    with pytest.raises(ValueError, match=r"cannot describe .*Text|cannot describe .*Tuple"):
        space_to_json(space)


@pytest.mark.parametrize(
    "data",
    [
        {},
        None,
        [],
        {"type": "Tuple"},
        {"type": "Discrete"},
        {"type": "Discrete", "n": 0, "start": 0},
        {"type": "Box", "shape": [2], "dtype": "float32", "low": [0], "high": [1, 2, 3]},
        {"type": "Box", "shape": [2], "dtype": "float3", "low": 0, "high": 1},
        {"type": "Box", "shape": [2], "dtype": "float32", "low": 2, "high": 1},
        {"type": "Dict", "spaces": {"a": {"type": "Text"}}},
        {"type": "Dict", "spaces": 3},
    ],
)
def test_what_describes_no_space_is_a_value_error(data: Any) -> None:
    with pytest.raises(ValueError, match="not the description of a space"):
        space_from_json(data)


# --- samples --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "dtype"),
    [
        (spaces.Box(-1, 1, (3,), np.float32), torch.float32),
        (spaces.Box(-1, 1, (3,), np.float64), torch.float32),
        (spaces.Box(0, 255, (2, 2, 3), np.uint8), torch.uint8),
        (spaces.Discrete(4, start=2), torch.int64),
        (spaces.Discrete(4, dtype=np.int32), torch.int64),
        (spaces.MultiDiscrete([3, 4]), torch.int64),
        (spaces.MultiBinary(3), torch.int64),
    ],
    ids=str,
)
def test_samples_to_tensors_and_back(space: spaces.Space[Any], dtype: torch.dtype) -> None:
    space.seed(0)
    samples = np.stack([space.sample() for _ in range(5)])
    tensor = to_tensor(samples, space, "cpu")
    assert tensor.dtype == dtype
    assert tensor.shape == samples.shape
    back = to_numpy(tensor, space)
    assert back.dtype == space.dtype
    assert back.flags.writeable
    np.testing.assert_allclose(back, samples, rtol=1e-7)
    assert all(space.contains(row if row.shape else space.dtype.type(row)) for row in back)


def test_dicts_go_key_by_key() -> None:
    space = spaces.Dict({"image": spaces.Box(0, 255, (2, 2), np.uint8), "speed": spaces.Box(-9, 9, (1,), np.float64)})
    samples = {"image": np.full((3, 2, 2), 7, np.uint8), "speed": np.ones((3, 1))}
    tensors = to_tensor(samples, space, "cpu")
    assert {key: tensor.dtype for key, tensor in tensors.items()} == {"image": torch.uint8, "speed": torch.float32}
    arrays = to_numpy(tensors, space)
    assert {key: array.dtype for key, array in arrays.items()} == {"image": np.uint8, "speed": np.float64}
    np.testing.assert_array_equal(arrays["image"], samples["image"])


def test_arrays_are_fresh() -> None:
    tensor = torch.zeros(2, 3)
    array = to_numpy(tensor, spaces.Box(-1, 1, (3,), np.float32))
    array += 1
    assert not tensor.any()
    tensor.requires_grad_()
    assert to_numpy(tensor, spaces.Box(-1, 1, (3,), np.float32)).shape == (2, 3)


def test_integers_are_rounded_and_kept_in_range() -> None:
    space = spaces.Box(0, 255, (4,), np.uint8)
    array = to_numpy(torch.tensor([[0.4, 254.6, 300.0, -7.0]]), space)
    np.testing.assert_array_equal(array, [[0, 255, 255, 0]])
    assert array.dtype == np.uint8


def test_a_double_bound_between_two_floats_is_not_passed() -> None:
    space = spaces.Box(-0.1, 0.1, (1,), np.float64)
    assert float(np.float32(0.1)) > 0.1  # so that a float32 at the bound would lie outside
    for value in (0.1, -0.1):
        assert space.contains(to_numpy(torch.tensor([[value]]), space)[0])


def test_map_observation() -> None:
    assert map_observation(lambda a, b: a + b, 1, 2) == 3
    assert map_observation(lambda a, b: a + b, {"x": 1, "y": 2}, {"y": 20, "x": 10}) == {"x": 11, "y": 22}
