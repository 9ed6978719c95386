"""Planning of the book's best known Python code (ShangtongZhang/reinforcement-learning-an-introduction), a checkout.

    python -m zoo.benchmarks.peers.rl_introduction --checkout ../reinforcement-learning-an-introduction

For requests and answers see :func:`~zoo.benchmarks.peers.planning.serve`; there are "uniform" and "prioritized". What
is timed are ``dyna_q`` and ``prioritized_sweeping`` of its ``chapter08/maze.py`` with as many planning steps as there
are backups to make, in an episode of one real step, which is timed too and leads to the goal without a reward. Before a
sweep all values are 0 and the last step to the goal is in the queue. The maze is its own ``Maze``, that of Figure 8.2;
needs matplotlib and tqdm.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from zoo.benchmarks.peers.planning import Transition, serve

CHUNK = 10_000
"""Backups of a sweep before all values are 0 again."""


def place(maze: Any, state: int) -> list[int]:
    """Its name of a state: row and column."""
    return list(divmod(state, maze.WORLD_WIDTH))


def settings(code: Any) -> tuple[Any, Any]:
    """Its maze, in which an episode is one step here, and its parameters: α 0.1, γ 0.95, ε 0.1, θ 0."""
    maze = code.Maze()
    maze.step = lambda state, action: (maze.GOAL_STATES[0], 0.0)
    return maze, code.DynaParams()


def taught(model: Any, maze: Any, transitions: list[Transition]) -> Any:
    """The model that knows all transitions."""
    for before, action, reward, after, _ in transitions:
        model.feed(place(maze, before), action, place(maze, after), reward)
    return model


def uniform(code: Any, transitions: list[Transition]) -> Callable[[int], object]:
    """Its ``dyna_q``."""
    maze, parameters = settings(code)
    model, values = taught(code.TrivialModel(), maze, transitions), np.zeros(maze.q_size)

    def plan(backups: int) -> None:
        parameters.planning_steps = backups
        code.dyna_q(values, model, maze, parameters)

    return plan


def prioritized(code: Any, transitions: list[Transition]) -> Callable[[int], object]:
    """Its ``prioritized_sweeping``."""
    maze, parameters = settings(code)
    last = next((place(maze, before), action) for before, action, _, _, end in transitions if end)

    def plan(backups: int) -> None:
        while backups > 0:
            model, values = taught(code.PriorityModel(), maze, transitions), np.zeros(maze.q_size)
            model.insert(1.0, *last)
            parameters.planning_steps = min(backups, CHUNK)
            made = code.prioritized_sweeping(values, model, maze, parameters) - 1
            assert made == parameters.planning_steps, f"the queue was empty after {made} backups"
            backups -= made

    return plan


def main() -> None:
    """Answers until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkout", type=Path, required=True)
    args = parser.parse_args()
    file = args.checkout / "chapter08" / "maze.py"
    sys.path.insert(0, str(file.parent))
    code = import_module("maze")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    serve(
        {
            "uniform": lambda transitions: uniform(code, transitions),
            "prioritized": lambda transitions: prioritized(code, transitions),
        },
        {"maze.py": f"sha256 {digest}", "numpy": version("numpy")},
    )


if __name__ == "__main__":
    main()
