"""My Way Home: rooms, corridors, and a vest at the end of one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from imagine_envs.tasks.doom import art
from imagine_envs.tasks.doom.level import FIXED, Level, rooms
from imagine_envs.tasks.doom.player import (
    ANGLE,
    FORWARD,
    QUARTER,
    SIDEWAYS,
    SPEED_X,
    SPEED_Y,
    face,
    look,
    stand,
    stride,
    touches,
    turn,
    walk,
)
from imagine_envs.tasks.doom.scenario import MY_WAY_HOME, Scenario
from imagine_envs.tasks.doom.task import DoomTask
from imagine_envs.tasks.randomness import below
from imagine_envs.tasks.task import State

__all__ = ["MyWayHome"]

_BEGIN = 9
"""Tics that have passed when the player may act."""

_VEST_X, _VEST_Y = 1_040, -352

_ROOMS = (
    (160, -256, 320, -96),
    (384, -256, 544, -96),
    (384, -32, 544, 128),
    (608, -256, 768, -96),
    (608, -32, 768, 128),
    (384, -544, 544, -384),
    (960, -32, 1_120, 128),
    (960, -256, 1_120, -96),
)
_TUNNELS = (
    (320, -208, 384, -144),
    (544, -208, 608, -144),
    (432, -96, 496, -32),
    (656, -96, 720, -32),
    (544, 16, 608, 80),
    (768, 16, 960, 80),
    (1_008, -96, 1_072, -32),
    (992, -416, 1_088, -256),
    (432, -384, 496, -256),
    (432, -704, 496, -544),
    (496, -704, 576, -640),
)
"""From x, from y, to x, to y. The vest lies in the one that ends at y = −416."""

_SPOTS = np.round(
    FIXED
    * np.array(
        [
            (240.0, -176.0),
            (464.0, -176.0),
            (470.331, -321.672),
            (466.983, -466.749),
            (460.326, -596.12),
            (543.986, -672.089),
            (575.372, -171.77),
            (686.83, -173.247),
            (686.646, -62.382),
            (464.098, -60.496),
            (460.326, 56.436),
            (571.6, 54.55),
            (694.19, 58.322),
            (871.474, 54.55),
            (1043.1, 60.208),
            (1039.737, -61.676),
            (1039.328, -169.884),
        ]
    )
).astype(np.int64)
"""Where an episode may begin."""


class MyWayHome(DoomTask):
    """My Way Home: find the green vest in a maze of rooms, seen through your own eyes.

    Eight rooms with walls of their own are joined by corridors. The player begins at one of seventeen spots, whichever
    way he looks; the vest always lies at the end of the same corridor.

    Actions: 0 nothing, 1 a step to the right, 2 to the left, 3 forward, 4 turn right, 5 turn left. The reward is
    −0.0001 in each tic and +1 for the vest, with which the episode terminates one tic later. It is truncated after
    2,100 tics.

    Rules and numbers are those of ViZDoom's scenario (id ``VizdoomMyWayHome-v1``, ``backend="vizdoom"`` here); it is
    the maze of `Pathak et al., "Curiosity-driven Exploration by Self-supervised Prediction" (2017)
    <https://arxiv.org/abs/1705.05363>`_.

    Args:
        size: Rows and columns of an observation (uint8 ``[H, W, 3]``), or one number for both.
        frame_skip: Tics (1/35 s) that a step takes; its action is held, and its rewards are added up.
        max_steps: Step limit; "cap" is 2,100 tics.
        threads: Of the drawing, in large batches; None takes what ``OMP_NUM_THREADS`` says, or all cores.

    Raises:
        ValueError: If an argument makes no sense.

    Example:
        >>> env = gym.make("Imagine/DoomMyWayHome-v0", frame_skip=4)
        >>> observation, info = env.reset(seed=0)
    """

    scenario: ClassVar[Scenario] = MY_WAY_HOME
    action_names: ClassVar[tuple[str, ...]] = MY_WAY_HOME.actions
    backends: ClassVar[Mapping[str, tuple[str, str]]] = {
        "vizdoom": ("doom", "imagine_envs.tasks.doom.engine:MyWayHomeEngine")
    }
    level: ClassVar[Level] = rooms(
        [
            *((*room, wall) for room, wall in zip(_ROOMS, art.ROOM_WALLS, strict=True)),
            *((*tunnel, art.TUNNEL) for tunnel in _TUNNELS),
        ],
        height=128,
        light=192,
        seams=((848, 16), (576, 16)),
        floor=art.STONES,
        ceiling=art.STONES,
    )

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """The player, and whether he has the vest."""
        return {**super().arrays(), "dressed": ((), bool)}

    def reset(self, state: State, rows: NDArray[np.int64], options: Mapping[str, Any]) -> None:
        """The player at one of the spots, looking anywhere."""
        _begin(rows, state["random"].view(np.uint64), _SPOTS, state["player"], state["time"], state["dressed"])

    def step(
        self, state: State, action: NDArray[np.int64], reward: NDArray[np.float64], terminated: NDArray[np.bool_]
    ) -> None:
        """The player moves; as many times as there are tics in a step."""
        _step(
            action,
            self.frame_skip,
            self.level.walls,
            state["player"],
            state["time"],
            state["dressed"],
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
        """The player's eyes, and the vest."""
        _cast(state["player"], state["dressed"], cameras, billboards, counts)


@njit(cache=True)
def _begin(rows: Any, random: Any, spots: Any, player: Any, time: Any, dressed: Any) -> None:
    for row in rows:
        spot = below(random, row, len(spots))
        stand(row, spots[spot, 0], spots[spot, 1], below(random, row, 65_536) << 16, player)
        time[row] = _BEGIN
        dressed[row] = False


@njit(cache=True)
def _step(
    action: Any,
    frame_skip: int,
    walls: Any,
    player: Any,
    time: Any,
    dressed: Any,
    reward: Any,
    terminated: Any,
) -> None:
    for row in range(len(action)):
        reward[row], terminated[row] = 0.0, False
        chosen = action[row]
        for _ in range(frame_skip):
            reward[row] -= 0.0001
            if dressed[row]:
                terminated[row] = True
                break
            turn(row, 2 * chosen - 9 if chosen >= 4 else 0, player)
            if chosen == 3:
                stride(row, player[row, ANGLE], FORWARD, player)
            elif 1 <= chosen <= 2:
                stride(row, player[row, ANGLE] + (-QUARTER if chosen == 1 else QUARTER), SIDEWAYS, player)
            time[row] += 1
            look(row, time[row], player)
            moves = player[row, SPEED_X] != 0 or player[row, SPEED_Y] != 0
            walk(row, 1 <= chosen <= 3, walls, player)
            if moves and touches(row, _VEST_X * FIXED, _VEST_Y * FIXED, player):
                reward[row] += 1.0
                dressed[row] = True


@njit(cache=True)
def _cast(player: Any, dressed: Any, cameras: Any, billboards: Any, counts: Any) -> None:
    for row in range(len(player)):
        face(row, player, cameras)
        counts[row] = 0 if dressed[row] else 1
        billboards[row, 0, 0], billboards[row, 0, 1] = _VEST_X, _VEST_Y
        billboards[row, 0, 2], billboards[row, 0, 3] = 0.0, art.ARMOR
