"""What Dyna learns from how many real steps, beside the same algorithm without a model, with every control.

    python -m zoo.benchmarks.dyna_learning                                      # what is not measured yet (hours)
    python -m zoo.benchmarks.dyna_learning --tasks Pendulum-v1 --variants dyna model-free --seeds 0 1
    python -m zoo.benchmarks.dyna_learning --report                             # only the table and the picture

The settings are those of ``imagine train --algo dyna`` (``zoo/hyperparams/dyna.yml``), and rl_zoo3's own for the
algorithm without a model, which takes the real steps of its published result: four times Dyna's or more. The controls
differ from Dyna in one thing each: a world that nothing was learned of ("unfitted"), one that stands still ("copy"),
the true one ("perfect"), and no world at all with as many gradient steps ("real only").

The *final* policy is judged by 100 real episodes; the points of the curves are judged by 10 each, on environments of
their own, and select nothing. Runs of Dyna are checkpointed in ``--work`` and go on exactly where they were killed
(model-free ones begin anew); what is complete is added to ``results/dyna_learning.json``.

``InvertedPendulum-v5`` is measured where it is asked for: it needs mujoco (``pip install 'gymnasium[mujoco]'``).
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

from imagine_agents import Dyna
from zoo.benchmarks.environments import environment
from zoo.benchmarks.learning_curves import Run, arguments, curves, markdown, of, outcome, publish, wanted
from zoo.benchmarks.model_free import model_free, model_free_settings, normalized
from zoo.benchmarks.resumable import learned

RESULTS = Path(__file__).parent / "results" / "dyna_learning.json"
HYPERPARAMS = Path(__file__).parent.parent / "hyperparams" / "dyna.yml"

PUBLISHED: dict[str, tuple[int, float | None]] = {
    "Pendulum-v1": (20_000, -157.0),
    "CartPole-v1": (50_000, 500.0),
    "MountainCarContinuous-v0": (50_000, 94.7),
    "InvertedPendulum-v5": (20_000, None),
}
"""Task → the real steps of the algorithm without a model, and the return that rl_zoo3 publishes for it."""

DEFAULT = ("Pendulum-v1", "CartPole-v1", "MountainCarContinuous-v0")
"""What is measured where no task is named."""

VARIANTS: dict[str, dict[str, Any]] = {
    "dyna": {},
    "real only": {"real_ratio": 1.0, "value_expansion": 0},
    "unfitted": {"fit_kwargs": {"learning_rate": 0.0, "weight_decay": 0.0, "max_epochs": 1}},
    "copy": {"world_model": "copy", "world_model_kwargs": {}, "dream_kwargs": {}},
    "perfect": {"world_model": "perfect", "world_model_kwargs": {}, "dream_kwargs": {}},
}
"""Of Dyna; changes to its settings."""

MODEL_FREE = "model-free"

COLORS = {
    "dyna": "#0072B2",
    "real only": "#E69F00",
    "unfitted": "#CC79A7",
    "copy": "#999999",
    "perfect": "#009E73",
    MODEL_FREE: "#D55E00",
}
"""Everything that is compared."""

_NOT_OF_THE_AGENT = ("n_timesteps", "env_wrapper", "n_envs", "normalize")


def settings(task: str, variant: str) -> dict[str, Any]:
    """What a run is made of: real steps, and the keyword arguments of Dyna or of the algorithm without a model."""
    own = dict(yaml.safe_load(HYPERPARAMS.read_text())[task])
    if variant in VARIANTS:
        return {**own, **VARIANTS[variant]}
    return {"n_timesteps": PUBLISHED[task][0], **model_free_settings(task, own["algorithm"])}


def measure(task: str, variant: str, seed: int, work: Path) -> Run:
    """One run: trains (or goes on), judges the final policy by 100 real episodes.

    Raises:
        ValueError: If the run in ``work`` was begun with other settings.
    """
    chosen = settings(task, variant)
    make = functools.partial(environment, task, chosen.get("env_wrapper"))

    def begin() -> BaseAlgorithm:
        if variant not in VARIANTS:
            return model_free(task, settings(task, "dyna")["algorithm"], seed, make)
        params = {key: value for key, value in chosen.items() if key not in _NOT_OF_THE_AGENT}
        params = ExperimentManager._preprocess_schedules(params)
        env = make_vec_env(make, n_envs=chosen.get("n_envs", 1))
        env = normalized(env, chosen.get("normalize", False), chosen.get("gamma", 0.99))
        return Dyna(params.pop("policy"), env, seed=seed, device="cpu", **params)

    resumable = Dyna if variant in VARIANTS else None
    model, run = learned((task, variant, seed), chosen, make, begin, work, resumable)
    return {**run, "dream_steps": model.dream_steps if isinstance(model, Dyna) else 0}


def variants(task: str) -> list[str]:
    """What can be measured of a task: there is no perfect model of mujoco's."""
    return [name for name in COLORS if name != "perfect" or task != "InvertedPendulum-v5"]


def _at(run: Run, steps: int) -> float:
    """The return on the way, between two points of the curve."""
    places, returns = np.array(run["curve"], dtype=float).T
    return float(np.interp(steps, places, returns))


def table(runs: list[Run]) -> str:
    """The results in Markdown: mean ± standard deviation over the seeds; the model-free algorithm at both budgets."""
    rows = []
    for task, (budget, target) in PUBLISHED.items():
        steps = int(settings(task, "dyna")["n_timesteps"])
        early = [_at(run, steps) for run in of(runs, task, MODEL_FREE)]
        took = {name: [run["seconds"] / 60 for run in of(runs, task, name)] for name in ("dyna", MODEL_FREE)}
        rows.append(
            (
                task,
                f"{steps:,}",
                *(outcome(runs, task, name) for name in VARIANTS),
                f"{np.mean(early):.1f} ± {np.std(early):.1f}" if early else "–",
                f"{budget:,}",
                outcome(runs, task, MODEL_FREE),
                "–" if target is None else f"{target:g}",
                " / ".join(f"{np.mean(minutes):.1f}" if minutes else "–" for minutes in took.values()),
            )
        )
    header = (
        "task", "real steps", *VARIANTS, "model-free there", "its real steps", "model-free", "published",
        "minutes a run: dyna / model-free",
    )  # fmt: skip
    return markdown(header, rows)


def picture(runs: list[Run]) -> Figure:
    """Learning curves of what was measured, over Dyna's real steps."""
    measured = {run["task"] for run in runs}
    targets = {task: target for task, (_, target) in PUBLISHED.items() if task in measured}
    shown = []
    for run in runs:
        last = int(settings(run["task"], "dyna")["n_timesteps"])
        points = [point for point in run["curve"] if point[0] < last]
        shown.append({**run, "curve": [*points, (last, _at(run, last))]})
    return curves(shown, targets, COLORS, width=4.2)


def main(argv: list[str] | None = None) -> None:
    """Measures what is missing, then writes table and picture."""
    parser = arguments(__doc__, list(PUBLISHED), list(COLORS), RESULTS, default=DEFAULT)
    parser.add_argument("--work", type=Path, default=Path("runs/dyna_learning"), help="folder of the checkpoints")
    args = parser.parse_args(argv)
    publish(args, wanted(args, variants), functools.partial(measure, work=args.work), table, picture)


if __name__ == "__main__":
    main()
