"""How fast Dyna-Q plans: backups of a value per second, on one core, in the maze of Figure 8.2 and in a large one.

    python -m zoo.benchmarks.planning_speed                        # a minute; rl-blox beside it
    python -m zoo.benchmarks.planning_speed --rl-introduction ../reinforcement-learning-an-introduction
    python -m zoo.benchmarks.planning_speed --report               # only the table of what was measured before

Everything about the maze is known, as after all its steps were taken once; then values are backed up, with α 0.1 and
γ 0.95. "uniform" is Dyna-Q's search control, "prioritized" prioritized sweeping with θ = 0, which starts anew from
values of 0 and the last step to the goal every 10,000 backups. All take turns in short blocks, and each is charged
with the less of wall and processor time, so that it hardly matters what else the machine does; the load at the
beginning and at the end is in the results. Besides, how many real steps
a second ``learn`` takes with five backups after each.

The peers are what is public in Python: rl-blox (JAX; a virtual environment of its own is made where it is missing), and
from checkouts, since they are no packages, the best known code of the book's chapter
(github.com/ShangtongZhang/reinforcement-learning-an-introduction), and neuro-nav (github.com/awjuliani/neuro-nav).
Their scripts in ``peers/`` say what of them is timed. One that cannot be installed or run is left out, and the report
says why.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

import imagine_envs  # noqa: F401 - registers the ids
from imagine_agents import DynaQ
from imagine_agents.dyna_q.queue import rise
from imagine_envs.storage import load_json, save_json
from imagine_envs.tasks import TaskEnv
from imagine_envs.tasks.mazes import DynaMaze, GridMaze, ScaledMaze
from zoo.benchmarks.measure import Contestant, interleaved, machine, ran_on, spread
from zoo.benchmarks.peers.planning import UNIT, Transition, timed
from zoo.benchmarks.peers.processes import Peer, installed_peer, started

__all__ = ["FACTOR", "TARGETS", "comparison", "main", "measured", "planner", "started_peers", "transitions"]

RESULTS = Path(__file__).parent / "results" / "planning_speed.json"
CHUNK = 10_000

TARGETS = {"uniform": 20_000_000, "prioritized": 1_000_000}
"""Backups a second in the maze of Figure 8.2."""

FACTOR = 100
"""How many times as fast as the fastest peer."""


def transitions(maze: GridMaze) -> list[Transition]:
    """All steps of a maze from where one can get to from its start."""
    known: list[Transition] = []
    reached = [maze.start]
    for state in reached:
        for action in range(maze.successors.shape[2]):
            after = int(maze.successors[0, state, action, 0])
            end = bool(maze.terminal[after])
            known.append((state, action, float(maze.rewards[0, state, action, 0]), after, end))
            if not end and after not in reached:
                reached.append(after)
    return known


def planner(maze: GridMaze, search: str) -> Contestant:
    """Our planning in a maze that is known; a call is a thousand backups."""
    agent = DynaQ(
        "TabularPolicy", TaskEnv(maze), learning_rate=0.1, gamma=0.95, search_control=search, priority_threshold=0.0,
        seed=0,
    )  # fmt: skip
    known = transitions(maze)
    agent.world_model.learn(*zip(*known, strict=True))
    last = next(state * agent.world_model.num_actions + action for state, action, _, _, end in known if end)

    def plan(times: int) -> float:
        backups, seconds = times * UNIT, 0.0
        while backups > 0:
            if search == "prioritized":
                memory, _, _ = agent.bound()
                memory.values[:], memory.place[:] = 0, -1
                memory.priority[last] = memory.queued[0] = 1
                rise(memory.heap, memory.place, memory.priority, 0, last)
            before, asked = agent.n_backups, min(backups, CHUNK) if search == "prioritized" else backups
            seconds += timed(lambda asked=asked: agent.plan(asked))  # type: ignore[misc]
            made = agent.n_backups - before
            assert made, "the queue was empty"
            backups -= made
        return seconds

    plan(1)  # compiles
    return plan


def learner() -> Contestant:
    """Our ``learn`` in the maze of Figure 8.2, in ``gym.make``'s wrappers and SB3's; a call is a real step."""
    agent = DynaQ("TabularPolicy", gym.make("Imagine/DynaMaze-v0"), planning_steps=5, seed=0)
    agent.learn(100)  # compiles

    def learn(steps: int) -> float:
        return timed(lambda: agent.learn(steps, reset_num_timesteps=False, log_interval=None))

    return learn


def started_peers(
    venvs: Path, checkouts: Mapping[str, Path | None]
) -> contextlib.AbstractContextManager[tuple[dict[str, Contestant], dict[str, Any], dict[str, str]]]:
    """Peers that have made a first backup, named "<peer> <search>"; versions; why others are left out.

    Args:
        venvs: Where the virtual environment of rl-blox is, or is to be made.
        checkouts: Where other peers are, None where nobody said.
    """
    known = transitions(DynaMaze())

    def start(name: str) -> Peer:
        module = name.replace("-", "_")
        if name == "rl-blox":
            return installed_peer(name, module, venvs)
        checkout = checkouts.get(name)
        if checkout is None:
            raise ValueError(f"it is no package, and --{name} does not say where it is")
        return Peer(sys.executable, "-m", f"zoo.benchmarks.peers.{module}", "--checkout", str(checkout.resolve()))

    def planners(name: str, peer: Peer) -> dict[str, Contestant]:
        searches = TARGETS if name == "rl-introduction" else ("uniform",)
        return {f"{name} {search}": _asking(peer, search, known) for search in searches}

    return started(("rl-blox", "rl-introduction", "neuro-nav"), start, planners)


def _asking(peer: Peer, search: str, known: list[Transition]) -> Contestant:
    return lambda times: float(peer.ask(search=search, transitions=known, backups=times * UNIT)["seconds"])


def measured(rounds: int, peers: Mapping[str, Contestant]) -> dict[str, Any]:
    """Backups and real steps a second (median and quartiles over the rounds), and how many times a peer's ours are.

    Args:
        rounds: Blocks of each contestant.
        peers: Named "<peer> <search>".

    Returns:
        "ours": maze → search → rate; "peers": search → peer → "rate" and "ratio", compared round by round; "learn":
        real steps a second.
    """
    mazes = {"47 states": DynaMaze(), "6,016 states": ScaledMaze(size=6016)}
    contestants = {f"{name}|{search}": planner(maze, search) for name, maze in mazes.items() for search in TARGETS}
    seconds = interleaved({**contestants, **peers, "learn": learner()}, rounds=rounds, block=0.05)
    rates = {name: (1 if name == "learn" else UNIT) / values for name, values in seconds.items()}
    beside: dict[str, dict[str, Any]] = {}
    for name in peers:
        who, _, search = name.rpartition(" ")
        ratio = rates[f"47 states|{search}"] / rates[name]
        beside.setdefault(search, {})[who] = {"rate": spread(rates[name]), "ratio": spread(ratio)}
    return {
        "ours": {
            maze: {search: spread(rates[f"{maze}|{search}"]) for search in TARGETS} for maze in mazes
        },
        "peers": beside,
        "learn": spread(rates["learn"]),
    }  # fmt: skip


def comparison(results: Mapping[str, Any]) -> str:
    """What was measured as a table in Markdown; what misses its target says so."""
    lines = [
        "| search control | maze | ours, backups/s | target | peer, backups/s | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for maze, found in results["ours"].items():
        for search, rate in found.items():
            here = maze == "47 states"
            reached = rate["median"] >= TARGETS[search]
            target = f"{'' if reached else '**missed**: '}≥ {TARGETS[search]:,}" if here else ""
            beside = results["peers"].get(search, {}) if here else {}
            fastest = max(beside, key=lambda name: beside[name]["rate"]["median"], default=None)
            for name in beside or [""]:
                peer = ratio = ""
                if name:
                    peer, times = f"{name}: {beside[name]['rate']['median']:,.0f}", beside[name]["ratio"]["median"]
                    missed = "**missed** (≥ 100): " if name == fastest and times < FACTOR else ""
                    ratio = f"{missed}{times:,.0f} ×"
                lines.append(f"| {search} | {maze} | {rate['median']:,.0f} | {target} | {peer} | {ratio} |")
    lines.append(f"\n`learn` with five backups after each real step: {results['learn']['median']:,.0f} real steps/s.")
    told = [f"{name}: {', '.join(map(' '.join, of.items()))}" for name, of in results["versions"].items()]
    lines += [f"\nPeers: {'; '.join(told)}."] if told else []
    lines += [f"\nWithout {name}: {reason}" for name, reason in results["left_out"].items()]
    return "\n".join([*lines, ran_on(results)])


def main(argv: list[str] | None = None) -> None:
    """Measures and writes ``results/planning_speed.json``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few repetitions, to see that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--no-peers", action="store_true", help="without other libraries")
    parser.add_argument("--peer-venvs", type=Path, default=Path("build"), help="where rl-blox's environment is")
    parser.add_argument("--rl-introduction", type=Path, help="a checkout of the book's Python code")
    parser.add_argument("--neuro-nav", type=Path, help="a checkout of neuro-nav")
    parser.add_argument("--report", action="store_true", help="only print the table of what was measured before")
    args = parser.parse_args(argv)
    if args.report:
        print(comparison(load_json(args.results)))
        return
    with contextlib.ExitStack() as stack:
        peers: dict[str, Contestant] = {}
        versions: dict[str, Any] = {}
        left_out: dict[str, str] = {}
        if not args.no_peers:
            checkouts = {"rl-introduction": args.rl_introduction, "neuro-nav": args.neuro_nav}
            peers, versions, left_out = stack.enter_context(started_peers(args.peer_venvs, checkouts))
        load = os.getloadavg()[0]
        results = measured(3 if args.quick else 30, peers)
        results |= {"load": [load, os.getloadavg()[0]], "machine": machine(), "versions": versions}
        results["left_out"] = left_out
    save_json(args.results, results)
    print(comparison(results))


if __name__ == "__main__":
    main()
