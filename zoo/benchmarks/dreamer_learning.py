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

import argparse
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
from imagine_envs.storage import atomic_file, load_json, save_json
from zoo.benchmarks.measure import machine
from zoo.benchmarks.model_free import model_free

RESULTS = Path(__file__).parent / "results" / "dreamer_learning.json"
PICTURE = Path(__file__).parent / "results" / "dreamer_learning.png"
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


def measure(task: str, variant: str, seed: int, work: Path) -> dict[str, Any]:
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


def table(runs: list[dict[str, Any]]) -> str:
    """The results in Markdown: mean ± standard deviation over the seeds."""
    names = [*VARIANTS, "ppo", "dqn", "sac"]
    lines = [
        "| task | real steps | train ratio | target | " + " | ".join(names) + " | hours a run |",
        "|---" * (5 + len(names)) + "|",
    ]
    for task, target in TARGETS.items():
        steps, params = settings(task, "reconstruction")
        cells = []
        for variant in names:
            found = [run["mean_return"] for run in runs if (run["task"], run["variant"]) == (task, variant)]
            cells.append(f"{np.mean(found):.1f} ± {np.std(found):.1f} ({len(found)})" if found else "–")
        took = [r["seconds"] / 3600 for r in runs if (r["task"], r["variant"]) == (task, "reconstruction")]
        hours = f"{np.mean(took):.2f}" if took else "–"
        row = (task, f"{steps:,}", f"{params['train_ratio']:g}", f"{target:g}", *cells, hours)
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def picture(runs: list[dict[str, Any]]) -> Figure:
    """Learning curves: mean over the seeds, the band from the worst to the best."""
    figure = Figure(figsize=(4.2 * len(TARGETS), 3.4), layout="constrained")
    palette = ("#0072B2", "#CC79A7", "#009E73", "#999999", "#D55E00", "#E69F00")
    colors = dict(zip((*VARIANTS, "ppo", "dqn", "sac"), palette, strict=True))
    for axes, (task, target) in zip(figure.subplots(1, len(TARGETS)), TARGETS.items(), strict=True):
        for variant, color in colors.items():
            curves = [run["curve"] for run in runs if (run["task"], run["variant"]) == (task, variant)]
            if not curves:
                continue
            length = min(map(len, curves))
            steps = [point[0] for point in curves[0][:length]]
            values = np.array([[point[1] for point in curve[:length]] for curve in curves])
            axes.plot(steps, values.mean(0), color=color, label=f"{variant} ({len(curves)})", marker=".")
            axes.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.15, linewidth=0)
        axes.axhline(target, color="black", linewidth=0.8, linestyle=":")
        axes.set(title=task, xlabel="real steps", xlim=(0, None))
        axes.grid(alpha=0.2)
        axes.legend(fontsize=7)
    figure.axes[0].set_ylabel("return in reality")
    return figure


def main() -> None:
    """Measures what is missing, then writes table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--variants", nargs="+", help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/dreamer_learning"), help="folder of the checkpoints")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results: dict[str, Any] = load_json(args.results) if args.results.exists() else {"machine": machine(), "runs": []}
    runs = results["runs"]
    known = {(run["task"], run["variant"], run["seed"]) for run in runs}
    for seed in args.seeds:
        for task in args.tasks:
            for variant in args.variants or _variants(task):
                if args.report or (task, variant, seed) in known or variant not in _variants(task):
                    continue
                run = measure(task, variant, seed, args.work)
                print(f"{task} {variant} seed {seed}: {run['mean_return']:.1f} in {run['seconds']:.0f} s", flush=True)
                # Another measurement may have added its runs meanwhile.
                results = load_json(args.results) if args.results.exists() else results
                results["runs"].append(run)
                runs = results["runs"]
                save_json(args.results, results)
    print(table(runs))
    if runs and args.results == RESULTS:
        with atomic_file(PICTURE) as temporary:
            picture(runs).savefig(temporary, dpi=110)


if __name__ == "__main__":
    main()
