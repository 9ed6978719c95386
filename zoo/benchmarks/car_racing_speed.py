"""How fast CarRacing is: steps a second with pictures, natively, on Box2D, and of envpool's, taking turns.

    python -m zoo.benchmarks.car_racing_speed             # some minutes
    python -m zoo.benchmarks.car_racing_speed --quick
    python -m zoo.benchmarks.car_racing_speed --report    # only the table of what was measured before

Actions are random and drawn before. Natively 64 environments in one batch take ``VectorEnv.step`` as a user calls it
(resets, new arrays of observations, infos), on one thread and on two. Box2D plays one environment, for Gymnasium's
vector environments play one after the other, or in processes, which share the cores. envpool (C++, Box2D in threads)
answers from a process of its own, see ``peers/``.

How long a first step takes is measured in fresh processes, from before the import until after it: with an empty cache
of compiled kernels, and with a full one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import imagine_envs  # noqa: F401 - registers the ids
from imagine_envs.storage import load_json, save_json
from zoo.benchmarks.measure import Contestant, interleaved, machine, per_call, spread
from zoo.benchmarks.peers.processes import Peer, installed

__all__ = ["LONGEST", "first_step", "first_step_told", "main", "measured", "table"]

RESULTS = Path(__file__).parent / "results" / "car_racing_speed.json"
REQUIREMENTS = Path(__file__).parent / "peers" / "requirements-envpool.txt"
ID = "Imagine/CarRacing-v0"
ROWS, TARGET, LONGEST = 64, 40_000, 15.0
"""Environments of a batch, the steps a second they are to make with 64 × 64 pixels on two cores, and the seconds that
a first step may take."""

_DRAWN = 256
_FIRST_STEP = """
import gymnasium, imagine_envs
envs = gymnasium.make_vec({id!r}, {rows}, size=64)
envs.reset(seed=0)
envs.step(envs.action_space.sample())
"""


def measured(rounds: int, block: float, envpool: Callable[[int], Contestant] | None = None) -> dict[str, Any]:
    """Steps a second of everybody: median and quartiles over the rounds.

    Args:
        rounds: Blocks of each contestant.
        block: Seconds a block takes.
        envpool: Makes envpool's contestant, from the number of threads.

    Returns:
        Name → ``steps_per_second``, and how many times as fast the native batch on two threads is, round by round.
    """
    contestants: dict[str, tuple[int, Contestant]] = {}
    for threads in (1, 2):
        for size in (64, 96):
            contestants[f"native, {ROWS} at {size}x{size}, {_threads(threads)}"] = (ROWS, _batch(size, threads))
    contestants["native, one at 64x64"] = (1, _single("native", size=64))
    with contextlib.suppress(ImportError):
        for size in (64, 96):
            contestants[f"Box2D, one at {size}x{size}"] = (1, _single("box2d", size=size))
    if envpool is not None:
        for threads in (1, 2):
            contestants[f"envpool, {ROWS} at 96x96, {_threads(threads)}"] = (ROWS, envpool(threads))
    seconds = interleaved({name: run for name, (_, run) in contestants.items()}, rounds=rounds, block=block)
    rates = {name: rows / seconds[name] for name, (rows, _) in contestants.items()}
    ours = rates[f"native, {ROWS} at 64x64, {_threads(2)}"]
    return {
        name: {"steps_per_second": spread(values), "native_is_faster": spread(ours / values)}
        for name, values in rates.items()
    }


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"


def first_step(env_id: str = ID) -> dict[str, float]:
    """Seconds until a new process's batch has taken a first step, "compiling" its kernels and with "cached" ones."""
    code, found = _FIRST_STEP.format(id=env_id, rows=ROWS), {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("compiling", "cached"):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "NUMBA_CACHE_DIR": cache})
            found[name] = time.perf_counter() - begin
    return found


def first_step_told(first: dict[str, float]) -> str:
    """What :func:`first_step` found, in a sentence."""
    missed = "" if first["compiling"] <= LONGEST else "**missed**: "
    return (
        f"\nA new process's first step takes {first['compiling']:.1f} s while kernels are compiled (target {missed}"
        f"≤ {LONGEST:.0f} s), {first['cached']:.1f} s afterwards."
    )


def table(results: dict[str, Any]) -> str:
    """The results as a table in Markdown."""
    lines = ["| CarRacing | steps/s | native on two threads is | target |", "|---|---|---|---|"]
    for name, found in results["contestants"].items():
        rate, faster = found["steps_per_second"]["median"], found["native_is_faster"]["median"]
        target = ""
        if name == f"native, {ROWS} at 64x64, {_threads(2)}":
            target = f"{'' if rate >= TARGET else '**missed**: '}≥ {TARGET:,}"
        lines.append(f"| {name} | {rate:,.0f} | {faster:,.1f} × as fast | {target} |")
    first, (before, after), where = results["first_step"], results["load"], results["machine"]
    lines.append(first_step_told(first))
    versions = ", ".join(f"{name} {version}" for name, version in results["peer_versions"].items())
    lines += [f"\nPeer: {versions}."] if versions else [f"\nWithout envpool: {results['left_out']}"]
    lines.append(f"\n{where['processor']}, {where['cores']} cores, load {before:.1f} to {after:.1f}, {where['date']}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and writes ``results/car_racing_speed.json``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few repetitions, to see that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--no-peers", action="store_true", help="without envpool")
    parser.add_argument("--peer-venvs", type=Path, default=Path("build"), help="where its virtual environment is")
    parser.add_argument("--report", action="store_true", help="only print the table of what was measured before")
    args = parser.parse_args(argv)
    if not args.report:
        with contextlib.ExitStack() as stack:
            peer, versions, left_out = None, {}, "it was not asked for"
            if not args.no_peers:
                try:
                    python = installed(args.peer_venvs / "venv-envpool", ("-r", str(REQUIREMENTS)))
                    peer = stack.enter_context(
                        contextlib.closing(Peer(str(python), "-m", "zoo.benchmarks.peers.envpool_car_racing"))
                    )
                    versions, left_out = peer.versions, ""
                except (OSError, RuntimeError, ValueError, subprocess.CalledProcessError) as error:
                    left_out = str(error)
            first, load = first_step(), os.getloadavg()[0]
            rounds, block = (2, 0.05) if args.quick else (30, 0.5)
            found = measured(rounds, block, None if peer is None else _envpool(peer))
            results = {
                "contestants": found,
                "first_step": first,
                "load": [load, os.getloadavg()[0]],
                "machine": machine(),
                "peer_versions": versions,
                "left_out": left_out,
            }
            save_json(args.results, results)
    print(table(load_json(args.results)))


def _envpool(peer: Peer) -> Callable[[int], Contestant]:
    def contestant(threads: int) -> Contestant:
        env = {"num_envs": ROWS, "threads": threads}
        return lambda times: float(peer.ask(env=env, calls=times)["seconds"])

    return contestant


def _batch(size: int, threads: int) -> Contestant:
    envs = gym.make_vec(ID, num_envs=ROWS, size=size, threads=threads)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(_DRAWN)]
    clock = 0

    def step() -> None:
        nonlocal clock
        envs.step(actions[clock % _DRAWN])
        clock += 1

    return per_call(step)


def _single(backend: str, **options: Any) -> Contestant:
    env = gym.make(ID, backend=backend, **options)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [np.asarray(env.action_space.sample()) for _ in range(_DRAWN)]
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
