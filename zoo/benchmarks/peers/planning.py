"""How a peer of Dyna-Q answers what its planning costs. Needs nothing but Python."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from zoo.benchmarks.peers.answering import answer_all

__all__ = ["UNIT", "Transition", "serve", "timed"]

UNIT = 1_000
"""Backups that are made at least, so that what comes before and after them does not count."""

Transition = tuple[int, int, float, int, bool]
"""State, action, reward, successor, and whether the episode terminated there."""


def timed(function: Callable[[], object]) -> float:
    """Seconds of a call, on the wall or of this process's processor, whichever are less.

    The wall's count what others do on a busy machine, the processor's each of several threads.
    """
    start, used = time.perf_counter(), time.process_time()
    function()
    return min(time.perf_counter() - start, time.process_time() - used)


def serve(makers: dict[str, Callable[[list[Transition]], Callable[[int], object]]], versions: dict[str, str]) -> None:
    """Answers until the input ends.

    The first line written is ``versions``. A request names a search control, what is known of the environment, and how
    many backups are made, ``{"search": "uniform", "transitions": [[0, 1, 0.0, 9, false], …], "backups": 2000}`` (so
    many times :data:`UNIT`); the answer is how long they took, ``{"seconds": 0.13}``. The maker of that name is called
    once, with the transitions of the first request: it returns what makes so many backups.
    """
    planners: dict[str, Callable[[int], object]] = {}

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        search = asked["search"]
        if search not in planners:
            planners[search] = makers[search]([tuple(transition) for transition in asked["transitions"]])
        return {"seconds": timed(lambda: planners[search](asked["backups"]))}

    answer_all(versions, answer)
