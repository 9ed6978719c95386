"""Gymnasium spaces as data (JSON), and their samples as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

__all__ = ["Observation", "map_observation", "space_from_json", "space_to_json", "to_numpy", "to_tensor"]

Observation = Tensor | dict[str, Tensor]
"""A batch of observations: one tensor, or one for each key of a ``Dict`` space."""


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """Describes a space in JSON types only.

    Raises:
        ValueError: If the space is not a Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of those.
    """
    if isinstance(space, spaces.Box):
        return {
            "type": "Box",
            "shape": list(space.shape),
            "dtype": str(space.dtype),
            "low": _bounds_to_json(space.low),
            "high": _bounds_to_json(space.high),
        }
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": str(space.dtype)}
    if isinstance(space, spaces.MultiDiscrete):
        return {
            "type": "MultiDiscrete",
            "nvec": space.nvec.tolist(),
            "start": space.start.tolist(),
            "dtype": str(space.dtype),
        }
    if isinstance(space, spaces.MultiBinary):
        # MultiBinary(3) and MultiBinary([3]) have the same shape, but are not equal.
        return {"type": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {key: space_to_json(value) for key, value in space.spaces.items()}}
    raise ValueError(
        f"cannot describe {space}: Box, Discrete, MultiDiscrete, MultiBinary or a Dict of those was expected"
    )


def space_from_json(data: dict[str, Any]) -> spaces.Space[Any]:
    """The space that :func:`space_to_json` described.

    Raises:
        ValueError: If ``data`` describes no known space.
    """
    try:
        match data["type"]:
            case "Box":
                shape, dtype = tuple(data["shape"]), np.dtype(data["dtype"])
                low, high = (_bounds_from_json(data[key], shape, dtype) for key in ("low", "high"))
                return spaces.Box(low, high, shape, dtype.type)
            case "Discrete":
                # Older versions of Gymnasium know int64 only, without an argument for it.
                other = {} if data.get("dtype", "int64") == "int64" else {"dtype": np.dtype(data["dtype"]).type}
                return spaces.Discrete(data["n"], start=data["start"], **other)
            case "MultiDiscrete":
                dtype = np.dtype(data.get("dtype", "int64"))
                return spaces.MultiDiscrete(data["nvec"], dtype=dtype.type, start=data["start"])
            case "MultiBinary":
                return spaces.MultiBinary(data["n"])
            case "Dict":
                return spaces.Dict({key: space_from_json(value) for key, value in data["spaces"].items()})
    except (AttributeError, KeyError, TypeError, ValueError, AssertionError) as error:
        raise ValueError(f"not the description of a space: {data!r} ({error!r})") from error
    raise ValueError(f"not the description of a space: {data!r}")


def _bounds_to_json(bounds: np.ndarray) -> Any:
    """Bounds as nested lists, or one value where all are equal (an image has 12,288). Infinities become strings."""
    if bounds.size and np.all(bounds == bounds.flat[0]):
        bounds = bounds.flat[0]

    def encode(value: Any) -> Any:
        if isinstance(value, list):
            return [encode(item) for item in value]
        return value if np.isfinite(value) else str(value)

    return encode(bounds.tolist())


def _bounds_from_json(data: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return np.broadcast_to(np.array(data, dtype=float if dtype.kind == "f" else None).astype(dtype), shape).copy()


def map_observation(function: Any, *observations: Any) -> Any:
    """Applies ``function`` to the observations, key by key where they are dicts."""
    if isinstance(observations[0], dict):
        return {key: function(*(observation[key] for observation in observations)) for key in observations[0]}
    return function(*observations)


def to_tensor(value: Any, space: spaces.Space[Any], device: torch.device | str) -> Any:
    """A batch of samples of ``space`` (array or dict of arrays, ``[B, …]``) as tensors on ``device``.

    Discrete kinds become int64, floating Boxes float32, other Boxes (uint8 images) keep their type.
    """
    if isinstance(space, spaces.Dict):
        return {key: to_tensor(value[key], subspace, device) for key, subspace in space.spaces.items()}
    tensor = torch.as_tensor(value, device=device)
    if isinstance(space, spaces.Box):
        return tensor.to(torch.float32) if tensor.is_floating_point() else tensor
    return tensor.to(torch.int64)


def to_numpy(value: Observation, space: spaces.Space[Any]) -> Any:
    """A batch of samples as fresh writable arrays of the space's own types.

    Floating tensors are float32: for a Box of integers they are rounded to the nearest one, and for a Box of doubles
    kept inside a bound that no float32 equals.
    """
    if isinstance(value, dict):
        assert isinstance(space, spaces.Dict)
        return {key: to_numpy(value[key], space.spaces[key]) for key in space.spaces}
    array = value.detach().cpu().numpy()
    if isinstance(space, spaces.Box) and space.dtype != array.dtype == np.float32:
        array = np.clip(array if space.dtype.kind == "f" else np.rint(array), space.low, space.high)
    return np.array(array, dtype=space.dtype)
