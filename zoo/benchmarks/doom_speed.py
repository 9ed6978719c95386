"""How fast Take Cover is: steps a second with pictures, natively, in ViZDoom and in envpool's, taking turns.

    python -m zoo.benchmarks.doom_speed             # some minutes
    python -m zoo.benchmarks.doom_speed --quick
    python -m zoo.benchmarks.doom_speed --report    # only the table of what was measured before

Actions are random and drawn before; a step is one tic. Natively 64 environments in one batch take ``VectorEnv.step`` as
a user calls it (resets, new arrays of observations, infos; pictures of 64 × 64 pixels in colour), on one thread and on
two; the other three scenarios are measured too. ViZDoom plays one game: by its own calls, with pictures of 160 × 120
that nobody resizes, and as its Gymnasium environment, 320 × 240. envpool (ViZDoom in C++ threads) has 64 games. The
peers answer from processes and virtual environments of their own, see ``peers/``; one that cannot be installed or run
is left out, and the report says why.

How long a first step takes is measured in fresh processes, from before the import until after it: with an empty cache
of compiled kernels, and with a full one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

import imagine_envs  # noqa: F401 - registers the ids
from imagine_envs.storage import load_json, save_json
from zoo.benchmarks.car_racing_speed import first_step, first_step_told
from zoo.benchmarks.measure import Contestant, interleaved, machine, per_call, spread
from zoo.benchmarks.peers.processes import Peer, installed

__all__ = ["PEERS", "TARGET", "main", "measured", "started", "table"]

RESULTS = Path(__file__).parent / "results" / "doom_speed.json"
REQUIREMENTS = Path(__file__).parent / "peers"
ID = "Imagine/DoomTakeCover-v0"
OTHERS = ("Imagine/DoomBasic-v0", "Imagine/DoomHealthGathering-v0", "Imagine/DoomMyWayHome-v0")
ROWS, TARGET = 64, 50_000
"""Environments of a batch, and the steps a second they are to make on two cores."""

OURS = f"native, {ROWS} at 64x64, 2 threads"
PEERS: dict[str, tuple[str, dict[str, tuple[int, dict[str, Any]]]]] = {
    "vizdoom": (
        "vizdoom_steps",
        {
            "ViZDoom's own calls, one at 160x120": (1, {"interface": "raw"}),
            "ViZDoom's Gymnasium environment, one at 320x240": (1, {"interface": "gymnasium"}),
        },
    ),
    "envpool": (
        "envpool_doom",
        {f"envpool, {ROWS} at 64x64, 2 threads": (ROWS, {"num_envs": ROWS, "threads": 2})},
    ),
}
"""By the name of their virtual environments and requirements: their script in ``peers/``, and how the results call what
is asked of it → environments that it steps, and the request."""

_DRAWN = 256


def measured(
    rounds: int, block: float, rivals: Mapping[str, tuple[int, Contestant]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Steps a second of everybody: median and quartiles over the rounds.

    Args:
        rounds: Blocks of each contestant.
        block: Seconds a block takes.
        rivals: How the results call it → the environments that one call steps, and what takes so many calls.

    Returns:
        Name → ``steps_per_second``, and ``native_is_faster``: how many times as fast the native batch on two threads
        is, round by round.
    """
    contestants = {
        f"native, {ROWS} at 64x64, one thread": (ROWS, _batch(ID, 1)),
        OURS: (ROWS, _batch(ID, 2)),
        **{f"{env_id}, native, {ROWS} at 64x64, 2 threads": (ROWS, _batch(env_id, 2)) for env_id in OTHERS},
        **rivals,
    }
    seconds = interleaved({name: run for name, (_, run) in contestants.items()}, rounds=rounds, block=block)
    rates = {name: rows / seconds[name] for name, (rows, _) in contestants.items()}
    return {
        name: {"steps_per_second": spread(values), "native_is_faster": spread(rates[OURS] / values)}
        for name, values in rates.items()
    }


