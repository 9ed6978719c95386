"""How a peer of the tasks answers what its steps cost. Needs numpy and nothing of what is measured of ours."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo.benchmarks.peers.answering import answer_all

__all__ = ["drawn_actions", "serve"]


def drawn_actions(actions: int, num_envs: int, steps: int = 256) -> list[np.ndarray]:
    """Random batches of actions ``[num_envs]``, int32, drawn before anything is timed."""
    return list(np.random.default_rng(0).integers(actions, size=(steps, num_envs), dtype=np.int32))


def serve(make: Callable[..., Callable[[int], object]], versions: dict[str, str]) -> None:
    """Answers until the input ends.

    The first line written is ``versions``. A request names a batch and how many steps it takes, ``{"env": {"num_envs":
    64}, "calls": 20}``; the answer is how long they took, ``{"seconds": 0.013}``. ``make`` makes a batch of the
    arguments in "env", once: it returns what takes step number t.
    """
    steps: dict[str, Callable[[int], object]] = {}
    clocks: dict[str, int] = {}

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        name = json.dumps(asked["env"], sort_keys=True)
        if name not in steps:
            steps[name], clocks[name] = make(**asked["env"]), 0
        step, begin = steps[name], clocks[name]
        clocks[name] += asked["calls"]
        start = time.perf_counter()
        for clock in range(begin, clocks[name]):
            step(clock)
        return {"seconds": time.perf_counter() - start}

    answer_all(versions, answer)
