"""One task as a Gymnasium ``Env``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from imagine_envs.checked_actions import checked_actions
from imagine_envs.tasks.batch import TaskBatch, task_of
from imagine_envs.tasks.task import BatchedTask, State

if TYPE_CHECKING:
    from imagine_envs.dreams.rendering import Window

__all__ = ["TaskEnv"]


class TaskEnv(gym.Env):
    """One episode of a task: a batch of one.

    The step limit is the task's own (``max_steps``) and not Gymnasium's ``TimeLimit``, which would call an episode
    that is solved in the last allowed step truncated too. ``gym.make(…, max_episode_steps=n)`` puts a ``TimeLimit`` on
    top.

    Args:
        task: A task, or where its class is, as in ``"imagine_envs.tasks.mazes:DynaMaze"``. The registered ids bring it.
        render_mode: "rgb_array", "human" (a window) or None.
        render_size: Pixels of the longer side of a picture, about.
        **options: Of the task.

    Raises:
        ValueError: If an argument makes no sense.

    Example:
        >>> import gymnasium as gym, imagine_envs
        >>> env = gym.make("Imagine/DynaMaze-v0")
        >>> observation, info = env.reset(seed=0)
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as Gymnasium declares it)
        "render_modes": ["human", "rgb_array"],
        "render_fps": 10,
    }

    def __init__(
        self, task: str | BatchedTask, *, render_mode: str | None = None, render_size: int = 512, **options: Any
    ) -> None:
        if render_mode not in (None, "rgb_array", "human"):
            raise ValueError(f"render_mode={render_mode!r} must be 'rgb_array', 'human' or None")
        self.task = task_of(task, **options)
        self.max_steps = self.task.max_steps
        self.replay_columns = self.task.replay_columns
        self.metadata = {**self.metadata, "render_fps": self.task.frames_per_second or self.metadata["render_fps"]}
        self.render_mode = render_mode
        self.render_size = render_size
        self.observation_space = self.task.observation_space
        self.action_space = self.task.action_space
        self._batch = TaskBatch(self.task, 1, self.max_steps)
        self._seeded = False
        self._started = False
        self._window: Window | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins a new episode.

        Args:
            seed: Seeds the random numbers; None goes on with those of before.
            options: The task's (:attr:`BatchedTask.reset_options`).

        Raises:
            ValueError: If an option is not known.
        """
        super().reset(seed=seed)
        rows = self._batch.all_rows
        if seed is not None:
            self._batch.seed(rows, [seed])
        elif not self._seeded:
            self._batch.seed(rows, [int(self.np_random.integers(2**63))])
        self._seeded = True
        info = _of_one(self._batch.restart(rows, options))
        self._started = True
        if self.render_mode == "human":
            self.render()
        return self._observation(), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes one step."""
        self._check_started()
        reward, terminated, truncated, _ = self._batch.step(
            checked_actions(np.asarray(action)[None], self.task.action_space, 1)
        )
        info = _of_one(self.task.info(self._batch.state))
        if self.render_mode == "human":
            self.render()
        return self._observation(), float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def snapshot(self) -> State:
        """Where the episode is, its random numbers included; :meth:`restore` brings it back."""
        self._check_started()
        return self._batch.snapshot()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Any:
        """Goes back to a snapshot and returns its observation.

        Raises:
            ValueError: If the snapshot is of another task or not of one row.
        """
        self._batch.restore(state)
        self._seeded = self._started = True
        return self._observation()

    def status(self) -> str:
        """What a player wants to know besides the picture, such as ``"level 12   boxes 1/4"``."""
        self._check_started()
        return self.task.status(self._batch.state, 0)

    def render(self) -> NDArray[np.uint8] | None:
        """A picture ``[H, W, 3]``; None in a window or without a render mode."""
        if self.render_mode is None:
            return None
        self._check_started()
        frame = self.task.render(self._batch.state, 0, self.render_size)
        if self.render_mode == "rgb_array":
            return frame
        if self._window is None:
            from imagine_envs.dreams.rendering import Window  # brings torch, which nothing else here needs

            title = self.spec.id if self.spec is not None else type(self.task).__name__
            self._window = Window(title, fps=self.metadata["render_fps"])
        self._window.show(frame)
        return None

    def close(self) -> None:
        """Closes the window."""
        if self._window is not None:
            self._window.close()

    def _check_started(self) -> None:
        if not self._started:
            raise RuntimeError("call reset() first")

    def _observation(self) -> Any:
        observation = self._batch.observation[0]
        return observation.copy() if observation.ndim else observation  # a Discrete's is a number


def _of_one(columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The only row of infos: numbers as Python's own, anything else as an array of its own."""
    return {key: array[0].copy() if array.ndim > 1 else array[0].item() for key, array in columns.items()}