@contextlib.contextmanager
def started(venvs: Path) -> Iterator[tuple[dict[str, tuple[int, Contestant]], dict[str, Any], dict[str, str]]]:
    """Peers that have taken a first step: rivals, versions, and why others are left out.

    Args:
        venvs: Where their virtual environments are, or are to be made.
    """
    rivals: dict[str, tuple[int, Contestant]] = {}
    versions: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for name, (module, asked) in PEERS.items():
            try:
                python = installed(venvs / f"venv-{name}", ("-r", str(REQUIREMENTS / f"requirements-{name}.txt")))
                peer = stack.enter_context(
                    contextlib.closing(Peer(str(python), "-m", f"zoo.benchmarks.peers.{module}"))
                )
                found = {called: (rows, _stepping(peer, env)) for called, (rows, env) in asked.items()}
                for _, run in found.values():
                    run(1)
            except (OSError, RuntimeError, ValueError, subprocess.CalledProcessError) as error:
                left_out[name] = str(error)
                print(f"Going on without {name}: {error}", file=sys.stderr)
            else:
                rivals |= found
                versions[name] = peer.versions
        yield rivals, versions, left_out


def _stepping(peer: Peer, env: Mapping[str, Any]) -> Contestant:
    return lambda times: float(peer.ask(env=dict(env), calls=times)["seconds"])


def _batch(env_id: str, threads: int) -> Contestant:
    envs = gym.make_vec(env_id, num_envs=ROWS, threads=threads)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(_DRAWN)]
    clock = 0

    def step() -> None:
        nonlocal clock
        envs.step(actions[clock % _DRAWN])
        clock += 1

    return per_call(step)


def table(results: dict[str, Any]) -> str:
    """The results as a table in Markdown; what misses its target says so."""
    lines = ["| Take Cover | steps/s | native on two threads is | target |", "|---|---|---|---|"]
    for name, found in results["contestants"].items():
        rate, faster = found["steps_per_second"]["median"], found["native_is_faster"]["median"]
        target = f"{'' if rate >= TARGET else '**missed**: '}≥ {TARGET:,}" if name == OURS else ""
        lines.append(f"| {name} | {rate:,.0f} | {faster:,.1f} × as fast | {target} |")
    first, (before, after), where = results["first_step"], results["load"], results["machine"]
    lines.append(first_step_told(first))
    told = [f"{name} {found[name]}" for name, found in results["peer_versions"].items()]
    lines += [f"\nPeers: {', '.join(told)}."] if told else []
    lines += [f"\nWithout {name}: {reason}" for name, reason in results["left_out"].items()]
    lines.append(f"\n{where['processor']}, {where['cores']} cores, load {before:.1f} to {after:.1f}, {where['date']}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and writes ``results/doom_speed.json``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few repetitions, to see that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--no-peers", action="store_true", help="without ViZDoom and envpool")
    parser.add_argument("--peer-venvs", type=Path, default=Path("build"), help="where their virtual environments are")
    parser.add_argument("--report", action="store_true", help="only print the table of what was measured before")
    args = parser.parse_args(argv)
    if not args.report:
        with contextlib.ExitStack() as stack:
            rivals: dict[str, tuple[int, Contestant]] = {}
            versions: dict[str, Any] = {}
            left_out: dict[str, str] = {}
            if not args.no_peers:
                rivals, versions, left_out = stack.enter_context(started(args.peer_venvs))
            first, load = first_step(ID), os.getloadavg()[0]
            rounds, block = (2, 0.05) if args.quick else (30, 0.5)
            results = {
                "contestants": measured(rounds, block, rivals),
                "first_step": first,
                "load": [load, os.getloadavg()[0]],
                "machine": machine(),
                "peer_versions": versions,
                "left_out": left_out,
            }
        save_json(args.results, results)
    print(table(load_json(args.results)))


if __name__ == "__main__":
    main()
