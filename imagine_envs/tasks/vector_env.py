"""A batch of tasks as a Gymnasium ``VectorEnv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from imagine_envs.checked_actions import checked_actions
from imagine_envs.tasks.batch import TaskBatch, task_of
from imagine_envs.tasks.task import BatchedTask, State
from imagine_envs.whole_numbers import check_whole

__all__ = ["TaskVectorEnv"]


class TaskVectorEnv(VectorEnv):
    """Many episodes of one task, stepped by one kernel.

    A finished row begins a new episode in the same step; its last observation is in ``info["final_obs"]`` (one item
    for each row, None where none finished, as in Gymnasium's own) and that step's info in ``info["final_info"]``. With
    ``autoreset_mode=NEXT_STEP`` it begins anew in the next step instead, whose action is ignored and whose reward is 0.

    Args:
        task: A task, or where its class is, as in ``"imagine_envs.tasks.mazes:DynaMaze"``. The registered ids bring it.
        num_envs: Rows.
        max_episode_steps: A step limit on top of the task's own, as ``gym.make_vec`` passes it.
        autoreset_mode: SAME_STEP (what SB3 means by a VecEnv) or NEXT_STEP (what Gymnasium's observation wrappers
            want).
        copy: Whether every step returns a new array of observations; else they are written over in every step.
        render_mode: "rgb_array" or None.
        render_size: Pixels of the longer side of a picture, about.
        **options: Of the task.

    Raises:
        ValueError: If an argument makes no sense.

    Example:
        >>> import gymnasium as gym, imagine_envs
        >>> envs = gym.make_vec("Imagine/DynaMaze-v0", num_envs=1024)
        >>> observations, infos = envs.reset(seed=0)
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as Gymnasium declares it)
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        task: str | BatchedTask,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        copy: bool = True,
        render_mode: str | None = None,
        render_size: int = 512,
        **options: Any,
    ) -> None:
        check_whole("num_envs", num_envs)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r} must be 'rgb_array' or None; a window shows one TaskEnv")
        mode = AutoresetMode(autoreset_mode)
        if mode is AutoresetMode.DISABLED:
            raise ValueError("autoreset_mode must be SAME_STEP or NEXT_STEP: finished rows restart by themselves")
        self.task = task_of(task, **options)
        limits = [limit for limit in (self.task.max_steps, max_episode_steps) if limit is not None]
        self.max_steps = min(limits, default=None)
        self.replay_columns = self.task.replay_columns
        self.num_envs = int(num_envs)
        self.fresh_arrays = copy
        self.render_mode = render_mode
        self.render_size = render_size
        fps = self.task.frames_per_second or self.metadata["render_fps"]
        self.metadata = {**self.metadata, "render_fps": fps, "autoreset_mode": mode}
        self.single_observation_space = self.task.observation_space
        self.single_action_space = self.task.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._same_step = mode is AutoresetMode.SAME_STEP
        self._batch = TaskBatch(self.task, self.num_envs, self.max_steps)
        self._seeded = False
        self._started = False

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins new episodes.

        Args:
            seed: Row i gets ``seed + i``, or the i-th of as many seeds, and then plays as a ``TaskEnv`` with that
                seed; None goes on with the random numbers of before.
            options: ``reset_mask`` (bool ``[B]``) resets some rows only; others are the task's
                (:attr:`BatchedTask.reset_options`).

        Raises:
            ValueError: If there are more or fewer seeds than rows, or an option is not known.
        """
        seeds = self._seeds(seed)
        super().reset(seed=seeds[0])
        options = dict(options or {})
        rows = self._batch.all_rows
        mask = options.pop("reset_mask", None)
        if mask is not None:
            mask = np.asarray(mask)
            if mask.shape != (self.num_envs,) or mask.dtype != bool:
                raise ValueError(f"reset_mask is {mask!r}; booleans [{self.num_envs}] were expected")
            rows = np.flatnonzero(mask)
        if not self._started and len(rows) < self.num_envs:
            raise ValueError("the first reset() must be of all rows; it came with a reset_mask")
        if not self._seeded:  # rows that get no seed below start at random
            self._batch.seed(self._batch.all_rows, self.np_random.integers(2**63, size=self.num_envs).tolist())
            self._seeded = True
        given = [row for row in rows.tolist() if seeds[row] is not None]
        if given:
            self._batch.seed(np.array(given), [seeds[row] for row in given])
        infos = self._spread(self._batch.restart(rows, options), rows)
        self._started = True
        return self._observations(), infos

    def step(
        self, actions: Any
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Takes one step in every row; see the class for what happens to finished rows."""
        self._check_started()
        batch = self._batch
        action = checked_actions(actions, self.single_action_space, self.num_envs)
        anew = batch.all_rows[:0] if self._same_step else np.flatnonzero(batch.state["finished"])
        kept = {name: array[anew] for name, array in batch.state.items()} if len(anew) else {}
        reward, terminated, truncated, finished = batch.step(action)
        columns = {key: array.copy() for key, array in self.task.info(batch.state).items()}
        infos: dict[str, Any] = {}
        if len(anew):  # these rows begin anew instead of stepping
            for name, array in kept.items():
                batch.state[name][anew] = array
            reward[anew], terminated[anew], truncated[anew] = 0.0, False, False
        elif self._same_step and finished.any():
            anew = np.flatnonzero(finished)
            infos = self._final(anew, finished, columns)
        stepped = np.ones(self.num_envs, bool)
        if len(anew):
            infos |= self._spread(batch.restart(anew), anew)
            stepped[anew] = False
        for key, array in columns.items():
            if key in infos:  # of the rows that began anew, beside which it is written
                infos[key][stepped] = array[stepped]
                infos[f"_{key}"] |= stepped
            else:
                infos[key], infos[f"_{key}"] = array, stepped.copy()
        return self._observations(), reward, terminated, truncated, infos

    def snapshot(self) -> State:
        """Where all episodes are, their random numbers included; :meth:`restore` brings them back."""
        self._check_started()
        return self._batch.snapshot()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Any:
        """Goes back to a snapshot (of as many rows) and returns its observations.

        Raises:
            ValueError: If the snapshot is of another task or has another number of rows.
        """
        self._batch.restore(state)
        self._seeded = self._started = True
        return self._observations()

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """One picture ``[H, W, 3]`` for each row, if ``render_mode`` is "rgb_array"."""
        if self.render_mode is None:
            return None
        self._check_started()
        return tuple(self.task.render(self._batch.state, row, self.render_size) for row in range(self.num_envs))

    def _check_started(self) -> None:
        if not self._started:
            raise RuntimeError("call reset() first")

    def _observations(self) -> Any:
        return self._batch.observation.copy() if self.fresh_arrays else self._batch.observation

    def _final(
        self, rows: NDArray[np.int64], finished: NDArray[np.bool_], columns: Mapping[str, NDArray[Any]]
    ) -> dict[str, Any]:
        """What the infos keep of the last step of ``rows``, as Gymnasium's own vector environments have it."""
        final_obs = np.full(self.num_envs, None, object)
        for row, final in zip(rows.tolist(), self._batch.observation[rows], strict=True):
            final_obs[row] = final
        final_info = {key: array.copy() for key, array in columns.items()}
        final_info |= {f"_{key}": finished.copy() for key in columns}
        return {
            "final_obs": final_obs,
            "_final_obs": finished,
            "final_info": final_info,
            "_final_info": finished.copy(),
        }

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + row for row in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"reset() got {len(seed)} seeds; one integer or {self.num_envs} of them were expected")
        return list(seed)

    def _spread(self, columns: Mapping[str, NDArray[Any]], rows: NDArray[np.int64]) -> dict[str, Any]:
        """Infos of some rows as vectorised infos of all."""
        infos: dict[str, Any] = {}
        for key, values in columns.items():
            whole = np.zeros((self.num_envs, *values.shape[1:]), values.dtype)
            held = np.zeros(self.num_envs, bool)
            whole[rows], held[rows] = values, True
            infos[key], infos[f"_{key}"] = whole, held
        return infos
