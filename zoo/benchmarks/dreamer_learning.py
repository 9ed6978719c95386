"""What Dreamer learns from how many real steps, beside model-free algorithms at the same number.

    python -m zoo.benchmarks.dreamer_learning --work runs/dreamer                  # what is not measured yet (days)
    python -m zoo.benchmarks.dreamer_learning --work runs/dreamer --tasks CartPole-v1 --seeds 0 1
    python -m zoo.benchmarks.dreamer_learning --report                             # only the table and the picture

The settings are those of ``imagine train --algo dreamer`` (``zoo/hyperparams/dreamer.yml``). The *final* policy is
judged by 100 real episodes; the points of the curves are judged by 10 each, on environments of their own, and select
nothing. Runs are checkpointed in ``--work`` and go on exactly where they were killed; what is complete is added to
``results/dreamer_learning.json``.
"""

from __future__ import annotations

import functools
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from matplotlib.figure import Figure
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from imagine_agents import Dreamer
from imagine_agents.common.checkpoint import load_checkpoint, read_progress, save_checkpoint
from zoo.benchmarks.learning_curves import Run, arguments, curves, markdown, of, outcome, publish
from zoo.benchmarks.model_free import model_free

RESULTS = Path(__file__).parent / "results" / "dreamer_learning.json"
HYPERPARAMS = Path(__file__).parent.parent / "hyperparams" / "dreamer.yml"

TARGETS = {"CartPole-v1": 475.0, "Pendulum-v1": -200.0, "Acrobot-v1": -100.0}
"""Task → the mean return to reach within ``n_timesteps`` real steps of the hyper-parameter file."""

MODEL_FREE = {"CartPole-v1": ("ppo", "dqn"), "Pendulum-v1": ("ppo", "sac"), "Acrobot-v1": ("ppo", "dqn")}

VARIANTS: dict[str, dict[str, Any]] = {
    "reconstruction": {},
    "reward only": {"representation": "reward"},
    "contrastive": {"representation": "contrastive"},
}
"""Of Dreamer: what shapes the state."""

COLORS = {
    "reconstruction": "#0072B2",
    "reward only": "#CC79A7",
    "contrastive": "#009E73",
    "ppo": "#999999",
    "dqn": "#D55E00",
    "sac": "#E69F00",
}
"""Everything that is compared."""

_POINTS = 20


def settings(task: str, variant: str) -> tuple[int, dict[str, Any]]:
    """Real steps, and Dreamer's keyword arguments."""
    params = dict(yaml.safe_load(HYPERPARAMS.read_text())[task])
    steps = int(params.pop("n_timesteps"))
    params.pop("n_envs", None)
    params.update(VARIANTS.get(variant, {}))
    return steps, params


def episodes(model: BaseAlgorithm, task: str, count: int, seed: int) -> list[float]:
    """Returns of real episodes, ten at a time."""
    env: VecEnv = make_vec_env(task, n_envs=10, seed=seed + 10_000)
    normalize = model.get_vec_normalize_env()
    if normalize is not None:
        env = VecNormalize(env, training=False, norm_reward=False)
        env.obs_rms = normalize.obs_rms
    try:
        return [float(value) for value in evaluate_policy(model, env, count, return_episode_rewards=True)[0]]  # type: ignore[union-attr]
    finally:
        env.close()


