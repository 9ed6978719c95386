"""Steps of gym-sokoban; runs where gym-sokoban is installed (``requirements-gym-sokoban.txt``).

    build/venv-gym-sokoban/bin/python -m zoo.benchmarks.peers.gym_sokoban_steps

For requests and answers see :func:`~zoo.benchmarks.peers.stepping.serve`; there is one environment, ``{}``. Ten rows by
ten columns, 4 boxes; the 5 actions of ours out of its 9; observations ``[10, 10, 3]``, uint8, its "tiny_rgb_array".

The step limit is far away, so that resets are not timed, in its favour: each of them makes a level, which takes it
seconds (``sokoban_levels`` measures that).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from importlib.metadata import version

from zoo.benchmarks.peers.stepping import drawn_actions, serve

with contextlib.redirect_stderr(io.StringIO()):  # the old gym says in many words that it is old
    from gym_sokoban.envs.sokoban_env import SokobanEnv


def single() -> Callable[[int], object]:
    """Steps of one environment; making its first level takes seconds."""
    env = SokobanEnv(dim_room=(10, 10), num_boxes=4, max_steps=10**12)
    actions = [int(action) for (action,) in drawn_actions(5, 1)]

    def step(clock: int) -> None:
        _, _, solved, _ = env.step(actions[clock % len(actions)], observation_mode="tiny_rgb_array")
        if solved:
            env.reset(render_mode="tiny_rgb_array")

    return step


if __name__ == "__main__":
    serve(single, {name: version(name) for name in ("gym-sokoban", "gym", "numpy")})
