"""Basic: one demon, one pistol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from imagine_envs.tasks.doom import art
from imagine_envs.tasks.doom.level import FIXED, Level, rooms
from imagine_envs.tasks.doom.player import ANGLE, QUARTER, SIDEWAYS, X, Y, face, look, stand, stride, walk
from imagine_envs.tasks.doom.scenario import BASIC, Scenario
from imagine_envs.tasks.doom.task import DoomTask
from imagine_envs.tasks.randomness import below
from imagine_envs.tasks.task import State

__all__ = ["Basic"]

_BEGIN = 13
"""Tics that have passed when the player may act."""

_DEMON_X, _DEMON_RADIUS = 0.0, 31.0
_LOWEST, _HIGHEST = -161 * FIXED, 224 * FIXED
_CLIP = 50

DOING, TICS, AGAIN, AMMO, DEAD = range(5)
"""Columns of the pistol: what it does, tics until it does something else, shots since the button was pressed, bullets
left, and whether the demon is dead."""

READY, RAISE, FIRE, COOL, LOWER = range(5)
_RAISE_TICS, _FIRE_TICS, _COOL_TICS, _LOWER_TICS = 4, 6, 4, 5
_SPREAD = 18
"""Shots after the first stray by the difference of two numbers from 0 to 255, times a turn / 2¹⁴."""


class Basic(DoomTask):
    """Basic: step in front of the demon and shoot it.

    The demon floats 384 units away, somewhere along the wall, and does nothing. The pistol fires four tics after the
    button was pressed, and every 14 tics while it is held; the first shot flies straight ahead, later ones stray by up
    to 5.6°. A hit kills.

    Actions: 0 nothing, 1 attack, 2 right, 3 left. The reward is −1 in each tic, −5 for each shot and +106 for the kill,
    with which the episode terminates one tic later. It is truncated after 300 tics. ``info["ammo"]`` counts bullets.

    Rules and numbers are those of ViZDoom's scenario (id ``VizdoomBasic-v1``, ``backend="vizdoom"`` here).

    Args:
        size: Rows and columns of an observation (uint8 ``[H, W, 3]``), or one number for both.
        frame_skip: Tics (1/35 s) that a step takes; its action is held, and its rewards are added up.
        max_steps: Step limit; "cap" is 300 tics.
        threads: Of the drawing, in large batches; None takes what ``OMP_NUM_THREADS`` says, or all cores.

    Raises:
        ValueError: If an argument makes no sense.

    Example:
        >>> env = gym.make("Imagine/DoomBasic-v0", frame_skip=4)
        >>> observation, info = env.reset(seed=0)
        >>> info
        {'ammo': 50}
    """

    scenario: ClassVar[Scenario] = BASIC
    action_names: ClassVar[tuple[str, ...]] = BASIC.actions
    backends: ClassVar[Mapping[str, tuple[str, str]]] = {
        "vizdoom": ("doom", "imagine_envs.tasks.doom.engine:BasicEngine")
    }
    level: ClassVar[Level] = rooms(
        [(-448, -192, 64, 256, art.BLOCKS)], height=104, light=210, floor=art.TILES, ceiling=art.GRATING
    )

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """The player, his pistol, and the demon's y."""
        return {**super().arrays(), "pistol": ((5,), np.int64), "demon": ((), np.int64)}

    def reset(self, state: State, rows: NDArray[np.int64], options: Mapping[str, Any]) -> None:
        """The demon somewhere, the player opposite to the middle of its wall."""
        _begin(rows, state["random"].view(np.uint64), state["player"], state["time"], state["pistol"], state["demon"])

    def step(
        self, state: State, action: NDArray[np.int64], reward: NDArray[np.float64], terminated: NDArray[np.bool_]
    ) -> None:
        """Player and pistol; as many times as there are tics in a step."""
        _step(
            action,
            self.frame_skip,
            self.level.walls,
            state["random"].view(np.uint64),
            state["player"],
            state["time"],
            state["pistol"],
            state["demon"],
            reward,
            terminated,
        )

    def cast(
        self,
        state: State,
        cameras: NDArray[np.float64],
        billboards: NDArray[np.float64],
        counts: NDArray[np.int64],
        weapons: NDArray[np.int64],
    ) -> None:
        """The player's eyes and pistol, and the demon."""
        _cast(state["player"], state["pistol"], state["demon"], cameras, billboards, counts, weapons)

    def info(self, state: State) -> dict[str, NDArray[Any]]:
        """``ammo``."""
        return {"ammo": state["pistol"][:, AMMO]}

    def reset_info(self, state: State, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """``ammo``."""
        return {"ammo": state["pistol"][rows, AMMO]}

    def status(self, state: State, row: int) -> str:
        """Bullets left."""
        return f"ammo {state['pistol'][row, AMMO]}"


@njit(cache=True)
def _begin(rows: Any, random: Any, player: Any, time: Any, pistol: Any, demon: Any) -> None:
    for row in rows:
        stand(row, -384 * FIXED, 32 * FIXED, 0, player)
        time[row] = _BEGIN
        pistol[row] = 0
        pistol[row, AMMO] = _CLIP
        demon[row] = _LOWEST + below(random, row, _HIGHEST - _LOWEST + 1)


@njit(cache=True)
def _step(
    action: Any,
    frame_skip: int,
    walls: Any,
    random: Any,
    player: Any,
    time: Any,
    pistol: Any,
    demon: Any,
    reward: Any,
    terminated: Any,
) -> None:
    for row in range(len(action)):
        reward[row], terminated[row] = 0.0, False
        for _ in range(frame_skip):
            reward[row] -= 1.0
            if pistol[row, DEAD]:
                terminated[row] = True
                break
            steps = action[row] >= 2
            if steps:
                side = -QUARTER if action[row] == 2 else QUARTER
                stride(row, player[row, ANGLE] + side, SIDEWAYS, player)
            time[row] += 1
            look(row, time[row], player)
            if _fires(row, action[row] == 1, pistol):
                reward[row] -= 5.0
                if _hits(row, random, player, pistol, demon):
                    reward[row] += 106.0
                    pistol[row, DEAD] = 1
            walk(row, steps, walls, player)


@njit(cache=True)
def _fires(row: int, attack: bool, pistol: Any) -> bool:
    """One tic of the pistol; whether a bullet leaves it."""
    fires = False
    if pistol[row, DOING] != READY:
        pistol[row, TICS] -= 1
        if pistol[row, TICS] == 0:
            doing = pistol[row, DOING]
            if doing == RAISE:
                pistol[row, DOING], pistol[row, TICS] = FIRE, _FIRE_TICS
                fires = pistol[row, AMMO] > 0
                pistol[row, AMMO] -= fires
            elif doing == FIRE:
                pistol[row, DOING], pistol[row, TICS] = COOL, _COOL_TICS
            elif doing == COOL and attack:
                pistol[row, DOING], pistol[row, TICS] = RAISE, _RAISE_TICS
                pistol[row, AGAIN] += 1
            elif doing == COOL:
                pistol[row, DOING], pistol[row, TICS] = LOWER, _LOWER_TICS
                pistol[row, AGAIN] = 0
            else:
                pistol[row, DOING] = READY
    if pistol[row, DOING] == READY and attack and pistol[row, AMMO] > 0:
        pistol[row, DOING], pistol[row, TICS] = RAISE, _RAISE_TICS
    return fires


@njit(cache=True)
def _hits(row: int, random: Any, player: Any, pistol: Any, demon: Any) -> bool:
    """Whether a bullet meets the square in which the demon is."""
    angle = player[row, ANGLE]
    if pistol[row, AGAIN] > 0:
        angle += (below(random, row, 256) - below(random, row, 256)) << _SPREAD
    slope = math.tan(angle / 2.0**32 * 2.0 * math.pi)
    away = _DEMON_X - player[row, X] / FIXED
    beside = (player[row, Y] - demon[row]) / FIXED
    near, far = beside + slope * (away - _DEMON_RADIUS), beside + slope * (away + _DEMON_RADIUS)
    return min(near, far) <= _DEMON_RADIUS and max(near, far) >= -_DEMON_RADIUS


@njit(cache=True)
def _cast(player: Any, pistol: Any, demon: Any, cameras: Any, billboards: Any, counts: Any, weapons: Any) -> None:
    for row in range(len(player)):
        face(row, player, cameras)
        billboards[row, 0, 0], billboards[row, 0, 1] = _DEMON_X, demon[row] / FIXED
        billboards[row, 0, 2] = 0.0
        billboards[row, 0, 3] = art.DEMON_DEAD if pistol[row, DEAD] else art.DEMON
        counts[row] = 1
        weapons[row] = art.PISTOL_FIRES if pistol[row, DOING] == FIRE else art.PISTOL
