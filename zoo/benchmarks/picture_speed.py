"""How fast a task with pictures is: what the measurements of CarRacing and Doom share.

Actions are random and drawn before. Natively 64 environments in one batch take ``VectorEnv.step`` as a user calls it
(resets, new arrays of observations, infos), on one thread and on two. Peers answer from processes and virtual
environments of their own, see ``peers/``; one that cannot be installed or run is left out, and the report says why.

How long a first step takes is measured in fresh processes, from before the import until after it: with an empty cache
of compiled kernels, and with a full one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagine_envs.storage import load_json, save_json
from zoo.benchmarks.env_speed import Peers, Steps, command, peers_told, rates, rivals
from zoo.benchmarks.measure import machine, ran_on, spread

__all__ = ["OURS", "ROWS", "PictureSpeed", "first_step", "measured"]

ROWS = 64
"""Environments of a batch."""

OURS = f"native, {ROWS} at 64x64, 2 threads"
"""What has the target, and all others are compared with."""

_LONGEST = 15.0
"""Seconds that a first step may take."""

_FIRST_STEP = """
import gymnasium, imagine_envs
envs = gymnasium.make_vec({id!r}, {rows}, size=64)
envs.reset(seed=0)
envs.step(envs.action_space.sample())
"""


def first_step(env_id: str) -> dict[str, float]:
    """Seconds until a new process's batch has taken a first step, "compiling" its kernels and with "cached" ones."""
    code, found = _FIRST_STEP.format(id=env_id, rows=ROWS), {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("compiling", "cached"):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "NUMBA_CACHE_DIR": cache})
            found[name] = time.perf_counter() - begin
    return found


def measured(contestants: Mapping[str, Steps], rounds: int, block: float) -> dict[str, dict[str, dict[str, float]]]:
    """Steps a second of everybody: median and quartiles over the rounds.

    Args:
        contestants: By name, :data:`OURS` among them.
        rounds: Blocks of each.
        block: Seconds a block takes.

    Returns:
        Name → ``steps_per_second``, and ``native_is_faster``: how many times as fast :data:`OURS` is, round by round.
    """
    found = rates(contestants, rounds=rounds, block=block)
    return {
        name: {"steps_per_second": spread(values), "native_is_faster": spread(found[OURS] / values)}
        for name, values in found.items()
    }


@dataclass(frozen=True)
class PictureSpeed:
    """The measurement of one task.

    Attributes:
        title: What the table calls the task.
        env_id: Whose first step is measured.
        target: Steps a second that :data:`OURS` is to make on two cores.
        contestants: Makes those of this process, :data:`OURS` among them.
        peers: The others.
        results: Where they are written.
        description: The script's docstring.
    """

    title: str
    env_id: str
    target: int
    contestants: Callable[[], Mapping[str, Steps]]
    peers: Peers
    results: Path
    description: str

    def main(self, argv: Sequence[str] | None = None) -> None:
        """Measures, writes the results and shows them."""
        args = command(self.description, self.results).parse_args(argv)
        if not args.report:
            with rivals({} if args.no_peers else self.peers, args.peer_venvs) as (others, versions, left_out):
                first, load = first_step(self.env_id), os.getloadavg()[0]
                rounds, block = (2, 0.05) if args.quick else (30, 0.5)
                results = {
                    "contestants": measured({**self.contestants(), **others}, rounds, block),
                    "first_step": first,
                    "load": [load, os.getloadavg()[0]],
                    "machine": machine(),
                    "peer_versions": versions,
                    "left_out": left_out,
                }
            save_json(args.results, results)
        print(self.table(load_json(args.results)))

    def table(self, results: Mapping[str, Any]) -> str:
        """The results as a table in Markdown; what misses its target says so."""
        lines = [f"| {self.title} | steps/s | native on two threads is | target |", "|---|---|---|---|"]
        for name, found in results["contestants"].items():
            rate, faster = found["steps_per_second"]["median"], found["native_is_faster"]["median"]
            target = f"{'' if rate >= self.target else '**missed**: '}≥ {self.target:,}" if name == OURS else ""
            lines.append(f"| {name} | {rate:,.0f} | {faster:,.1f} × as fast | {target} |")
        first = results["first_step"]
        missed = "" if first["compiling"] <= _LONGEST else "**missed**: "
        lines.append(
            f"\nA new process's first step takes {first['compiling']:.1f} s while kernels are compiled (target {missed}"
            f"≤ {_LONGEST:.0f} s), {first['cached']:.1f} s afterwards."
        )
        return "\n".join([*lines, *peers_told(results), ran_on(results)])