class _Curve(BaseCallback):
    """Judges the policy at every twentieth of the run, and leaves a checkpoint there."""

    def __init__(self, task: str, seed: int, every: int, folder: Path | None, curve: list[Any], seconds: float) -> None:
        super().__init__()
        self.curve, self.seconds = curve, seconds
        self._task, self._seed, self._every, self._folder = task, seed, every, folder
        self._next = every * (len(curve) + 1)
        self._since = time.perf_counter()

    def _on_rollout_start(self) -> None:  # between updates and the next real step
        if self.num_timesteps < self._next:
            return
        self._next += self._every
        self.seconds += time.perf_counter() - self._since
        streams = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002  (judging must not change learning)
        self.curve.append((self.num_timesteps, float(np.mean(episodes(self.model, self._task, 10, self._seed)))))
        torch.set_rng_state(streams[0])
        np.random.set_state(streams[1])  # noqa: NPY002
        print(f"  {self._task} seed {self._seed}: {self.curve[-1]} after {self.seconds:.0f} s", flush=True)
        if self._folder is not None:
            progress = {"curve": self.curve, "seconds": self.seconds}
            save_checkpoint(self.model, self._folder, progress=progress, overwrite=True)
        self._since = time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.seconds += time.perf_counter() - self._since


def measure(task: str, variant: str, seed: int, work: Path) -> Run:
    """One run: trains (or goes on), judges the final policy by 100 real episodes."""
    steps, params = settings(task, variant)
    folder = work / f"{task}-{variant.replace(' ', '-')}-{seed}"
    curve: list[Any] = []
    seconds = 0.0
    model: BaseAlgorithm
    if variant not in VARIANTS:
        model = model_free(task, variant, seed)
    elif folder.is_dir():
        model = load_checkpoint(Dreamer, folder, device="cpu")
        progress = read_progress(folder)
        curve, seconds = progress["curve"], progress["seconds"]
        print(f"  {task} {variant} seed {seed}: going on from {model.num_timesteps} steps", flush=True)
    else:
        model = Dreamer(params.pop("policy"), task, seed=seed, device="cpu", **params)
    checkpoints = folder if variant in VARIANTS else None
    callback = _Curve(task, seed, steps // _POINTS, checkpoints, curve, seconds)
    model.learn(steps - model.num_timesteps, callback=callback, reset_num_timesteps=model.num_timesteps == 0)
    returns = episodes(model, task, 100, seed)
    result = {
        "task": task,
        "variant": variant,
        "seed": seed,
        "real_steps": model.num_timesteps,
        "updates": model._n_updates,
        "train_ratio": params.get("train_ratio"),
        "mean_return": float(np.mean(returns)),
        "std_return": float(np.std(returns)),
        "seconds": callback.seconds,
        "threads": torch.get_num_threads(),
        "curve": [*callback.curve, (model.num_timesteps, float(np.mean(returns)))],
    }
    shutil.rmtree(folder, ignore_errors=True)
    return result


def _variants(task: str) -> list[str]:
    return [*VARIANTS, *MODEL_FREE[task]]


def table(runs: list[Run]) -> str:
    """The results in Markdown: mean ± standard deviation over the seeds."""
    rows = []
    for task, target in TARGETS.items():
        steps, params = settings(task, "reconstruction")
        took = [run["seconds"] / 3600 for run in of(runs, task, "reconstruction")]
        cells = [outcome(runs, task, name) for name in COLORS]
        hours = f"{np.mean(took):.2f}" if took else "–"
        rows.append((task, f"{steps:,}", f"{params['train_ratio']:g}", f"{target:g}", *cells, hours))
    return markdown(("task", "real steps", "train ratio", "target", *COLORS, "hours a run"), rows)


def picture(runs: list[Run]) -> Figure:
    """Learning curves."""
    return curves(runs, TARGETS, COLORS, width=4.2)


def main(argv: list[str] | None = None) -> None:
    """Measures what is missing, then writes table and picture."""
    parser = arguments(__doc__, list(TARGETS), list(COLORS), RESULTS)
    parser.add_argument("--work", type=Path, default=Path("runs/dreamer_learning"), help="folder of the checkpoints")
    args = parser.parse_args(argv)
    wanted = [
        (task, variant, seed)
        for seed in args.seeds
        for task in args.tasks
        for variant in args.variants
        if variant in _variants(task)
    ]
    publish(args, wanted, functools.partial(measure, work=args.work), table, picture)


if __name__ == "__main__":
    main()
