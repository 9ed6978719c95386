"""The one table of environment ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym

if TYPE_CHECKING:
    from imagine_envs.tasks import BatchedTask

__all__ = ["ENVIRONMENTS", "is_task", "register_environments", "registered_task"]

_TASK_ENV = "imagine_envs.tasks.env:TaskEnv"
_ENGINES = "imagine_envs.tasks.backends:make_env"


def _task(where: str, **options: Any) -> dict[str, Any]:
    """A task of :mod:`imagine_envs.tasks` behind its two Gymnasium faces."""
    return {
        "entry_point": _TASK_ENV,
        "vector_entry_point": "imagine_envs.tasks.vector_env:TaskVectorEnv",
        "kwargs": {"task": f"imagine_envs.tasks.{where}", **options},
    }


def _task_with_engines(where: str, **options: Any) -> dict[str, Any]:
    """A task that other engines play too (``backend=…``)."""
    return {
        **_task(where, **options),
        "entry_point": _ENGINES,
        "vector_entry_point": "imagine_envs.tasks.backends:make_vector_env",
    }


ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "Imagine/Dream-v0": {
        "entry_point": "imagine_envs.dreams.env:DreamEnv",
        "vector_entry_point": "imagine_envs.dreams.vector_env:DreamVectorEnv",
    },
    "Imagine/DynaMaze-v0": _task("mazes:DynaMaze"),
    "Imagine/BlockingMaze-v0": _task("mazes:BlockingMaze"),
    "Imagine/ShortcutMaze-v0": _task("mazes:ShortcutMaze"),
    "Imagine/ScaledMaze-v0": _task("mazes:ScaledMaze"),
    "Imagine/RodManeuvering-v0": _task("mazes:RodManeuvering"),
    "Imagine/TrajectorySampling-v0": _task("mazes:TrajectorySampling"),
    "Imagine/MiniPacman-Regular-v0": _task("mini_pacman:MiniPacman", mode="regular"),
    "Imagine/MiniPacman-Avoid-v0": _task("mini_pacman:MiniPacman", mode="avoid"),
    "Imagine/MiniPacman-Hunt-v0": _task("mini_pacman:MiniPacman", mode="hunt"),
    "Imagine/MiniPacman-Ambush-v0": _task("mini_pacman:MiniPacman", mode="ambush"),
    "Imagine/MiniPacman-Rush-v0": _task("mini_pacman:MiniPacman", mode="rush"),
    "Imagine/Sokoban-v0": _task("sokoban:Sokoban"),
    "Imagine/Sokoban-7x7-1-v0": _task("sokoban:Sokoban", size=7, boxes=1),
    "Imagine/Sokoban-7x7-2-v0": _task("sokoban:Sokoban", size=7, boxes=2),
    "Imagine/Sokoban-8x8-2-v0": _task("sokoban:Sokoban", size=8, boxes=2),
    "Imagine/CarRacing-v0": _task_with_engines("car_racing:CarRacing"),
    "Imagine/DoomTakeCover-v0": _task_with_engines("doom:TakeCover"),
    "Imagine/DoomBasic-v0": _task_with_engines("doom:Basic"),
    "Imagine/DoomHealthGathering-v0": _task_with_engines("doom:HealthGathering"),
    "Imagine/DoomMyWayHome-v0": _task_with_engines("doom:MyWayHome"),
}
"""Id → its single and its batched form. Strings, so that importing this package imports neither torch nor numba."""


def register_environments() -> None:
    """Registers every id of the suite with Gymnasium, once."""
    for env_id, entry_points in ENVIRONMENTS.items():
        if env_id not in gym.registry:
            gym.register(env_id, **entry_points)


def is_task(env_id: str | None) -> bool:
    """Whether an id is one of :mod:`imagine_envs.tasks`; nothing is made or imported to tell."""
    spec = gym.registry.get(env_id or "")
    return spec is not None and spec.entry_point in (_TASK_ENV, _ENGINES)


def registered_task(env_id: str | None, env_kwargs: Mapping[str, Any]) -> BatchedTask | None:
    """The rules behind a registered id of :mod:`imagine_envs.tasks`, None for anything else.

    They are those of the native engine, whichever ``backend`` the arguments name. For an id of anything else nothing is
    imported, whatever module it names: it may come from the file of a stranger.
    """
    if env_id is None or not is_task(env_id):
        return None
    own = {key: value for key, value in env_kwargs.items() if key != "backend"}
    task: BatchedTask = gym.make(env_id, **own).unwrapped.task  # type: ignore[attr-defined]
    return task
