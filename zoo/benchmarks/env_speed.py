"""What measurements of steps a second share: environments as contestants, ours and those of peers, and the command."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import imagine_envs  # noqa: F401 - registers the ids
from zoo.benchmarks.measure import Contestant, interleaved, per_call
from zoo.benchmarks.peers.processes import Peer, installed_peer, started

__all__ = ["Peers", "Steps", "batch", "command", "peers_told", "rates", "rivals", "single"]

Peers = Mapping[str, tuple[str, Mapping[str, Mapping[str, Any]]]]
"""By the name of their virtual environments and requirements: their script in ``peers/``, and how the results call what
is asked of it → the request, whose ``num_envs`` are 1 where it does not name them."""

_DRAWN = 256
"""Random actions, drawn before anything is timed and taken over and over."""


@dataclass(frozen=True)
class Steps:
    """A contestant that steps environments.

    Attributes:
        rows: Environments that one call steps.
        run: Takes so many calls.
    """

    rows: int
    run: Contestant

    def __call__(self, times: int) -> float:
        """Seconds of so many calls."""
        return self.run(times)


def batch(env_id: str, rows: int, **options: Any) -> Steps:
    """``VectorEnv.step`` as a user calls it, with resets, new arrays of observations and infos."""
    envs = gym.make_vec(env_id, num_envs=rows, **options)
    envs.reset(seed=0)
    return Steps(rows, _drawn(envs.action_space, envs.step))


def single(env_id: str, **options: Any) -> Steps:
    """``gym.make(…).step``, with Gymnasium's wrappers, and its resets."""
    env = gym.make(env_id, **options)
    env.reset(seed=0)

    def step(action: Any) -> None:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()

    return Steps(1, _drawn(env.action_space, step))


def _drawn(space: gym.Space[Any], step: Callable[[Any], object]) -> Contestant:
    space.seed(0)
    actions = itertools.cycle([space.sample() for _ in range(_DRAWN)])
    return per_call(lambda: step(next(actions)))


def rates(contestants: Mapping[str, Steps], *, rounds: int, block: float) -> dict[str, np.ndarray]:
    """Steps a second of each, ``[rounds]``; see :func:`~zoo.benchmarks.measure.interleaved`."""
    seconds = interleaved(contestants, rounds=rounds, block=block)
    return {name: contestants[name].rows / values for name, values in seconds.items()}


def rivals(
    peers: Peers, venvs: Path
) -> AbstractContextManager[tuple[dict[str, Steps], dict[str, Any], dict[str, str]]]:
    """Peers that have taken a first step, versions, and why others are left out; see ``processes.started``.

    Args:
        peers: What is asked of whom.
        venvs: Where their virtual environments are, or are to be made.
    """

    def steps(name: str, peer: Peer) -> dict[str, Steps]:
        return {called: Steps(env.get("num_envs", 1), _asking(peer, env)) for called, env in peers[name][1].items()}

    return started(peers, lambda name: installed_peer(name, peers[name][0], venvs), steps)


def _asking(peer: Peer, env: Mapping[str, Any]) -> Contestant:
    return lambda times: float(peer.ask(env=env, calls=times)["seconds"])


def peers_told(results: Mapping[str, Any], before: str = "") -> list[str]:
    """Paragraphs on the versions of the peers, which begin with ``before``, and on why others are left out."""
    told = [", ".join(map(" ".join, found.items())) for found in results.get("peer_versions", {}).values()]
    versions = [f"\n{before}Peer{'s' if len(told) > 1 else ''}: {'; '.join(told)}."] if told else []
    return versions + [f"\nWithout {name}: {reason}" for name, reason in results.get("left_out", {}).items()]


def command(description: str, results: Path) -> argparse.ArgumentParser:
    """The command line of a measurement.

    Args:
        description: The script's docstring, whose first line is shown.
        results: Where they are written if nothing else is said.
    """
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few repetitions, to see that it runs")
    parser.add_argument("--results", type=Path, default=results)
    parser.add_argument("--no-peers", action="store_true", help="without other libraries")
    parser.add_argument("--peer-venvs", type=Path, default=Path("build"), help="where their virtual environments are")
    parser.add_argument("--report", action="store_true", help="only print what was measured before")
    return parser
