"""What stock PPO learns in our CarRacing and Doom, and what the same policy then earns in Box2D and ViZDoom.

    python -m zoo.benchmarks.engine_transfer                                       # what is not measured yet (hours)
    python -m zoo.benchmarks.engine_transfer --tasks Imagine/CarRacing-v0 --seeds 0
    python -m zoo.benchmarks.engine_transfer --report                              # only the table and the picture

A run is ``imagine train --algo ppo --env <task>`` with its own settings (``zoo/hyperparams/tasks/ppo.yml``), natively
and in one batch; one that was killed goes on from its last checkpoint. The *final* policy is judged by 100 episodes of
the native task and 100 of the engine, the same seeds in both (of which CarRacing makes the same tracks), and by 100
native ones before it learned anything. It never saw the engine. The curves are returns of the episodes of training,
with sampled actions; they select nothing. Needs ``imagine-rl[box2d]`` and ``imagine-rl[doom]``.
"""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import yaml
from matplotlib.figure import Figure
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import load_results
from stable_baselines3.common.vec_env import VecFrameStack

from imagine_envs.storage import load_json
from zoo.benchmarks.learning_curves import Run, arguments, curves, markdown, of, outcome, publish, wanted
from zoo.benchmarks.resumable import episodes
from zoo.commands import train

__all__ = ["ENGINES", "main", "measure"]

RESULTS = Path(__file__).parent / "results" / "engine_transfer.json"
HYPERPARAMS = Path(__file__).parent.parent / "hyperparams" / "tasks" / "ppo.yml"

ENGINES = {
    "Imagine/CarRacing-v0": "box2d",
    "Imagine/DoomTakeCover-v0": "vizdoom",
    "Imagine/DoomBasic-v0": "vizdoom",
    "Imagine/DoomHealthGathering-v0": "vizdoom",
    "Imagine/DoomMyWayHome-v0": "vizdoom",
}
"""Task → the backend that it stands for."""

DEFAULT = ("Imagine/CarRacing-v0", "Imagine/DoomTakeCover-v0")
"""What is measured where no task is named."""

PUBLISHED = {"Imagine/CarRacing-v0": 153.9}
"""rl-zoo's own PPO on CarRacing, after four million steps."""

EPISODES = 100
POINTS = 20


def settings(task: str) -> dict[str, Any]:
    """What ``imagine train --algo ppo`` trains with."""
    return dict(yaml.safe_load(HYPERPARAMS.read_text())[task])


def measure(task: str, variant: str, seed: int, work: Path) -> Run:
    """One run: trains (or goes on), judges the final policy natively and in the engine.

    Args:
        task: The task's id.
        variant: "ppo".
        seed: Of everything.
        work: Folder of the logs and checkpoints.
    """
    chosen = settings(task)
    folder = _trained(task, variant, seed, work)
    native, engine = (
        functools.partial(gym.make, task, backend=backend, **chosen["env_kwargs"])
        for backend in ("native", ENGINES[task])
    )
    env = VecFrameStack(make_vec_env(native), chosen["frame_stack"])
    model = PPO.load(folder / f"{task.replace('/', '-')}.zip", env, device="cpu")
    untrained = PPO(chosen["policy"], env, n_steps=chosen["n_steps"], seed=seed, device="cpu")
    returns = episodes(model, native, EPISODES, seed)
    log = load_results(str(folder))
    return {
        "task": task,
        "variant": variant,
        "seed": seed,
        "settings": chosen,
        "decisions": model.num_timesteps,
        "seconds": _seconds(folder),
        "mean_return": float(np.mean(returns)),
        "native": returns,
        "engine": episodes(model, engine, EPISODES, seed),
        "untrained": episodes(untrained, native, EPISODES, seed),
        "curve": _curve(np.array(log["l"]), np.array(log["r"])),
    }


def _trained(task: str, variant: str, seed: int, work: Path) -> Path:
    """The folder of a finished run of ``imagine train``."""
    logs = work / f"{task.replace('/', '-')}-{variant}-{seed}"
    record = logs / variant / f"{task.replace('/', '-')}_1" / "run.json"
    if not (record.is_file() and load_json(record)["status"] == "finished"):
        where = ["--algo", variant, "--env", task, "--seed", str(seed), "-f", str(logs)]
        train.main([*where, "--eval-freq", "-1", "--verbose", "0", "--resume"])
    return record.parent


def _seconds(folder: Path) -> float:
    """Of training: each part of a run that was interrupted has a log with its own clock."""
    return sum(float(file.read_text().splitlines()[-1].split(",")[-1]) for file in folder.glob("*.monitor.csv"))


def _curve(lengths: np.ndarray, returns: np.ndarray) -> list[tuple[int, float]]:
    """(decisions, mean return of the episodes that ended since the point before)."""
    taken = lengths.cumsum()
    ends = np.linspace(0, taken[-1], POINTS + 1)
    slices = [(taken > begin) & (taken <= end) for begin, end in itertools.pairwise(ends)]
    return [
        (round(end), float(returns[those].mean())) for end, those in zip(ends[1:], slices, strict=True) if those.any()
    ]


def table(runs: list[Run]) -> str:
    """The results in Markdown: mean ± standard deviation over the seeds."""
    rows = []
    for task, engine in ENGINES.items():
        found = of(runs, task, "ppo")
        if not found:
            continue
        native, there, before = (
            np.array([np.mean(run[name]) for run in found]) for name in ("native", "engine", "untrained")
        )
        rows.append(
            (
                task,
                f"{settings(task)['n_timesteps']:,.0f}",
                f"{before.mean():.1f} ± {before.std():.1f}",
                outcome(runs, task, "ppo"),
                f"{there.mean():.1f} ± {there.std():.1f} ({engine})",
                f"{there.mean() / native.mean():.1%}",
                f"{PUBLISHED[task]:g}" if task in PUBLISHED else "–",
                f"{np.mean([run['seconds'] for run in found]) / 3600:.2f}",
            )
        )
    header = ("task", "decisions", "untrained", "native", "engine", "engine / native", "rl-zoo's ppo", "hours a run")
    return markdown(header, rows)


def picture(runs: list[Run]) -> Figure:
    """Returns of the episodes of training."""
    drawn = {task: PUBLISHED.get(task) for task in ENGINES if of(runs, task, "ppo")}
    return curves(runs, drawn, {"ppo": "#0072B2"}, axis="decisions", value="return in training", width=4.2)


def main(argv: list[str] | None = None) -> None:
    """Measures what is missing, then writes table and picture."""
    parser = arguments(__doc__, list(ENGINES), ["ppo"], RESULTS, default=DEFAULT)
    parser.add_argument("--work", type=Path, default=Path("runs/engine_transfer"), help="folder of the checkpoints")
    args = parser.parse_args(argv)
    publish(args, wanted(args), functools.partial(measure, work=args.work), table, picture)


if __name__ == "__main__":
    main()
