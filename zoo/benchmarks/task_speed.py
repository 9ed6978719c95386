"""How fast the tasks are: steps a second of every registered one, by random actions that were drawn before.

    python -m zoo.benchmarks.task_speed                        # every task, a minute
    python -m zoo.benchmarks.task_speed --env Imagine/MiniPacman-Hunt-v0 --quick
    python -m zoo.benchmarks.task_speed --report               # only the table of what was measured before

What is measured is ``VectorEnv.step`` as a user calls it, with resets, new arrays of observations and infos;
``single`` is ``gym.make(…).step``, with Gymnasium's wrappers. All take turns in short blocks, so that what else the
machine does is shared by all; the load at the beginning and at the end is in the results.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import imagine_envs  # noqa: F401 - registers the ids
from imagine_envs.registration import ENVIRONMENTS
from imagine_envs.storage import load_json, save_json
from zoo.benchmarks.measure import Contestant, interleaved, machine, per_call, spread

__all__ = ["main", "measured", "table"]

RESULTS = Path(__file__).parent / "results" / "task_speed.json"
TASKS = [env_id for env_id, entry in ENVIRONMENTS.items() if "kwargs" in entry]
BATCHES = (1, 64, 1_024)
_DRAWN = 256
"""Steps of actions, which are taken over and over."""


def measured(env_ids: Sequence[str], batches: Sequence[int], rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Steps a second (median and quartiles over the rounds) of each task, single and at each batch size."""
    contestants: dict[str, Contestant] = {}
    sizes: dict[str, int] = {}
    for env_id in env_ids:
        contestants[f"{env_id} single"], sizes[f"{env_id} single"] = _single(env_id), 1
        for batch in batches:
            contestants[f"{env_id} {batch}"], sizes[f"{env_id} {batch}"] = _batch(env_id, batch), batch
    seconds = interleaved(contestants, rounds=rounds)
    found: dict[str, dict[str, dict[str, float]]] = {env_id: {} for env_id in env_ids}
    for name, values in seconds.items():
        env_id, _, kind = name.rpartition(" ")
        found[env_id][kind] = spread(sizes[name] / values)
    return found


def table(results: dict[str, Any]) -> str:
    """The results as a table in Markdown."""
    kinds = list(next(iter(results["steps_per_second"].values())))
    heads = ["`gym.make`" if kind == "single" else f"batch of {int(kind):,}" for kind in kinds]
    lines = [f"| steps/s | {' | '.join(heads)} |", f"|---|{'---|' * len(kinds)}"]
    for env_id, found in results["steps_per_second"].items():
        lines.append(f"| {env_id} | {' | '.join(format(found[kind]['median'], ',.0f') for kind in kinds)} |")
    where = results["machine"]
    before, after = results["load"]
    lines.append(f"\n{where['processor']}, {where['cores']} cores, load {before:.1f} to {after:.1f}, {where['date']}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measures and writes ``results/task_speed.json``, adding to what is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", nargs="+", choices=TASKS, default=TASKS, metavar="ID")
    parser.add_argument("--quick", action="store_true", help="a few repetitions, to see that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="only print the table of what was measured before")
    args = parser.parse_args(argv)
    results: dict[str, Any] = load_json(args.results) if args.results.exists() else {"steps_per_second": {}}
    if not args.report:
        load = os.getloadavg()[0]
        results["steps_per_second"] |= measured(args.env, BATCHES, rounds=3 if args.quick else 30)
        results["load"], results["machine"] = [load, os.getloadavg()[0]], machine()
        save_json(args.results, results)
    print(table(results))


def _batch(env_id: str, size: int) -> Contestant:
    envs = gym.make_vec(env_id, num_envs=size)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(_DRAWN)]
    clock = 0

    def step() -> None:
        nonlocal clock
        envs.step(actions[clock % _DRAWN])
        clock += 1

    return per_call(step)


def _single(env_id: str) -> Contestant:
    env = gym.make(env_id)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(env.action_space.n, size=_DRAWN)  # type: ignore[attr-defined]
    clock = 0

    def step() -> None:
        nonlocal clock
        _, _, terminated, truncated, _ = env.step(actions[clock % _DRAWN])
        clock += 1
        if terminated or truncated:
            env.reset()

    return per_call(step)


if __name__ == "__main__":
    main()
