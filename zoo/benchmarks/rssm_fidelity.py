"""How faithful an RSSM is beside an ensemble that was fitted to the same data: open-loop errors by the step.

    python -m zoo.benchmarks.rssm_fidelity                                       # what is not measured yet (an hour)
    python -m zoo.benchmarks.rssm_fidelity --tasks CartPole-v1 --seeds 0
    python -m zoo.benchmarks.rssm_fidelity --report                              # only the table and the picture

Both worlds are fitted to the same random real steps, as many as ``zoo.benchmarks.rssm_dreams`` takes, with its settings
of them. Their :func:`fidelity reports <imagine_envs.dreams.fidelity>` are of the same fresh steps, from the same
contexts: the real actions are replayed in the model without a look at reality. Errors of observations are root mean
squares in units of the data's spread; "copy" is the control in which nothing changes. The RSSM sees 16 records before
it dreams, the ensemble one, which shows the whole state of these tasks.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from imagine_envs.dreams import fidelity
from imagine_envs.experience import collect
from imagine_envs.world_models import fit, make_model
from zoo.benchmarks.learning_curves import Run, arguments, markdown, of, publish, wanted
from zoo.benchmarks.rssm_dreams import TASKS, settings

__all__ = ["FAMILIES", "main", "measure"]

RESULTS = Path(__file__).parent / "results" / "rssm_fidelity.json"

FAMILIES = {"rssm": "RSSM, latent", "ensemble": "ensemble"}
"""Family → the variant of ``rssm_dreams`` whose settings it has."""

UPDATES = 3_000
"""The most gradient steps of a fit, which is the only one here; held-out data stops it earlier."""

HELD_OUT, HORIZON = 5_000, 50
SHOWN = (1, 5, 10, 20, 50)
COLORS = {"rssm": "#0072B2", "ensemble": "#CC79A7", "copy": "#E69F00"}


def measure(task: str, family: str, seed: int) -> Run:
    """One world: fits it, reports how faithful it is."""
    steps, params = settings(task, FAMILIES[family])
    data = collect(task, steps=steps, seed=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "none of the .* transitions terminates")
        model = make_model(family, data, **params["world_model_kwargs"])
        world = fit(model, data, seed=seed, **{**params.get("fit_kwargs", {}), "max_updates": UPDATES})
    fresh = collect(task, steps=HELD_OUT, seed=seed + 10_000)
    report = fidelity(world, fresh, steps=HORIZON, episodes=0, seed=seed)
    fitted: Any = world.report
    loop = report.open_loop
    return {
        "task": task,
        "variant": family,
        "seed": seed,
        "settings": {name: params.get(name, {}) for name in ("world_model_kwargs", "fit_kwargs")},
        "real_steps": steps,
        "updates": fitted.updates,
        "seconds": fitted.seconds,
        "steps": loop["steps"],
        "rows": loop["rows"],
        "observation": {name: loop["observation"][name]["median"] for name in ("model", "copy")},
        "reward": {name: loop["reward"][name] for name in ("model", "copy")},
        "reward_spread": loop["reward"]["spread"],
        "survival": {"real": loop["termination"]["survival"], "model": loop["termination"]["model"]["survival"]},
        "calibration": {name: report.summary[name] for name in ("coverage_50", "coverage_90", "termination_auc")},
    }


def _errors(runs: list[Run], task: str, world: str, what: str) -> np.ndarray:
    """Errors by the step, ``[seeds, steps]``, as far as every seed goes; "copy" is the same for both families."""
    family, name = (world, "model") if world in FAMILIES else ("ensemble", world)
    found = of(runs, task, family)
    length = min((len(run["steps"]) for run in found), default=0)
    return np.array([run[what][name][:length] for run in found]).reshape(len(found), length)


def table(runs: list[Run]) -> str:
    """Errors after a few steps in Markdown: mean ± standard deviation over the seeds."""
    rows = []
    for task in TASKS:
        for what in ("observation", "reward"):
            for family in COLORS:
                errors = _errors(runs, task, family, what)
                cells = [
                    f"{errors[:, k - 1].mean():.3f} ± {errors[:, k - 1].std():.3f}" if k <= errors.shape[1] else "–"
                    for k in SHOWN
                ]
                rows.append((task, what, f"{family} ({len(errors)})", *cells))
    return markdown(("task", "error of", "world (seeds)", *("1 step" if k == 1 else f"{k} steps" for k in SHOWN)), rows)


def picture(runs: list[Run]) -> Figure:
    """Errors by the step: mean over the seeds, the band from the best to the worst."""
    figure = Figure(figsize=(4.2 * len(TASKS), 5.6), layout="constrained")
    panels = figure.subplots(2, len(TASKS), squeeze=False)
    for column, task in enumerate(TASKS):
        for axes, what in zip(panels[:, column], ("observation", "reward"), strict=True):
            for family, color in COLORS.items():
                errors = _errors(runs, task, family, what)
                if not errors.size:
                    continue
                steps = np.arange(1, errors.shape[1] + 1)
                axes.plot(steps, errors.mean(0), color=color, label=f"{family} ({len(errors)})")
                axes.fill_between(steps, errors.min(0), errors.max(0), color=color, alpha=0.15, linewidth=0)
            axes.set(title=f"{task}, {what}", xlabel="steps without a look at reality", ylim=(0, None))
            axes.grid(alpha=0.2)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=7)
    panels[0, 0].set_ylabel("median error / spread")
    panels[1, 0].set_ylabel("mean absolute error")
    return figure


def main(argv: list[str] | None = None) -> None:
    """Measures what is missing, then writes table and picture."""
    args = arguments(__doc__, list(TASKS), list(FAMILIES), RESULTS).parse_args(argv)
    publish(args, wanted(args), measure, table, picture)


if __name__ == "__main__":
    main()
