"""What both backends of a Doom task share: spaces, buttons, caps and rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from imagine_envs.whole_numbers import check_whole, is_whole

__all__ = ["BASIC", "HEALTH_GATHERING", "MY_WAY_HOME", "TAKE_COVER", "TICS_PER_SECOND", "Scenario", "Settings"]

TICS_PER_SECOND = 35


@dataclass(frozen=True)
class Scenario:
    """One scenario of ViZDoom.

    Attributes:
        name: Of its files.
        actions: What each action is called. Action a > 0 holds the a-th of the scenario's buttons, counted from the
            last, as in ViZDoom's own Gymnasium environments; action 0 holds none.
        keys: Key of the keyboard → action.
        living_reward: For each tic.
        death_penalty: Taken off the reward of the step in which the player dies.
        cap: Tics after which an episode is truncated.
        variable: What of the player is told in infos, None if nothing is.
    """

    name: str
    actions: tuple[str, ...]
    keys: dict[str, int]
    living_reward: float
    death_penalty: float
    cap: int
    variable: str | None


TAKE_COVER = Scenario(
    name="take_cover",
    actions=("noop", "right", "left"),
    keys={"space": 0, "right": 1, "left": 2},
    living_reward=1.0,
    death_penalty=0.0,
    cap=2_100,
    variable="health",
)
BASIC = Scenario(
    name="basic",
    actions=("noop", "attack", "right", "left"),
    keys={"space": 1, "right": 2, "left": 3},
    living_reward=-1.0,
    death_penalty=0.0,
    cap=300,
    variable="ammo",
)
HEALTH_GATHERING = Scenario(
    name="health_gathering",
    actions=("noop", "forward", "turn right", "turn left"),
    keys={"up": 1, "right": 2, "left": 3},
    living_reward=1.0,
    death_penalty=100.0,
    cap=2_100,
    variable="health",
)
MY_WAY_HOME = Scenario(
    name="my_way_home",
    actions=("noop", "right", "left", "forward", "turn right", "turn left"),
    keys={"d": 1, "a": 2, "up": 3, "right": 4, "left": 5},
    living_reward=-0.0001,
    death_penalty=0.0,
    cap=2_100,
    variable=None,
)


@dataclass(frozen=True)
class Settings:
    """The keyword arguments that every Doom task takes.

    Attributes:
        size: Rows and columns of an observation.
        frame_skip: Tics that a step takes.
        max_steps: Step limit, None without.
    """

    size: tuple[int, int]
    frame_skip: int
    max_steps: int | None

    @classmethod
    def of(cls, scenario: Scenario, size: Any, frame_skip: Any, max_steps: Any) -> Settings:
        """The settings, checked.

        Raises:
            ValueError: If an argument makes no sense.
        """
        sides = size if isinstance(size, (tuple, list)) else (size, size)
        if len(sides) != 2 or not all(is_whole(side) and 8 <= side <= 1_024 for side in sides):
            raise ValueError(f"size={size!r} must be a whole number from 8 to 1024, or two of them (rows, columns)")
        check_whole("frame_skip", frame_skip)
        if max_steps == "cap":
            max_steps = -(-scenario.cap // frame_skip)
        if max_steps is not None and (not is_whole(max_steps) or max_steps < 1):
            raise ValueError(f"max_steps={max_steps!r} must be a whole number of at least 1, None, or 'cap'")
        return cls((int(sides[0]), int(sides[1])), int(frame_skip), max_steps)

    @property
    def observation_space(self) -> spaces.Box:
        """uint8 ``[H, W, 3]``."""
        return spaces.Box(0, 255, (*self.size, 3), np.uint8)
