"""A batch of episodes of one task: state, clock and observations. What the two Gymnasium faces share."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_envs.tasks.task import BatchedTask, State

__all__ = ["TaskBatch", "task_class", "task_of"]


def task_class(where: str) -> type[BatchedTask]:
    """The class that a string names.

    Raises:
        ValueError: If it names no task.
    """
    module, _, name = where.partition(":")
    found = getattr(importlib.import_module(module), name, None) if name else None
    if not (isinstance(found, type) and issubclass(found, BatchedTask)):
        raise ValueError(f"task={where!r} names no BatchedTask; 'module:Class' was expected")
    return found


def task_of(task: str | BatchedTask, **options: Any) -> BatchedTask:
    """The task itself, or the one that a string names.

    Args:
        task: A task, or where its class is, as in ``"imagine_envs.tasks.mazes:DynaMaze"``.
        **options: Keyword arguments of the class.

    Raises:
        TypeError: If a task comes with options, or ``task`` is something else.
        ValueError: If the string names no task, or an option makes no sense.
    """
    if isinstance(task, BatchedTask):
        if options:
            raise TypeError(f"a task has its options already; these came on top: {', '.join(options)}")
        return task
    if not isinstance(task, str):
        raise TypeError(f"task is {task!r}; a BatchedTask or a string 'module:Class' was expected")
    return task_class(task)(**options)


class TaskBatch:
    """Episodes of one task, stepped together; nothing is reset by itself.

    Args:
        task: The rules.
        size: Rows.
        max_steps: Steps after which an episode is truncated, unless it terminates with the last one; None for no limit.

    Attributes:
        state: The task's arrays, ``elapsed`` (int64 ``[B]``, steps of the episode so far) and ``finished`` (bool
            ``[B]``).
        observation: ``[B, …]``, written over in every step.
    """

    def __init__(self, task: BatchedTask, size: int, max_steps: int | None) -> None:
        self.task = task
        self.max_steps = max_steps
        self.state: State = {
            **task.allocate(size),
            "elapsed": np.zeros(size, np.int64),
            "finished": np.zeros(size, bool),
        }
        space = task.observation_space
        self.observation: NDArray[Any] = np.zeros((size, *(space.shape or ())), space.dtype)
        self.all_rows: NDArray[np.int64] = np.arange(size)

    def seed(self, rows: NDArray[np.int64], seeds: Sequence[int]) -> None:
        """Begins new lives in ``rows``: nothing is remembered, and random numbers start at a seed for each row.

        The next :meth:`restart` plays from there.
        """
        for array in self.state.values():
            array[rows] = 0
        self.task.seed(self.state, rows, seeds)

    def restart(self, rows: NDArray[np.int64], options: Mapping[str, Any] | None = None) -> dict[str, NDArray[Any]]:
        """Begins new episodes in ``rows`` and returns the infos of these resets, ``[R, …]``.

        Raises:
            ValueError: If the task does not know an option.
        """
        options = options or {}
        for key in options:
            if key not in self.task.reset_options:
                known = ", ".join(self.task.reset_options) or "none"
                raise ValueError(f"reset() got the option {key!r}; {type(self.task).__name__} knows {known}")
        self.task.reset(self.state, rows, options)
        self.state["elapsed"][rows] = 0
        self.state["finished"][rows] = False
        self.task.observe(self.state, rows, self.observation)
        return self.task.reset_info(self.state, rows)

    def step(
        self, action: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Steps every row.

        Returns:
            Reward, termination, truncation (of episodes that did not terminate) and whether either came, ``[B]``
            each, new arrays.
        """
        size = len(self.all_rows)
        reward, terminated = np.empty(size), np.empty(size, bool)
        self.task.step(self.state, action, reward, terminated)
        self.task.refresh(self.state, self.observation)
        elapsed = self.state["elapsed"]
        elapsed += 1
        if self.max_steps is None:
            truncated, finished = np.zeros(size, bool), terminated.copy()
        else:
            over = elapsed >= self.max_steps
            truncated, finished = over & ~terminated, over | terminated
        self.state["finished"][:] = finished
        return reward, terminated, truncated, finished

    def snapshot(self) -> State:
        """A copy of the state, from which :meth:`restore` goes on exactly."""
        return {name: array.copy() for name, array in self.state.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Goes back to a snapshot.

        Raises:
            ValueError: If it is not one of this task and of as many rows.
        """
        if state.keys() != self.state.keys():
            raise ValueError(f"the snapshot holds {sorted(state)}; {sorted(self.state)} were expected")
        for name, array in self.state.items():
            if state[name].shape != array.shape:
                raise ValueError(f"the snapshot's {name!r} has shape {state[name].shape}; {array.shape} was expected")
        for name, array in self.state.items():
            array[:] = state[name]
        self.task.observe(self.state, self.all_rows, self.observation)
