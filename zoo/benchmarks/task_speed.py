"""How fast the tasks are: steps a second of every one without pictures, by random actions that were drawn before.

    python -m zoo.benchmarks.task_speed                        # every task and Sokoban's peers, some minutes
    python -m zoo.benchmarks.task_speed --env Imagine/MiniPacman-Hunt-v0 --quick
    python -m zoo.benchmarks.task_speed --report               # only the tables of what was measured before

What is measured is ``VectorEnv.step`` as a user calls it, with resets, new arrays of observations and infos;
``single`` is ``gym.make(…).step``, with Gymnasium's wrappers. All take turns in short blocks, so that what else the
machine does is shared by all; the load at the beginning and at the end is in the results.

Beside Sokoban stand other libraries' (MiniPacman has no peer that is published): envpool (C++; also without the cache
for rendering that its Gymnasium interface fills in every step), jumanji (JAX) and, one environment alone, gym-sokoban.
All have 10 × 10 cells and 4 boxes, write observations of two to four bytes a cell, and restart finished rows after 120
steps as they always do, but for gym-sokoban, whose resets take seconds and are left out; their scripts in ``peers/``
say how they differ. Ours runs on one thread (its kernels are not parallel); envpool and jumanji take as many as they
like. Each answers from a process in a virtual environment of its own (``peers/requirements-….txt``), which is made
where it is missing, and sleeps while it is not asked. One that cannot be installed or run is left out, and the report
says why.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagine_envs.registration import ENVIRONMENTS
from imagine_envs.storage import load_json, save_json
from zoo.benchmarks.env_speed import Peers, Steps, batch, command, peers_told, rates, rivals, single
from zoo.benchmarks.measure import machine, ran_on, spread

__all__ = ["PEERS", "TARGETS", "comparison", "main", "measured", "table"]

RESULTS = Path(__file__).parent / "results" / "task_speed.json"
TASKS = [env_id for env_id, entry in ENVIRONMENTS.items() if entry["entry_point"].endswith(":TaskEnv")]
"""Those that other engines play too are measured by ``car_racing_speed`` and ``doom_speed``."""

BATCHES = (1, 64, 1_024)
SOKOBAN = "Imagine/Sokoban-v0"
"""What the peers are measured beside."""

TARGETS = {SOKOBAN: 8_000_000} | {env_id: 2_000_000 for env_id in TASKS if env_id.startswith("Imagine/MiniPacman-")}
"""Steps a second in batches of 1,024."""


def _batches(called: str, **env: str) -> dict[str, dict[str, Any]]:
    return {f"{called} {rows}": {**env, "num_envs": rows} for rows in BATCHES}


PEERS: Peers = {
    "envpool": (
        "envpool_steps",
        _batches("envpool", interface="gymnasium") | _batches("envpool, no render cache", interface="dm"),
    ),
    "jumanji": ("jumanji_steps", _batches("jumanji")),
    "gym-sokoban": ("gym_sokoban_steps", {"gym-sokoban single": {}}),
}
"""They are called as ours are: the name, and "single" or the size of the batch."""


def measured(
    env_ids: Sequence[str], rounds: int, others: Mapping[str, Steps]
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, dict[str, dict[str, dict[str, float]]]]]:
    """Steps a second (median and quartiles over the rounds) of each task, single and at each batch size, and of peers.

    Args:
        env_ids: Ours, Sokoban among them where there are peers.
        rounds: Blocks of each contestant.
        others: Sokoban of peers, "<name> <kind>".

    Returns:
        Ours, id → kind → rate, and the peers', name → kind → "steps_per_second" and "ratio": how many times as fast
        ours is, compared round by round.
    """
    contestants: dict[str, Steps] = {}
    for env_id in env_ids:
        contestants[f"{env_id} single"] = single(env_id)
        contestants |= {f"{env_id} {rows}": batch(env_id, rows) for rows in BATCHES}
    found: dict[str, dict[str, np.ndarray]] = {}
    for called, values in rates({**contestants, **others}, rounds=rounds, block=0.02).items():
        name, _, kind = called.rpartition(" ")
        found.setdefault(name, {})[kind] = values
    ours = {env_id: {kind: spread(values) for kind, values in found[env_id].items()} for env_id in env_ids}
    theirs = {
        name: {
            kind: {"steps_per_second": spread(values), "ratio": spread(found[SOKOBAN][kind] / values)}
            for kind, values in kinds.items()
        }
        for name, kinds in found.items()
        if name not in ours
    }
    return ours, theirs


def comparison(results: dict[str, Any]) -> str:
    """Peers and targets as a table in Markdown; what misses its target says so. Empty where there is nothing to say."""
    lines = []
    for env_id, found in results["steps_per_second"].items():
        peers = results.get("peers", {}) if env_id == SOKOBAN else {}
        for kind, ours in found.items():
            beside = {name: kinds[kind] for name, kinds in peers.items() if kind in kinds}
            target = ""
            if kind == "1024" and env_id in TARGETS:
                reached = ours["median"] >= TARGETS[env_id]
                target = f"{'' if reached else '**missed**: '}≥ {TARGETS[env_id]:,}"
            rows = [
                (f"{name}: {row['steps_per_second']['median']:,.0f}", f"{row['ratio']['median']:,.1f} ×")
                for name, row in beside.items()
            ]
            for peer, ratio in rows or ([("none", "")] if target else []):
                size = "one" if kind == "single" else f"{int(kind):,}"
                lines.append(f"| {env_id} | {size} | {ours['median']:,.0f} | {peer} | {ratio} | {target} |")
    if lines:
        lines = [
            "| task | batch | ours, steps/s | peer, steps/s | ratio | target |",
            "|---|---|---|---|---|---|",
            *lines,
        ]
    return "\n".join([*lines, *peers_told(results, "Ours on one thread. ")])


def table(results: dict[str, Any]) -> str:
    """The results as a table in Markdown."""
    kinds = list(next(iter(results["steps_per_second"].values())))
    heads = ["`gym.make`" if kind == "single" else f"batch of {int(kind):,}" for kind in kinds]
    lines = [f"| steps/s | {' | '.join(heads)} |", f"|---|{'---|' * len(kinds)}"]
    for env_id, found in results["steps_per_second"].items():
        lines.append(f"| {env_id} | {' | '.join(format(found[kind]['median'], ',.0f') for kind in kinds)} |")
    return "\n".join([*lines, ran_on(results)])


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and writes ``results/task_speed.json``, adding to what is there."""
    parser = command(__doc__, RESULTS)
    parser.add_argument("--env", nargs="+", choices=TASKS, default=TASKS, metavar="ID")
    args = parser.parse_args(argv)
    results: dict[str, Any] = load_json(args.results) if args.results.exists() else {"steps_per_second": {}}
    if not args.report:
        peers = {} if args.no_peers or SOKOBAN not in args.env else PEERS
        with rivals(peers, args.peer_venvs) as (others, versions, left_out):
            load = os.getloadavg()[0]
            ours, theirs = measured(args.env, 3 if args.quick else 30, others)
            results |= {"load": [load, os.getloadavg()[0]], "machine": machine()}
        results["steps_per_second"] |= ours
        if SOKOBAN in ours:  # what was measured beside another run of ours is out of date
            results |= {"peers": theirs, "peer_versions": versions, "left_out": left_out}
        save_json(args.results, results)
    print("\n\n".join(part for part in (table(results), comparison(results)) if part))


if __name__ == "__main__":
    main()
