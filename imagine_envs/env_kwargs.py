"""Which keyword arguments of ``gymnasium.make`` belong to the task, and which to how it is shown and batched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["task_kwargs"]

_NOT_OF_THE_TASK = {
    "autoreset_mode",
    "copy",
    "max_episode_steps",
    "num_envs",
    "render_mode",
    "render_size",
    "task",
    "threads",
    "vector_kwargs",
    "vectorization_mode",
    "wrappers",
}


def task_kwargs(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments without those that say how the environment was made: what makes the same task again.

    Which task it is (``task``) an id says by itself. It names a module, and is not to be taken from the file of a
    stranger.
    """
    return {key: value for key, value in kwargs.items() if key not in _NOT_OF_THE_TASK}
