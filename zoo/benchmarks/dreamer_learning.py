"""What Dreamer learns from how many real steps, beside model-free algorithms at the same number.

    python -m zoo.benchmarks.dreamer_learning                                      # what is not measured yet (days)
    python -m zoo.benchmarks.dreamer_learning --tasks CartPole-v1 --seeds 0 1
    python -m zoo.benchmarks.dreamer_learning --tasks PixelPendulum-v0 --seeds 0 1 2
    python -m zoo.benchmarks.dreamer_learning --tasks dm_control/cartpole-swingup-v0 --variants reconstruction sac
    python -m zoo.benchmarks.dreamer_learning --report                             # only the tables and the picture

The settings are those of ``imagine train --algo dreamer`` (``zoo/hyperparams/dreamer.yml``); every run's are in the
results. The *final* policy is judged by 100 real episodes; the points of the curves are judged by 10 each, on
environments of their own, and select nothing. Runs are checkpointed in ``--work`` and go on exactly where they were
killed (model-free ones begin anew); what is complete is added to ``results/dreamer_learning.json``.

Without ``--tasks`` the three classic tasks are measured. The others are chosen by name:

- ``PixelPendulum-v0`` (:mod:`zoo.benchmarks.pixel_pendulum`): one picture of 64 × 64 in which velocity cannot be seen.
  Dreamer remembers; the model-free algorithms see three pictures at once (``VecFrameStack``).
- ``dm_control/…`` through shimmy (``pip install 'imagine-rl[dm-control]'``): positions and velocities as a ``Dict``,
  for ``MultiInputPolicy``. Every action is taken twice, as in what DreamerV3 published: an episode of 1,000 simulator
  steps has 500 real steps here. The published points count *simulator* steps (50k are 25,000 real steps here) and are
  returns of training episodes, with sampled actions, of the 12M model at a train ratio of 512 in 16 environments.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure
from rl_zoo3.exp_manager import ExperimentManager
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env

from imagine_agents import Dreamer
from zoo.benchmarks.environments import environment
from zoo.benchmarks.learning_curves import Run, arguments, curves, markdown, of, outcome, publish, wanted
from zoo.benchmarks.model_free import model_free, model_free_settings
from zoo.benchmarks.resumable import learned

RESULTS = Path(__file__).parent / "results" / "dreamer_learning.json"
HYPERPARAMS = Path(__file__).parent.parent / "hyperparams" / "dreamer.yml"

TARGETS = {
    "CartPole-v1": 475.0,
    "Pendulum-v1": -200.0,
    "Acrobot-v1": -100.0,
    "PixelPendulum-v0": None,
    "dm_control/cartpole-swingup-v0": 322.0,
    "dm_control/reacher-easy-v0": 693.0,
}
"""Task → the mean return to reach within ``n_timesteps`` real steps of the hyper-parameter file."""

DEFAULT = ("CartPole-v1", "Pendulum-v1", "Acrobot-v1")
"""What is measured where no task is named."""

MODEL_FREE = {
    "CartPole-v1": ("ppo", "dqn"),
    "Pendulum-v1": ("ppo", "sac"),
    "Acrobot-v1": ("ppo", "dqn"),
    "PixelPendulum-v0": ("ppo", "sac"),
    "dm_control/cartpole-swingup-v0": ("sac",),
    "dm_control/reacher-easy-v0": ("sac",),
}

REPEAT = 2
"""Simulator steps in a real step of dm_control's tasks, as in the hyper-parameter file."""

PUBLISHED = {
    "dm_control/cartpole-swingup-v0": {50_000: 322.0, 100_000: 528.0},
    "dm_control/reacher-easy-v0": {50_000: 631.0, 100_000: 693.0},
}
"""DreamerV3's returns after so many simulator steps (scores/dmc_proprio-dreamerv3 of danijar/dreamerv3)."""

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


def settings(task: str, variant: str) -> dict[str, Any]:
    """What a run of Dreamer is made of: real steps, wrappers, Dreamer's keyword arguments; or a model-free one's."""
    own = dict(yaml.safe_load(HYPERPARAMS.read_text())[task])
    if variant in VARIANTS:
        return {**own, **VARIANTS[variant]}
    around = {key: own[key] for key in ("n_timesteps", "env_wrapper") if key in own}
    return {**around, **model_free_settings(task, variant)}


def measure(task: str, variant: str, seed: int, work: Path) -> Run:
    """One run: trains (or goes on), judges the final policy by 100 real episodes.

    Raises:
        ValueError: If the run in ``work`` was begun with other settings.
    """
    chosen = settings(task, variant)
    make = functools.partial(environment, task, chosen.get("env_wrapper"))

    def begin() -> BaseAlgorithm:
        if variant not in VARIANTS:
            return model_free(task, variant, seed, make)
        params = {key: value for key, value in chosen.items() if key not in ("n_timesteps", "env_wrapper", "n_envs")}
        params = ExperimentManager._preprocess_schedules(params)
        return Dreamer(params.pop("policy"), make_vec_env(make), seed=seed, device="cpu", **params)

    return learned((task, variant, seed), chosen, make, begin, work, Dreamer if variant in VARIANTS else None)[1]


def _variants(task: str) -> list[str]:
    return [*VARIANTS, *MODEL_FREE[task]]


def table(runs: list[Run]) -> str:
    """The results in Markdown: mean ± standard deviation over the seeds; for dm_control beside what was published."""
    rows = []
    for task, target in TARGETS.items():
        own = settings(task, "reconstruction")
        took = [run["seconds"] / 3600 for run in of(runs, task, "reconstruction")]
        cells = [outcome(runs, task, name) for name in COLORS]
        aim = "–" if target is None else f"{target:g}"
        hours = f"{np.mean(took):.2f}" if took else "–"
        rows.append((task, f"{own['n_timesteps']:,.0f}", f"{own['train_ratio']:g}", aim, *cells, hours))
    header = ("task", "real steps", "train ratio", "target", *COLORS, "hours a run")
    return markdown(header, rows) + "\n\n" + _published(runs)


def _published(runs: list[Run]) -> str:
    """Points of the curves beside DreamerV3's."""
    rows = []
    for task, points in PUBLISHED.items():
        for simulated, score in points.items():
            judged = []
            for run in of(runs, task, "reconstruction"):
                steps, returns = np.array(run["curve"]).T
                if steps[-1] >= simulated / REPEAT:
                    judged.append(np.interp(simulated / REPEAT, steps, returns))
            cell = f"{np.mean(judged):.1f} ± {np.std(judged):.1f} ({len(judged)})" if judged else "–"
            rows.append((task, f"{simulated:,}", f"{score:g}", cell))
    return markdown(("task", "simulator steps", "DreamerV3, published", "reconstruction"), rows)


def picture(runs: list[Run]) -> Figure:
    """Learning curves of what was measured."""
    measured = {run["task"] for run in runs}
    return curves(runs, {task: target for task, target in TARGETS.items() if task in measured}, COLORS, width=4.2)


def main(argv: list[str] | None = None) -> None:
    """Measures what is missing, then writes table and picture."""
    parser = arguments(__doc__, list(TARGETS), list(COLORS), RESULTS, default=DEFAULT)
    parser.add_argument("--work", type=Path, default=Path("runs/dreamer_learning"), help="folder of the checkpoints")
    args = parser.parse_args(argv)
    publish(args, wanted(args, _variants), functools.partial(measure, work=args.work), table, picture)


if __name__ == "__main__":
    main()
