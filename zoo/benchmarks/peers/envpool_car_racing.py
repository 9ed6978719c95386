"""Steps of envpool's CarRacing-v3, Box2D and its drawing in C++; runs where envpool is installed.

    build/venv-envpool/bin/python -m zoo.benchmarks.peers.envpool_car_racing

For requests and answers see :func:`~zoo.benchmarks.peers.stepping.serve`; a batch is ``{"num_envs": 64, "threads":
2}``. Pictures have 96 × 96 pixels, the only size it knows. Its interface "dm" is asked, which does not copy every row
for a renderer that nobody has (see ``envpool_steps``). A finished row begins anew in the next step.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import envpool  # type: ignore[import-not-found]
import numpy as np

from zoo.benchmarks.peers.stepping import serve


def batch(num_envs: int, threads: int) -> Callable[[int], object]:
    """Steps of a batch."""
    envs: Any = envpool.make("CarRacing-v3", env_type="dm", num_envs=num_envs, num_threads=threads, seed=0)
    envs.reset()
    low, high = np.array([-1, 0, 0]), np.ones(3)
    actions = np.random.default_rng(0).uniform(low, high, (256, num_envs, 3)).astype(np.float32)
    return lambda clock: envs.step(actions[clock % len(actions)])


if __name__ == "__main__":
    serve(batch, {name: version(name) for name in ("envpool", "numpy")})
