"""Levels of gym-sokoban's generator; runs where gym-sokoban is installed.

    build/venv-gym-sokoban/bin/python -m zoo.benchmarks.peers.gym_sokoban_levels --seed 0

It answers every line of its input, ``{"levels": 2}``, by one: the levels as rows of symbols, and what they took,
``{"levels": [["####", …], …], "seconds": 5.1}``. The first line it writes names the versions.

Size, boxes, length of the random walk, budget (300,000 states) and depth are those that gym-sokoban gives an
environment of 10 × 10 cells with 4 boxes. What its environment does with a failed attempt, another one, is timed too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np

from zoo.benchmarks.peers.answering import answer_all

with contextlib.redirect_stderr(io.StringIO()):  # the old gym says in many words that it is old
    from gym_sokoban.envs.room_utils import generate_room

SYMBOLS = {0: "#", 1: " ", 2: ".", 3: "$", 4: "$", 5: "@"}


def make() -> list[str]:
    """One level; its generator draws from the global random numbers of Python and of NumPy."""
    while True:
        try:
            _, state, _ = generate_room(dim=(10, 10), num_steps=int(1.7 * 20), num_boxes=4)
        except (RuntimeError, RuntimeWarning):
            continue
        return ["".join(SYMBOLS[int(cell)] for cell in row) for row in state]


def main() -> None:
    """Answers until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (that is what it draws from)
    sys.setrecursionlimit(10_000)

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        levels = [make() for _ in range(asked["levels"])]
        return {"levels": levels, "seconds": time.perf_counter() - start}

    answer_all({name: version(name) for name in ("gym-sokoban", "gym", "numpy")}, answer)


if __name__ == "__main__":
    main()
