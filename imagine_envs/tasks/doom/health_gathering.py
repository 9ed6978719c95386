"""Health Gathering: acid on the floor, and medkits."""

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
from imagine_envs.tasks.doom.scenario import HEALTH_GATHERING, Scenario
from imagine_envs.tasks.doom.task import MortalDoomTask
from imagine_envs.tasks.randomness import below
from imagine_envs.tasks.task import State

__all__ = ["HealthGathering"]

MOST_KITS = 96
"""More than there can be in 2,100 tics."""

_SIDE = 1_216
_KITS, _KIT_TICS, _KIT_RADIUS, _KIT_HEALTH = 17, 30, 20, 25
_ACID_TICS, _ACID = 32, 8
_HEALTH = 100


class HealthGathering(MortalDoomTask):
    """Health Gathering: the floor burns; medkits keep you alive.

    The player stands in the middle of a square of 1,216 units. The acid takes 8 of his 100 points of health when the
    episode begins and every 32 tics. Seventeen medkits lie around, and another one appears every 30 tics; walking over
    one gives 25 points, if he has not all of them.

    Actions: 0 nothing, 1 forward, 2 turn right, 3 turn left. The reward is 1 in each tic and −100 for death, which
    terminates; after 2,100 tics the episode is truncated. ``info["health"]`` is the player's health.

    Rules and numbers are those of ViZDoom's scenario (id ``VizdoomHealthGathering-v1``, ``backend="vizdoom"`` here).

    Args:
        size: Rows and columns of an observation (uint8 ``[H, W, 3]``), or one number for both.
        frame_skip: Tics (1/35 s) that a step takes; its action is held, and its rewards are added up.
        max_steps: Step limit; "cap" is 2,100 tics.
        threads: Of the drawing, in large batches; None takes what ``OMP_NUM_THREADS`` says, or all cores.

    Raises:
        ValueError: If an argument makes no sense.

    Example:
        >>> env = gym.make("Imagine/DoomHealthGathering-v0", frame_skip=4)
        >>> observation, info = env.reset(seed=0)
        >>> info
        {'health': 92}
    """

    scenario: ClassVar[Scenario] = HEALTH_GATHERING
    action_names: ClassVar[tuple[str, ...]] = HEALTH_GATHERING.actions
    backends: ClassVar[Mapping[str, tuple[str, str]]] = {
        "vizdoom": ("doom", "imagine_envs.tasks.doom.engine:HealthGatheringEngine")
    }
    level: ClassVar[Level] = rooms(
        [(0, 0, _SIDE, _SIDE, art.MOSS)], height=104, light=210, floor=art.SLIME, ceiling=art.NIGHT
    )

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """The player, his health, and where medkits lie."""
        return {
            **super().arrays(),
            "kits": ((MOST_KITS, 2), np.int64),
            "kit_count": ((), np.int64),
        }

    def reset(self, state: State, rows: NDArray[np.int64], options: Mapping[str, Any]) -> None:
        """Seventeen medkits, and the first burn."""
        _begin(
            rows,
            state["random"].view(np.uint64),
            state["player"],
            state["time"],
            state["health"],
            state["kits"],
            state["kit_count"],
        )

    def step(
        self, state: State, action: NDArray[np.int64], reward: NDArray[np.float64], terminated: NDArray[np.bool_]
    ) -> None:
        """Player, acid, medkits; as many times as there are tics in a step."""
        _step(
            action,
            self.frame_skip,
            self.level.walls,
            state["random"].view(np.uint64),
            state["player"],
            state["time"],
            state["health"],
            state["kits"],
            state["kit_count"],
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
        """The player's eyes and the medkits."""
        _cast(state["player"], state["kits"], state["kit_count"], cameras, billboards, counts)

    def status(self, state: State, row: int) -> str:
        """Health."""
        return f"health {max(0, state['health'][row])}"


@njit(cache=True)
def _begin(rows: Any, random: Any, player: Any, time: Any, health: Any, kits: Any, kit_count: Any) -> None:
    for row in rows:
        stand(row, _SIDE // 2 * FIXED, _SIDE // 2 * FIXED, 0, player)
        time[row] = 0
        health[row] = _HEALTH - _ACID
        kits[row] = 0
        kit_count[row] = 0
        for _ in range(_KITS):
            _drop(row, random, kits, kit_count)


@njit(cache=True)
def _drop(row: int, random: Any, kits: Any, kit_count: Any) -> None:
    """Another medkit, wherever it has room."""
    if kit_count[row] < MOST_KITS:
        for axis in range(2):
            kits[row, kit_count[row], axis] = _KIT_RADIUS * FIXED + below(
                random, row, (_SIDE - 2 * _KIT_RADIUS) * FIXED + 1
            )
        kit_count[row] += 1


@njit(cache=True)
def _step(
    action: Any,
    frame_skip: int,
    walls: Any,
    random: Any,
    player: Any,
    time: Any,
    health: Any,
    kits: Any,
    kit_count: Any,
    reward: Any,
    terminated: Any,
) -> None:
    for row in range(len(action)):
        reward[row], terminated[row] = 0.0, False
        for _ in range(frame_skip):
            turn(row, 2 * action[row] - 5 if action[row] >= 2 else 0, player)
            if action[row] == 1:
                stride(row, player[row, ANGLE], FORWARD, player)
            time[row] += 1
            look(row, time[row], player)
            if time[row] % _ACID_TICS == 0:
                health[row] -= _ACID
            reward[row] += 1.0
            if health[row] <= 0:
                reward[row] -= 100.0
                terminated[row] = True
                break
            moves = player[row, SPEED_X] != 0 or player[row, SPEED_Y] != 0
            walk(row, action[row] == 1, walls, player)
            kit = 0
            while moves and kit < kit_count[row]:
                if health[row] < _HEALTH and touches(row, kits[row, kit, 0], kits[row, kit, 1], player):
                    health[row] = min(_HEALTH, health[row] + _KIT_HEALTH)
                    kit_count[row] -= 1
                    kits[row, kit] = kits[row, kit_count[row]]
                else:
                    kit += 1
            if time[row] % _KIT_TICS == 0:
                _drop(row, random, kits, kit_count)


@njit(cache=True)
def _cast(player: Any, kits: Any, kit_count: Any, cameras: Any, billboards: Any, counts: Any) -> None:
    for row in range(len(player)):
        face(row, player, cameras)
        counts[row] = kit_count[row]
        for kit in range(kit_count[row]):
            billboards[row, kit, 0], billboards[row, kit, 1] = kits[row, kit, 0] / FIXED, kits[row, kit, 1] / FIXED
            billboards[row, kit, 2], billboards[row, kit, 3] = 0.0, art.MEDKIT
