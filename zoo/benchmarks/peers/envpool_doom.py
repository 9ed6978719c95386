"""Steps of envpool's Take Cover, ViZDoom in threads; runs where envpool is installed (``requirements-envpool.txt``).

    build/venv-envpool/bin/python -m zoo.benchmarks.peers.envpool_doom

For requests and answers see :func:`~zoo.benchmarks.peers.stepping.serve`; a batch is ``{"num_envs": 64, "threads":
2}``. Pictures have 64 × 64 pixels in colour, and a step is one tic. Its interface "dm" is asked, which
does not copy every row for a renderer that nobody has (see ``envpool_steps``). A finished row begins anew in the next
step.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import envpool  # type: ignore[import-not-found]

from zoo.benchmarks.peers.stepping import drawn_actions, serve


def batch(num_envs: int, threads: int) -> Callable[[int], object]:
    """Steps of a batch."""
    envs: Any = envpool.make(
        "TakeCover-v1",
        env_type="dm",
        num_envs=num_envs,
        num_threads=threads,
        seed=0,
        frame_skip=1,
        stack_num=1,
        use_combined_action=True,
        img_height=64,
        img_width=64,
    )
    envs.reset()
    actions = drawn_actions(envs.action_spec().num_values, num_envs)
    return lambda clock: envs.step(actions[clock % len(actions)])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # where the engine leaves its files
        serve(batch, {name: version(name) for name in ("envpool", "numpy")})
