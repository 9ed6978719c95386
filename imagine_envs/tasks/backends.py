"""Tasks that other engines play too: ``backend="native"`` is the batch of arrays, any other is a program of others."""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium as gym
from gymnasium.error import DependencyNotInstalled
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from imagine_envs.tasks.batch import task_class
from imagine_envs.tasks.vector_env import TaskVectorEnv

__all__ = ["make_env", "make_vector_env"]


def make_env(task: str, *, backend: str = "native", **options: Any) -> gym.Env[Any, Any]:
    """One environment: what ``gymnasium.make`` calls.

    Args:
        task: Where the task's class is, as in ``"imagine_envs.tasks.car_racing:CarRacing"``.
        backend: "native", or one of the task's other engines (:attr:`BatchedTask.backends`).
        **options: Of the environment: the task's own, ``render_mode`` and ``render_size``.

    Raises:
        ValueError: If the task has no such engine, or an option makes no sense.
        ImportError: If the engine is not installed; the message says how to install it.

    Example:
        >>> env = gym.make("Imagine/CarRacing-v0", backend="box2d")
    """
    own = task_class(task)
    if backend == "native":
        env: gym.Env[Any, Any] = _class_at(own.env_class)(task, **options)
        return env
    if backend not in own.backends:
        known = ", ".join(map(repr, ("native", *own.backends)))
        raise ValueError(f"backend={backend!r} must be one of {known}")
    extra, where = own.backends[backend]
    try:
        engine = _class_at(where)
    except (ImportError, DependencyNotInstalled) as error:
        raise ImportError(
            f"backend={backend!r} of {own.__name__} is not installed: pip install 'imagine-rl[{extra}]'"
        ) from error
    return engine(**options)


def make_vector_env(
    task: str,
    num_envs: int = 1,
    *,
    backend: str = "native",
    max_episode_steps: int | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    copy: bool = True,
    **options: Any,
) -> VectorEnv[Any, Any, Any]:
    """A batch: what ``gymnasium.make_vec`` calls.

    Natively it is a :class:`~imagine_envs.tasks.TaskVectorEnv`; other engines play one episode each, one after the
    other, in Gymnasium's ``SyncVectorEnv`` (and in processes with ``vectorization_mode="async"``).

    Args:
        task: As in :func:`make_env`.
        num_envs: Rows.
        backend: As in :func:`make_env`.
        max_episode_steps: A step limit on top of the task's own.
        autoreset_mode: SAME_STEP or NEXT_STEP.
        copy: Whether every step returns a new array of observations.
        **options: As in :func:`make_env`.

    Raises:
        ValueError: If an argument makes no sense.
        ImportError: If the engine is not installed.
    """
    mode = AutoresetMode(autoreset_mode)
    if backend == "native":
        return TaskVectorEnv(
            task, num_envs, max_episode_steps=max_episode_steps, autoreset_mode=mode, copy=copy, **options
        )

    def make() -> gym.Env[Any, Any]:
        env = make_env(task, backend=backend, **options)
        return env if max_episode_steps is None else gym.wrappers.TimeLimit(env, max_episode_steps)

    return SyncVectorEnv([make] * num_envs, copy=copy, autoreset_mode=mode)


def _class_at(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)
