"""What every benchmark shares: on which machine it ran, and how it compares speeds."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["Contestant", "interleaved", "machine", "per_call", "ran_on", "spread"]

_PACKAGES = ("torch", "numpy", "numba", "gymnasium", "stable-baselines3", "sb3-contrib", "rl_zoo3")

Contestant = Callable[[int], float]
"""Does its work so many times and returns the seconds that took; it may do so in another process."""


def machine() -> dict[str, Any]:
    """Processor, cores, threads, versions, date and commit, in JSON types."""
    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES},
        "date": datetime.date.today().isoformat(),
        "commit": commit,
    }


def ran_on(results: Mapping[str, Any]) -> str:
    """A paragraph on the "machine" of results, and its "load" before and after."""
    where, (before, after) = results["machine"], results["load"]
    return f"\n{where['processor']}, {where['cores']} cores, load {before:.1f} to {after:.1f}, {where['date']}"


def per_call(function: Callable[[], object]) -> Contestant:
    """A contestant that calls ``function``."""

    def run(times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            function()
        return time.perf_counter() - start

    return run


def interleaved(contestants: Mapping[str, Contestant], *, rounds: int, block: float = 0.02) -> dict[str, np.ndarray]:
    """Lets contestants run in turns, so that what else the machine does is shared by all of them.

    Every round gives each of them one block, in turning order. Compare them round by round (the median of the ratios),
    not by their own medians: a slow moment slows a whole round.

    Args:
        contestants: By name.
        rounds: Blocks of each.
        block: Seconds a block should take; a contestant does its work at least once in it.

    Returns:
        Seconds per call of each, ``[rounds]``.
    """
    times = {name: _calls_in(block, run) for name, run in contestants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    for _ in range(rounds):
        for name in order:
            seconds[name].append(contestants[name](times[name]) / times[name])
        order.reverse()
    return {name: np.array(values) for name, values in seconds.items()}


def _calls_in(block: float, run: Contestant) -> int:
    """How many calls fill a block; doubles their number until they fill half of it, which warms up too."""
    calls = 1
    while (seconds := run(calls)) < block / 2:
        calls *= 2
    return max(1, round(calls * block / seconds))


def spread(values: np.ndarray) -> dict[str, float]:
    """Median and quartiles, in JSON types."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high)}
