"""Runs of learning that are judged along the way and go on exactly where they were killed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from imagine_agents.common.checkpoint import load_checkpoint, read_progress, save_checkpoint
from zoo.benchmarks.learning_curves import Key, Run
from zoo.benchmarks.model_free import wrapped_alike

__all__ = ["POINTS", "episodes", "learned"]

POINTS = 20
"""Of a learning curve."""


def episodes(model: BaseAlgorithm, make: Callable[[], gym.Env], count: int, seed: int) -> list[float]:
    """Returns of real episodes, ten at a time."""
    env = wrapped_alike(make_vec_env(make, n_envs=10, seed=seed + 10_000), model)
    try:
        return [float(value) for value in evaluate_policy(model, env, count, return_episode_rewards=True)[0]]  # type: ignore[union-attr]
    finally:
        env.close()


class _Curve(BaseCallback):
    """Judges the policy at every point of the curve, and leaves a checkpoint there."""

    def __init__(
        self, make: Callable[[], gym.Env], seed: int, every: int, folder: Path | None, progress: dict[str, Any]
    ) -> None:
        super().__init__()
        self.progress = progress
        self._make, self._seed, self._every, self._folder = make, seed, every, folder
        self._next = every * (len(progress["curve"]) + 1)
        self._since = time.perf_counter()

    def _on_rollout_start(self) -> None:  # between updates and the next real step
        if self.num_timesteps < self._next:
            return
        self._next += self._every
        self._stop_the_clock()
        streams = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002  (judging must not change learning)
        point = (self.num_timesteps, float(np.mean(episodes(self.model, self._make, 10, self._seed))))
        torch.set_rng_state(streams[0])
        np.random.set_state(streams[1])  # noqa: NPY002
        self.progress["curve"].append(point)
        print(f"  seed {self._seed}: {point} after {self.progress['seconds']:.0f} s", flush=True)
        if self._folder is not None:
            save_checkpoint(self.model, self._folder, progress=self.progress, overwrite=True)
        self._since = time.perf_counter()

    def _stop_the_clock(self) -> None:
        self.progress["seconds"] += time.perf_counter() - self._since

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._stop_the_clock()


def learned(
    key: Key,
    chosen: dict[str, Any],
    make: Callable[[], gym.Env],
    begin: Callable[[], BaseAlgorithm],
    work: Path,
    algorithm: type[BaseAlgorithm] | None,
) -> tuple[BaseAlgorithm, Run]:
    """One run: trains (or goes on), judges the final policy by 100 real episodes.

    Args:
        key: Task, variant and seed.
        chosen: What the run is made of, in JSON types; ``n_timesteps`` real steps of it.
        make: Makes a real environment.
        begin: Makes the algorithm of a run that begins.
        work: Folder of the checkpoints.
        algorithm: What checkpoints are loaded as; None leaves none, and begins anew.

    Raises:
        ValueError: If the run in ``work`` was begun with other settings.
    """
    task, variant, seed = key
    steps = int(chosen["n_timesteps"])
    folder = work / f"{task.replace('/', '-')}-{variant.replace(' ', '-')}-{seed}"
    progress: dict[str, Any] = {"curve": [], "seconds": 0.0, "settings": chosen}
    if algorithm is None or not folder.is_dir():
        model = begin()
    else:
        saved = read_progress(folder)
        progress = {name: saved.get(name) for name in progress}
        if progress["settings"] != chosen:
            raise ValueError(
                f"{folder} was begun with {progress['settings']}, not with {chosen}; remove it to begin anew"
            )
        model = load_checkpoint(algorithm, folder, device="cpu")
        print(f"  {task} {variant} seed {seed}: going on from {model.num_timesteps} steps", flush=True)
    callback = _Curve(make, seed, steps // POINTS, None if algorithm is None else folder, progress)
    model.learn(steps - model.num_timesteps, callback=callback, reset_num_timesteps=model.num_timesteps == 0)
    returns = episodes(model, make, 100, seed)
    run = {
        "task": task,
        "variant": variant,
        "seed": seed,
        "settings": chosen,
        "real_steps": model.num_timesteps,
        "updates": model._n_updates,
        "mean_return": float(np.mean(returns)),
        "std_return": float(np.std(returns)),
        "seconds": progress["seconds"],
        "threads": torch.get_num_threads(),
        "curve": [*progress["curve"], (model.num_timesteps, float(np.mean(returns)))],
    }
    shutil.rmtree(folder, ignore_errors=True)
    return model, run
