"""Stock PPO in the dream of a fitted RSSM, beside the ensemble's dream and no dream, at the same real steps.

    python -m zoo.benchmarks.rssm_dreams                                         # what is not measured yet (hours)
    python -m zoo.benchmarks.rssm_dreams --tasks CartPole-v1 --variants "RSSM, latent" --seeds 0 1
    python -m zoo.benchmarks.rssm_dreams --report                                # only the table and the picture

Everything is :class:`~imagine_agents.ImaginationTrainer`, which takes turns: act in reality, fit the world to all that
was seen, train stock PPO in its dreams. "latent" policies see the RSSM's features and act in reality behind
``LatentObservation``; "decoded" ones see what the environment would show, and act in it as they are. The ensemble and
the copy have the settings of ``imagine train --algo imagination``, but as many real steps and turns as the RSSM, which
are more than an ensemble needs (``zoo.benchmarks.real_steps``); model-free PPO has rl_zoo3's settings.

Every real step of learning counts, evaluation selects nothing; a run is added to ``results/rssm_dreams.json`` as soon
as it is complete. How faithful such worlds are is measured by ``zoo.benchmarks.rssm_fidelity``.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from zoo.benchmarks import real_steps
from zoo.benchmarks.learning_curves import Run, arguments, curves, markdown, of, outcome, publish, wanted

__all__ = ["RSSM", "TASKS", "VARIANTS", "main", "settings"]

RESULTS = Path(__file__).parent / "results" / "rssm_dreams.json"

TASKS: dict[str, dict[str, Any]] = {
    "CartPole-v1": {"n_timesteps": 5_000, "learning_starts": 1_000, "train_freq": 1_000},
    "Pendulum-v1": {"n_timesteps": 7_000, "learning_starts": 1_000, "train_freq": 2_000},
}
"""Real steps, and when the world is fitted."""

# Few updates, hence Dreamer's learning rate for few updates (`zoo/hyperparams/dreamer.yml`); short dreams, as those of
# the ensemble for Pendulum. With the papers' weight of vectors' errors, 1, the dreams of CartPole are worse than those
# of a copy; 30 and 100 were tried on another seed, and 30 is enough.
RSSM: dict[str, Any] = {
    "world_model": "rssm",
    "world_model_kwargs": {"size": "1m", "sequence_length": 32, "vector_scale": 30.0},
    "fit_kwargs": {"learning_rate": 1e-3, "max_updates": 1_000},
    "exploration_bonus": 0.0,
}

VARIANTS: dict[str, dict[str, Any]] = {
    "RSSM, latent": {**RSSM, "dream_kwargs": {"horizon": 50, "observation": "latent"}},
    "RSSM, decoded": {**RSSM, "dream_kwargs": {"horizon": 50, "observation": "decoded"}},
    "ensemble": {},
    "copy": real_steps.VARIANTS["copy"],
    "model-free": {},
}
"""What is compared; changes to the settings of the trainer."""

COLORS = ("#0072B2", "#56B4E9", "#CC79A7", "#999999", "#D55E00")


def settings(task: str, variant: str) -> tuple[int, dict[str, Any]]:
    """Real steps, and the trainer's keyword arguments."""
    _, params = real_steps.settings(task, "imagination")
    turns = dict(TASKS[task])
    return turns.pop("n_timesteps"), {**params, **turns, **VARIANTS[variant]}


def table(runs: list[Run]) -> str:
    """The results in Markdown: mean ± standard deviation over the seeds."""
    rows = []
    for task, turns in TASKS.items():
        took = [run["seconds"] / 3600 for run in of(runs, task, "RSSM, latent")]
        cells = [outcome(runs, task, name) for name in VARIANTS]
        rows.append((task, f"{turns['n_timesteps']:,}", *cells, f"{np.mean(took):.2f}" if took else "–"))
    return markdown(("task", "real steps", *VARIANTS, "hours a run (RSSM, latent)"), rows)


def picture(runs: list[Run]) -> Figure:
    """Learning curves."""
    targets = {task: real_steps.TARGETS[task] for task in TASKS}
    return curves(runs, targets, dict(zip(VARIANTS, COLORS, strict=True)), width=4.2)


def main(argv: list[str] | None = None) -> None:
    """Measures what is missing, then writes table and picture."""
    args = arguments(__doc__, list(TASKS), list(VARIANTS), RESULTS).parse_args(argv)
    publish(args, wanted(args), functools.partial(real_steps.measure, settings=settings), table, picture)


if __name__ == "__main__":
    main()
