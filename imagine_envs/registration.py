"""The one table of environment ids."""

from __future__ import annotations

import gymnasium as gym

__all__ = ["ENVIRONMENTS", "register_environments"]

ENVIRONMENTS: dict[str, dict[str, str]] = {
    "Imagine/Dream-v0": {
        "entry_point": "imagine_envs.dreams.env:DreamEnv",
        "vector_entry_point": "imagine_envs.dreams.vector_env:DreamVectorEnv",
    },
}
"""Id → where its single and its batched form are. Strings, so that importing this package imports no torch."""


def register_environments() -> None:
    """Registers every id of the suite with Gymnasium, once."""
    for env_id, entry_points in ENVIRONMENTS.items():
        if env_id not in gym.registry:
            gym.register(env_id, **entry_points)  # type: ignore[arg-type]
