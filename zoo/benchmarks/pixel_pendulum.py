"""Pendulum-v1 from pixels: the environment ``PixelPendulum-v0``.

python -m rl_zoo3.train --algo sac --env PixelPendulum-v0 --gym-packages zoo.benchmarks.pixel_pendulum …
imagine train --algo dreamer --env PixelPendulum-v0 --gym-packages zoo.benchmarks.pixel_pendulum
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from numpy.typing import NDArray

__all__ = ["PixelPendulum", "draw"]

SIZE = 64
_EXTENT = 1.25  # from the middle to the edge, in metres; the rod is one metre long
_RADIUS, _AXLE_RADIUS = 0.1, 0.05
_BACKGROUND, _ROD, _AXLE = np.array([[255, 255, 255], [204, 77, 77], [0, 0, 0]], dtype=np.float32)

_PIXEL = 2 * _EXTENT / SIZE
_CENTERS = (np.arange(SIZE, dtype=np.float32) + 0.5) * _PIXEL - _EXTENT
_X, _Y = _CENTERS[None, :], -_CENTERS[:, None]  # the first row is the top
_SQUARES = _X**2 + _Y**2
_AXLE_COVER = np.clip(0.5 + (_AXLE_RADIUS - np.sqrt(_SQUARES)) / _PIXEL, 0, 1)


def draw(angle: float) -> NDArray[np.uint8]:
    """The pendulum at an angle, ``[64, 64, 3]``.

    Gymnasium's picture of 500 × 500 pixels costs milliseconds. This one is our own, in its colors: a rod with round
    ends and an axle, their edges blended by how much of a pixel they cover. The arrow, which shows the last torque, is
    left out.

    Args:
        angle: In radians, counter-clockwise; upright is zero.
    """
    x, y = -np.float32(np.sin(angle)), np.float32(np.cos(angle))
    along = _X * x + _Y * y
    nearest = np.clip(along, 0, 1)  # point of the rod's axis
    distance = np.sqrt(np.maximum(_SQUARES - nearest * (2 * along - nearest), 0))
    cover = np.clip(0.5 + (_RADIUS - distance) / _PIXEL, 0, 1)[..., None]
    frame = _BACKGROUND + cover * (_ROD - _BACKGROUND)
    frame += _AXLE_COVER[..., None] * (_AXLE - frame)
    return np.rint(frame).astype(np.uint8)


class PixelPendulum(PendulumEnv):
    """Swinging a pendulum up, seen in pictures that do not show how fast it moves.

    Dynamics, rewards, actions and the limit of 200 steps are those of Pendulum-v1; the observation is a picture, uint8
    ``[64, 64, 3]`` (see :func:`draw`). One picture tells the angle and not the velocity: a policy needs memory, or the
    pictures before (``VecFrameStack``).

    It can be pickled in the middle of an episode, also when it has been rendered.

    Args:
        render_mode: As for Pendulum-v1, whose own picture ``render`` returns.
        g: Gravity, in m/s².

    Example:
        >>> import zoo.benchmarks.pixel_pendulum
        >>> env = gym.make("PixelPendulum-v0")
        >>> observation, info = env.reset(seed=0)
    """

    def __init__(self, render_mode: str | None = None, g: float = 10.0) -> None:
        super().__init__(render_mode, g)
        self.observation_space = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)

    def _get_obs(self) -> NDArray[np.uint8]:
        return draw(self.state[0])

    def __getstate__(self) -> dict[str, Any]:
        window = {"screen": None, "clock": None, "surf": None}  # of pygame, made again by the next `render`
        return {**vars(self), **{name: value for name, value in window.items() if name in vars(self)}}


gym.register("PixelPendulum-v0", entry_point="zoo.benchmarks.pixel_pendulum:PixelPendulum", max_episode_steps=200)
