"""Real environments of the benchmarks, wrapped as a hyper-parameter file says."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import gymnasium as gym
from rl_zoo3.utils import get_wrapper_class  # at once: it replaces wrappers, and those before could not be pickled

import zoo.benchmarks.pixel_pendulum  # noqa: F401  (registers PixelPendulum-v0)

__all__ = ["DM_CONTROL", "environment"]

DM_CONTROL = "dm_control/"
"""What the ids begin with that shimmy registers."""


def environment(task: str, env_wrapper: Any = None) -> gym.Env:
    """Makes a real environment.

    Args:
        task: Its id: one of Gymnasium's, ``PixelPendulum-v0``, or one of dm_control's like
            ``dm_control/cartpole-swingup-v0``.
        env_wrapper: rl_zoo3's: names of wrappers, or a dict of one name and its arguments, or a list of those.

    Raises:
        ImportError: If dm_control is asked for and is not installed; the message says how to install it.
    """
    if task.startswith(DM_CONTROL):
        try:
            import_module("dm_control")
            import_module("shimmy")  # registers them
        except ImportError as error:
            raise ImportError(f"{task} needs dm_control: pip install 'imagine-rl[dm-control]' ({error})") from error
    env = gym.make(task)
    if task.startswith(DM_CONTROL):
        env.unwrapped.spec = None  # a function without a name is in it, and the environment is to be pickled
    wrap = get_wrapper_class({"env_wrapper": env_wrapper})
    return env if wrap is None else wrap(env)
