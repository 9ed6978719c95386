"""Steps of envpool's Sokoban, jumanji's in C++; runs where envpool is installed (``requirements-envpool.txt``).

    build/venv-envpool/bin/python -m zoo.benchmarks.peers.envpool_steps

For requests and answers see :func:`~zoo.benchmarks.peers.stepping.serve`; a batch is ``{"num_envs": 64, "interface":
"gymnasium"}``. Its ``step`` for Gymnasium copies every row in Python, twice in each step, in case somebody renders it
later. No option turns that off, but its other interface, "dm", does not do it: the same C++ without that cache.

Ten rows by ten columns, 4 boxes; 4 actions; observations ``[B, 10, 10, 2]``, uint8; as many threads as it chooses. All
rows play one easy level, which is its default. A finished row begins anew in the next step.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import envpool  # type: ignore[import-not-found]

from zoo.benchmarks.peers.stepping import drawn_actions, serve


def batch(num_envs: int, interface: str) -> Callable[[int], object]:
    """Steps of a batch, "gymnasium" or "dm"."""
    envs: Any = envpool.make("Sokoban-v0", env_type=interface, num_envs=num_envs, seed=0)
    envs.reset()
    actions = drawn_actions(4, num_envs)
    return lambda clock: envs.step(actions[clock % len(actions)])


if __name__ == "__main__":
    serve(batch, {name: version(name) for name in ("envpool", "numpy")})
