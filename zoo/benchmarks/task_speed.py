"""How fast the tasks are: steps a second of every registered one, by random actions that were drawn before.

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

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import imagine_envs  # noqa: F401 - registers the ids
from imagine_envs.registration import ENVIRONMENTS
from imagine_envs.storage import load_json, save_json
from zoo.benchmarks.measure import Contestant, interleaved, machine, per_call, spread
from zoo.benchmarks.peers.processes import Peer, installed

__all__ = ["PEERS", "TARGETS", "Rival", "comparison", "main", "measured", "started", "table"]

RESULTS = Path(__file__).parent / "results" / "task_speed.json"
REQUIREMENTS = Path(__file__).parent / "peers"
TASKS = [env_id for env_id, entry in ENVIRONMENTS.items() if "kwargs" in entry]
BATCHES = (1, 64, 1_024)
SOKOBAN = "Imagine/Sokoban-v0"
"""What the peers are measured beside."""

TARGETS = {SOKOBAN: 8_000_000} | {env_id: 2_000_000 for env_id in TASKS if env_id.startswith("Imagine/MiniPacman-")}
"""Steps a second in batches of 1,024."""

_DRAWN = 256
"""Steps of actions, which are taken over and over."""


@dataclass(frozen=True)
class Library:
    """What is measured of another library.

    Attributes:
        module: Its script in ``peers/``.
        environments: How the results call it → what is asked of the script, beside the size of the batch.
        single: Whether it has no batches.
    """

    module: str
    environments: Mapping[str, Mapping[str, str]]
    single: bool = False


PEERS = {
    "envpool": Library(
        "envpool_steps",
        {"envpool": {"interface": "gymnasium"}, "envpool, no render cache": {"interface": "dm"}},
    ),
    "jumanji": Library("jumanji_steps", {"jumanji": {}}),
    "gym-sokoban": Library("gym_sokoban_steps", {"gym-sokoban": {}}, single=True),
}
"""By the name of their virtual environments and requirements."""


@dataclass(frozen=True)
class Rival:
    """A peer's environments in a batch.

    Attributes:
        name: How the results call it.
        kind: Which of ours it stands beside: "single" or the size of the batch.
        run: Takes so many steps of the batch.
    """

    name: str
    kind: str
    run: Contestant


def measured(
    env_ids: Sequence[str], batches: Sequence[int], rounds: int, rivals: Sequence[Rival] = ()
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, dict[str, dict[str, dict[str, float]]]]]:
    """Steps a second (median and quartiles over the rounds) of each task, single and at each batch size, and of peers.

    Args:
        env_ids: Ours, Sokoban among them where there are rivals.
        batches: Sizes of ours; those of the rivals are among them.
        rounds: Blocks of each contestant.
        rivals: Sokoban of others.

    Returns:
        Ours, id → kind → rate, and the rivals', name → kind → "steps_per_second" and "ratio": how many times as fast
        ours is, compared round by round.
    """
    contestants: dict[str, Contestant] = {}
    for env_id in env_ids:
        contestants[f"{env_id} single"] = _single(env_id)
        contestants |= {f"{env_id} {batch}": _batch(env_id, batch) for batch in batches}
    contestants |= {f"{rival.name} {rival.kind}": rival.run for rival in rivals}
    seconds = interleaved(contestants, rounds=rounds)
    rates: dict[str, dict[str, np.ndarray]] = {}
    for name, values in seconds.items():
        who, _, kind = name.rpartition(" ")
        rates.setdefault(who, {})[kind] = (1 if kind == "single" else int(kind)) / values
    ours = {env_id: {kind: spread(values) for kind, values in rates[env_id].items()} for env_id in env_ids}
    theirs: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for rival in rivals:
        values = rates[rival.name][rival.kind]
        ratio = rates[SOKOBAN][rival.kind] / values
        found = {"steps_per_second": spread(values), "ratio": spread(ratio)}
        theirs.setdefault(rival.name, {})[rival.kind] = found
    return ours, theirs


@contextlib.contextmanager
def started(venvs: Path, batches: Sequence[int]) -> Iterator[tuple[list[Rival], dict[str, Any], dict[str, str]]]:
    """Peers that have taken a first step in every batch: rivals, versions, and why others are left out.

    Args:
        venvs: Where their virtual environments are, or are to be made.
        batches: Sizes.
    """
    rivals: list[Rival] = []
    versions: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for name, library in PEERS.items():
            try:
                python = installed(venvs / f"venv-{name}", ("-r", str(REQUIREMENTS / f"requirements-{name}.txt")))
                peer = stack.enter_context(
                    contextlib.closing(Peer(str(python), "-m", f"zoo.benchmarks.peers.{library.module}"))
                )
                found = [
                    Rival(called, kind, _stepping(peer, {**env, **size}))
                    for called, env in library.environments.items()
                    for kind, size in _sizes(library, batches).items()
                ]
                for rival in found:
                    rival.run(1)
            except (OSError, RuntimeError, ValueError, subprocess.CalledProcessError) as error:
                left_out[name] = str(error)
                print(f"Going on without {name}: {error}", file=sys.stderr)
            else:
                rivals += found
                versions[name] = peer.versions
        yield rivals, versions, left_out


def _sizes(library: Library, batches: Sequence[int]) -> dict[str, dict[str, int]]:
    return {"single": {}} if library.single else {str(batch): {"num_envs": batch} for batch in batches}


def _stepping(peer: Peer, env: Mapping[str, str | int]) -> Contestant:
    return lambda times: float(peer.ask(env=env, calls=times)["seconds"])


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
    told = [", ".join(f"{name} {version}" for name, version in found.items()) for found in _versions(results)]
    lines += [f"\nOurs on one thread. Peers: {'; '.join(told)}."] if told else []
    lines += [f"\nWithout {name}: {reason}" for name, reason in results.get("left_out", {}).items()]
    return "\n".join(lines)


def _versions(results: dict[str, Any]) -> list[dict[str, str]]:
    return list(results.get("peer_versions", {}).values())


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
    parser.add_argument("--no-peers", action="store_true", help="without other libraries' Sokoban")
    parser.add_argument("--peer-venvs", type=Path, default=Path("build"), help="where their virtual environments are")
    parser.add_argument("--report", action="store_true", help="only print the tables of what was measured before")
    args = parser.parse_args(argv)
    results: dict[str, Any] = load_json(args.results) if args.results.exists() else {"steps_per_second": {}}
    if not args.report:
        with contextlib.ExitStack() as stack:
            rivals: list[Rival] = []
            versions: dict[str, Any] = {}
            left_out: dict[str, str] = {}
            if SOKOBAN in args.env and not args.no_peers:
                rivals, versions, left_out = stack.enter_context(started(args.peer_venvs, BATCHES))
            load = os.getloadavg()[0]
            ours, theirs = measured(args.env, BATCHES, 3 if args.quick else 30, rivals)
            results["load"], results["machine"] = [load, os.getloadavg()[0]], machine()
        results["steps_per_second"] |= ours
        if SOKOBAN in ours:  # what was measured beside another run of ours is out of date
            results |= {"peers": theirs, "peer_versions": versions, "left_out": left_out}
        save_json(args.results, results)
    print("\n\n".join(part for part in (table(results), comparison(results)) if part))


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
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(_DRAWN)]
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
