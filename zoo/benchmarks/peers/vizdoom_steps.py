"""Steps of ViZDoom's Take Cover, one game; runs where ViZDoom is installed (``requirements-vizdoom.txt``).

    build/venv-vizdoom/bin/python -m zoo.benchmarks.peers.vizdoom_steps

For requests and answers see :func:`~zoo.benchmarks.peers.stepping.serve`; a game is ``{"interface": "raw"}`` (the
engine's own ``make_action`` and the picture of its state, 160 × 120 pixels) or ``{"interface": "gymnasium"}`` (its
Gymnasium environment with 320 × 240 pixels, as it is registered). Nothing is resized. A finished game begins anew.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import vizdoom
from vizdoom import gymnasium_wrapper  # noqa: F401 - registers the ids

from zoo.benchmarks.peers.stepping import serve


def game(interface: str) -> Callable[[int], object]:
    """Steps of one game."""
    return _raw() if interface == "raw" else _wrapped()


def _raw() -> Callable[[int], object]:
    doom: Any = vizdoom.DoomGame()
    doom.load_config(str(Path(vizdoom.scenarios_path) / "take_cover.cfg"))
    doom.set_window_visible(False)
    doom.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    doom.set_screen_format(vizdoom.ScreenFormat.RGB24)
    doom.set_seed(0)
    doom.init()
    buttons = [[False, False], [False, True], [True, False]]
    actions = np.random.default_rng(0).integers(3, size=256).tolist()

    def step(clock: int) -> object:
        doom.make_action(buttons[actions[clock % len(actions)]])
        if doom.is_episode_finished():
            doom.new_episode()
        return doom.get_state().screen_buffer

    return step


def _wrapped() -> Callable[[int], object]:
    env = gymnasium.make("VizdoomTakeCover-v1")
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(3, size=256).tolist()

    def step(clock: int) -> object:
        found = env.step(actions[clock % len(actions)])
        if found[2] or found[3]:
            env.reset()
        return found

    return step


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # where the engine leaves its files
        serve(game, {name: version(name) for name in ("vizdoom", "gymnasium", "numpy")})
