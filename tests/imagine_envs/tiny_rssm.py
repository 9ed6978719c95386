"""An RSSM small enough to be tested in a moment, and windows of made-up experience."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from imagine_envs.experience import Batch
from imagine_envs.world_models import RSSM

TINY: dict[str, Any] = {
    "v3": {"deter": 16, "hidden": 8, "stoch": 4, "classes": 4, "units": 8, "blocks": 2, "depth": 2},
    "v1": {"deter": 12, "hidden": 8, "stoch": 4, "units": 8, "depth": 2},
}
VECTOR = spaces.Box(-10, 10, (3,), np.float32)
IMAGE = spaces.Box(0, 255, (8, 8, 3), np.uint8)
BOX = spaces.Box(-2, 2, (2,), np.float32)
DISCRETE = spaces.Discrete(3, start=-1)


def tiny(
    observation_space: spaces.Space[Any] = VECTOR,
    action_space: spaces.Space[Any] = BOX,
    *,
    preset: str = "v3",
    seed: int = 0,
    architecture: dict[str, Any] | None = None,
    **kwargs: Any,
) -> RSSM:
    """A tiny model with random weights everywhere, zero-initialised layers and biases too: nothing hides in a zero."""
    torch.manual_seed(seed)
    changes = {**TINY[preset], **(architecture or {})}
    model = RSSM(observation_space, action_space, preset=preset, architecture=changes, **kwargs)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return model


def windows(
    rows: int = 3,
    length: int = 6,
    *,
    first: list[tuple[int, int]] | None = None,
    observation_space: spaces.Space[Any] = VECTOR,
    action_space: spaces.Space[Any] = BOX,
    seed: int = 1,
) -> Batch:
    """Windows of samples of the spaces, with resets at ``first`` (row, record); a reset's predecessor is terminal."""
    generator = np.random.default_rng(seed)

    def draw(space: spaces.Space[Any]) -> Any:
        if isinstance(space, spaces.Dict):
            return {key: draw(part) for key, part in space.spaces.items()}
        if isinstance(space, spaces.Discrete):
            return torch.from_numpy(generator.integers(space.start, space.start + space.n, (rows, length)))
        assert isinstance(space, spaces.Box)
        if space.dtype == np.uint8:
            return torch.from_numpy(generator.integers(0, 256, (rows, length, *space.shape), dtype=np.uint8))
        return torch.from_numpy(generator.normal(size=(rows, length, *space.shape)).astype(np.float32))

    flags = torch.zeros(rows, length, dtype=torch.bool)
    terminated = flags.clone()
    for row, t in first or []:
        flags[row, t] = True
        if t:
            terminated[row, t - 1] = True
    action: Tensor = draw(action_space)
    reward = torch.from_numpy(generator.normal(size=(rows, length)).astype(np.float32))
    action[flags] = 0
    reward[flags] = 0
    index = torch.arange(rows * length).reshape(rows, length)
    return Batch(draw(observation_space), action, reward, terminated, torch.zeros_like(flags), flags, index)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
