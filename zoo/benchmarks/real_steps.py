"""Real steps needed: ImaginationTrainer beside the same algorithm without a model, with every control.

    python -m zoo.benchmarks.real_steps                     # everything that is not measured yet (hours)
    python -m zoo.benchmarks.real_steps --tasks CartPole-v1 --variants imagination model-free --seeds 0 1 2 3 4
    python -m zoo.benchmarks.real_steps --report            # only the table and the picture

The settings are those of ``imagine train --algo imagination`` (``zoo/hyperparams/imagination.yml``) and, without a
model, rl_zoo3's own tuned ones. Every real step of learning counts. The *final* policy is judged by 100 real episodes;
the points of the curves are judged by 10 each, on an environment of their own, and select nothing. Results are added
to ``results/real_steps.json`` after each run, so that a killed measurement goes on where it stopped.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import yaml
from matplotlib.figure import Figure
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from imagine_agents import ImaginationTrainer
from wrappers import SB3VecEnv
from wrappers.latent_observation import LatentVectorObservation
from zoo.agents import NormalizedPolicy
from zoo.benchmarks.learning_curves import Run, arguments, curves, markdown, outcome, publish
from zoo.benchmarks.model_free import model_free, model_free_settings

RESULTS = Path(__file__).parent / "results" / "real_steps.json"
HYPERPARAMS = Path(__file__).parent.parent / "hyperparams" / "imagination.yml"

TARGETS = {"CartPole-v1": 475.0, "Pendulum-v1": -180.0, "Acrobot-v1": -100.0, "MountainCarContinuous-v0": 85.0}
"""Task → the mean return to reach within ``n_timesteps`` real steps of the hyper-parameter file."""

VARIANTS: dict[str, dict[str, Any]] = {
    "imagination": {},
    "unfitted": {"fit_kwargs": {"learning_rate": 0.0, "weight_decay": 0.0, "max_epochs": 1}},
    "copy": {"world_model": "copy", "world_model_kwargs": {}, "exploration_bonus": 0.0},
    "perfect": {"world_model": "perfect", "world_model_kwargs": {}, "exploration_bonus": 0.0},
    "model-free": {},
}
"""What is compared; changes to the settings of the trainer."""

COLORS = ("#0072B2", "#CC79A7", "#999999", "#009E73", "#D55E00")


def settings(task: str, variant: str) -> tuple[int, dict[str, Any]]:
    """Real steps, and the trainer's keyword arguments."""
    params = dict(yaml.safe_load(HYPERPARAMS.read_text())[task])
    steps = int(params.pop("n_timesteps"))
    params.pop("policy", None)
    params.pop("n_envs", None)
    params.update(VARIANTS[variant])
    return steps, params


class _Curve(BaseCallback):
    """Judges the policy now and then, on an environment of its own."""

    def __init__(self, task: str, points: list[int], seed: int) -> None:
        super().__init__()
        self._task, self._points, self._seed = task, list(points), seed
        self.curve: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        while self._points and self.num_timesteps >= self._points[0]:
            self._points.pop(0)
            self._judge()
        return True

    def _judge(self) -> None:
        returns = _returns(self.model, self._task, 10, self._seed)
        self.curve.append((self.num_timesteps, float(np.mean(returns))))


class _TrainerCurve(_Curve):
    """The same before each collection: right after the training in the dream."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps:
            self._judge()


def _returns(model: BaseAlgorithm, task: str, episodes: int, seed: int) -> list[float]:
    """Returns of real episodes; of a policy of latent dreams ten at a time, seen through its world."""
    normalize = model.get_vec_normalize_env()
    # The policy sees what it learned from: normalised observations, or features.
    policy: Any = model if normalize is None else NormalizedPolicy(model, normalize)
    env: gym.Env | VecEnv
    if isinstance(model, ImaginationTrainer) and model.latent:
        assert model.world is not None
        same_step = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
        batch = gym.make_vec(task, num_envs=10, vectorization_mode="sync", vector_kwargs=same_step)
        env = VecMonitor(SB3VecEnv(LatentVectorObservation(batch, model.world)))
        env.seed(seed + 10_000)
    else:
        env = Monitor(gym.make(task))
        env.reset(seed=seed + 10_000)
    return [float(value) for value in evaluate_policy(policy, env, episodes, return_episode_rewards=True)[0]]  # type: ignore[union-attr]


def measure(
    task: str,
    variant: str,
    seed: int,
    settings: Callable[[str, str], tuple[int, dict[str, Any]]] = settings,
) -> Run:
    """One run: trains, judges the final policy by 100 real episodes.

    Args:
        task: The environment's id.
        variant: What is trained; "model-free" is the same algorithm without a model.
        seed: Of everything.
        settings: Real steps, and the trainer's keyword arguments, of a task and a variant.
    """
    began = time.perf_counter()
    steps, params = settings(task, variant)
    curve: _Curve
    if variant == "model-free":
        name = params.get("algorithm", "ppo")
        model, params = model_free(task, name, seed), model_free_settings(task, name)
        curve = _Curve(task, [round(steps * part / 10) for part in range(1, 11)], seed)
        model.learn(steps, callback=curve)
        dreamed = 0
    else:
        trainer = ImaginationTrainer("MlpPolicy", task, seed=seed, device="cpu", **params)
        curve = _TrainerCurve(task, [], seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # data without a termination: said for every refit
            trainer.learn(steps, callback=curve)
        model, dreamed = trainer, trainer.dream_steps
    trained = time.perf_counter() - began
    returns = _returns(model, task, 100, seed)
    curve.curve.append((model.num_timesteps, float(np.mean(returns))))
    return {
        "task": task,
        "variant": variant,
        "seed": seed,
        "settings": params,
        "algorithm": model.algorithm.__name__ if isinstance(model, ImaginationTrainer) else type(model).__name__,
        "real_steps": model.num_timesteps,
        "dream_steps": dreamed,
        "mean_return": float(np.mean(returns)),
        "std_return": float(np.std(returns)),
        "seconds": trained,
        "curve": curve.curve,
    }


def table(runs: list[Run]) -> str:
    """The results in Markdown: mean ± standard deviation over the seeds."""
    rows = [
        (
            task,
            f"{settings(task, 'imagination')[0]:,}",
            f"{target:g}",
            *(outcome(runs, task, name) for name in VARIANTS),
        )
        for task, target in TARGETS.items()
    ]
    return markdown(("task", "real steps", "target", *VARIANTS), rows)


def picture(runs: list[Run]) -> Figure:
    """Learning curves."""
    return curves(runs, TARGETS, dict(zip(VARIANTS, COLORS, strict=True)))


def main(argv: list[str] | None = None) -> None:
    """Measures what is missing, then writes table and picture."""
    args = arguments(__doc__, list(TARGETS), list(VARIANTS), RESULTS).parse_args(argv)
    wanted = [(task, variant, seed) for task in args.tasks for variant in args.variants for seed in args.seeds]
    publish(args, wanted, measure, table, picture)


if __name__ == "__main__":
    main()
