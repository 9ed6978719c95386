"""Take Cover: a room, imps that throw fireballs, and nowhere to hide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from imagine_envs.tasks.doom import art, imps
from imagine_envs.tasks.doom.level import FIXED, Level, rooms
from imagine_envs.tasks.doom.player import ANGLE, QUARTER, SIDEWAYS, face, look, stand, stride, walk
from imagine_envs.tasks.doom.raycaster import MOST_BILLBOARDS
from imagine_envs.tasks.doom.scenario import TAKE_COVER, Scenario
from imagine_envs.tasks.doom.task import MortalDoomTask
from imagine_envs.tasks.randomness import below
from imagine_envs.tasks.task import State

__all__ = ["TakeCover"]

_SPAWN_TICS = 60
_LOWEST, _MIDDLE, _HIGHEST = 20 * FIXED, 278 * FIXED, 652 * FIXED
_DEAF_TICS = 7
"""In an episode's first tics the engine ignores the buttons."""


class TakeCover(MortalDoomTask):
    """Take Cover: dodge the fireballs for as long as you can. The task of World Models.

    The player looks across a room of 576 × 768 units at imps beside each other, 480 units away, and can only step
    sideways. Three imps stand there from the beginning; every 60 tics another appears, unless there is somebody in its
    place. A fireball flies at 10 units a tic to where the player was when it was thrown; it costs him 21 to 168 of
    his 100 points of health, and pushes him.

    Actions: 0 nothing, 1 right, 2 left. In the first seven tics they do nothing. The reward is 1 in each tic. Death
    terminates; after 2,100 tics (a minute) the episode is truncated. ``info["health"]`` is the player's health.

    Rules and numbers are those of ViZDoom's scenario (id ``VizdoomTakeCover-v1``, ``backend="vizdoom"`` here);
    the player moves in both alike, to 1/65536 unit. An episode's random numbers are our own. See `Ha & Schmidhuber,
    "Recurrent World Models Facilitate Policy Evolution" (2018) <https://arxiv.org/abs/1809.01999>`_, section 4.

    Args:
        size: Rows and columns of an observation (uint8 ``[H, W, 3]``), or one number for both.
        frame_skip: Tics (1/35 s) that a step takes; its action is held, and its rewards are added up.
        max_steps: Step limit; "cap" is 2,100 tics.
        threads: Of the drawing, in large batches; None takes what ``OMP_NUM_THREADS`` says, or all cores.

    Raises:
        ValueError: If an argument makes no sense.

    Example:
        >>> env = gym.make("Imagine/DoomTakeCover-v0")
        >>> observation, info = env.reset(seed=0)
        >>> observation.shape, info
        ((64, 64, 3), {'health': 100})
    """

    scenario: ClassVar[Scenario] = TAKE_COVER
    action_names: ClassVar[tuple[str, ...]] = TAKE_COVER.actions
    backends: ClassVar[Mapping[str, tuple[str, str]]] = {
        "vizdoom": ("doom", "imagine_envs.tasks.doom.engine:TakeCoverEngine")
    }
    level: ClassVar[Level] = rooms(
        [(-448, 0, 128, 768, art.BRICKS)],
        height=104,
        light=210,
        seams=((0, 0), (0, 768)),
        floor=art.PLATES,
        ceiling=art.PLATES,
    )

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """The player, his health, imps and fireballs (see :mod:`~imagine_envs.tasks.doom.imps`)."""
        return {
            **super().arrays(),
            "imps": ((imps.MOST_IMPS, 6), np.int64),
            "imp_count": ((), np.int64),
            "balls": ((imps.MOST_BALLS, 6), np.int64),
        }

    def reset(self, state: State, rows: NDArray[np.int64], options: Mapping[str, Any]) -> None:
        """Three imps and a healthy player."""
        for array in (state["player"], state["imps"], state["imp_count"], state["balls"]):
            array[rows] = 0
        state["health"][rows] = 100
        _begin(rows, state["player"], state["imps"], state["imp_count"])

    def step(
        self, state: State, action: NDArray[np.int64], reward: NDArray[np.float64], terminated: NDArray[np.bool_]
    ) -> None:
        """Player, imps, fireballs, a new imp; as many times as there are tics in a step."""
        _step(
            action,
            self.frame_skip,
            self.level.walls,
            state["random"].view(np.uint64),
            state["player"],
            state["time"],
            state["health"],
            state["imps"],
            state["imp_count"],
            state["balls"],
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
        """The player's eyes, imps and fireballs."""
        _cast(state["player"], state["imps"], state["imp_count"], state["balls"], cameras, billboards, counts)

    def status(self, state: State, row: int) -> str:
        """Health, and how many imps there are."""
        return f"health {max(0, state['health'][row])}   imps {state['imp_count'][row]}"


@njit(cache=True)
def _begin(rows: Any, player: Any, imp: Any, imp_count: Any) -> None:
    for row in rows:
        stand(row, -416 * FIXED, 384 * FIXED, 0, player)
        for y in (_LOWEST, _MIDDLE, _HIGHEST):
            imps.spawn(row, y, imp, imp_count)


@njit(cache=True)
def _step(
    action: Any,
    frame_skip: int,
    walls: Any,
    random: Any,
    player: Any,
    time: Any,
    health: Any,
    imp: Any,
    imp_count: Any,
    balls: Any,
    reward: Any,
    terminated: Any,
) -> None:
    for row in range(len(action)):
        reward[row], terminated[row] = 0.0, False
        for _ in range(frame_skip):
            hears = time[row] >= _DEAF_TICS and action[row] > 0
            if hears:
                side = -QUARTER if action[row] == 1 else QUARTER
                stride(row, player[row, ANGLE] + side, SIDEWAYS, player)
            time[row] += 1
            look(row, time[row], player)
            walk(row, hears, walls, player)
            imps.think(row, random, player, imp, imp_count, balls)
            health[row] -= imps.fly(row, random, walls, player, imp, imp_count, balls)
            if time[row] % _SPAWN_TICS == 0:
                imps.spawn(row, _LOWEST + below(random, row, _HIGHEST - _LOWEST + 1), imp, imp_count)
            reward[row] += 1.0
            if health[row] <= 0:
                terminated[row] = True
                break


@njit(cache=True)
def _cast(player: Any, imp: Any, imp_count: Any, balls: Any, cameras: Any, billboards: Any, counts: Any) -> None:
    for row in range(len(player)):
        face(row, player, cameras)
        count = 0
        for number in range(imp_count[row]):
            billboards[row, count, 0] = imps.IMP_X / FIXED
            billboards[row, count, 1] = imp[row, number, 0] / FIXED
            billboards[row, count, 2] = 0.0
            billboards[row, count, 3] = imps.look_of(imp[row, number, 1], imp[row, number, 4])
            count += 1
        for ball in range(imps.MOST_BALLS):
            clock = balls[row, ball, 4]
            if clock != imps.GONE and count < MOST_BILLBOARDS:
                billboards[row, count, 0] = balls[row, ball, 0] / FIXED
                billboards[row, count, 1] = balls[row, ball, 1] / FIXED
                billboards[row, count, 2] = imps.BALL_BOTTOM if clock == imps.FLYING else imps.BURST_BOTTOM
                billboards[row, count, 3] = art.FIREBALL if clock == imps.FLYING else art.BURST
                count += 1
        counts[row] = count
