"""What the native Doom tasks have in common: a player in a level, seen through his eyes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from imagine_envs.tasks.doom import art, player, raycaster
from imagine_envs.tasks.doom.level import Level
from imagine_envs.tasks.doom.scenario import TICS_PER_SECOND, Scenario, Settings
from imagine_envs.tasks.task import BatchedTask, State
from imagine_envs.tasks.threads import each_part, thread_count

__all__ = ["DoomTask", "MortalDoomTask"]

_ROWS_WORTH_A_THREAD = 8


class DoomTask(BatchedTask):
    """A scenario of ViZDoom, played natively.

    Args:
        size: Rows and columns of an observation, or one number for both.
        frame_skip: Tics (1/35 s) that a step takes; its action is held, and its rewards are added up.
        max_steps: Step limit; "cap" is the scenario's own, in steps.
        threads: Of the drawing, in large batches; None takes what ``OMP_NUM_THREADS`` says, or all cores.

    Raises:
        ValueError: If an argument makes no sense.

    Attributes:
        scenario: Which.
        level: Where.
    """

    markov = False
    scenario: ClassVar[Scenario]
    level: ClassVar[Level]

    def __init__(
        self,
        *,
        size: int | tuple[int, int] = 64,
        frame_skip: int = 1,
        max_steps: int | str | None = "cap",
        threads: int | None = None,
    ) -> None:
        settings = Settings.of(self.scenario, size, frame_skip, max_steps)
        self.frame_skip = settings.frame_skip
        self.max_steps = settings.max_steps
        self.threads = thread_count(threads)
        self.observation_space = settings.observation_space
        self.action_space = spaces.Discrete(len(self.scenario.actions))
        self.frames_per_second = max(1, round(TICS_PER_SECOND / self.frame_skip))

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """The player (see :mod:`~imagine_envs.tasks.doom.player`) and the tics since his level began."""
        return {"player": ((player.COLUMNS,), np.int64), "time": ((), np.int64)}

    @abstractmethod
    def cast(
        self,
        state: State,
        cameras: NDArray[np.float64],
        billboards: NDArray[np.float64],
        counts: NDArray[np.int64],
        weapons: NDArray[np.int64],
    ) -> None:
        """Writes what :func:`raycaster.draw` is to draw of each row."""

    def observe(self, state: State, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Draws what the player sees."""
        scene = self._scene(state)
        each_part(lambda part: self._draw(part, scene, out), rows, self.threads, _ROWS_WORTH_A_THREAD)

    def render(self, state: State, row: int, size: int) -> NDArray[np.uint8]:
        """What the player sees, 4:3."""
        one = {name: array[row : row + 1] for name, array in state.items()}
        wide = max(4, size)
        out = np.zeros((1, 3 * wide // 4, wide, 3), np.uint8)
        self._draw(np.arange(1), self._scene(one), out)
        return out[0]

    @property
    def keys(self) -> dict[str, int]:
        """Those of the scenario."""
        return self.scenario.keys

    def _scene(self, state: State) -> tuple[NDArray[Any], ...]:
        size = len(state["time"])
        scene = (
            np.empty((size, 4)),
            np.empty((size, raycaster.MOST_BILLBOARDS, 4)),
            np.zeros(size, np.int64),
            np.full(size, -1, np.int64),
        )
        self.cast(state, *scene)
        return scene

    def _draw(self, rows: NDArray[np.int64], scene: tuple[NDArray[Any], ...], out: NDArray[Any]) -> None:
        cameras, billboards, counts, weapons = scene
        level = self.level
        raycaster.draw(
            rows,
            cameras,
            level.xs,
            level.ys,
            level.cells,
            level.height,
            level.light,
            level.floor,
            level.ceiling,
            art.textures(),
            billboards,
            counts,
            art.sprites(),
            art.sprite_looks(),
            weapons,
            out,
        )


class MortalDoomTask(DoomTask):
    """A scenario whose player can die: the state has his "health", int64 ``[B]``, and infos tell it, never below 0."""

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """The player, and his health."""
        return {**super().arrays(), "health": ((), np.int64)}

    def info(self, state: State) -> dict[str, NDArray[Any]]:
        """``health``."""
        return {"health": np.maximum(state["health"], 0)}

    def reset_info(self, state: State, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """``health``."""
        return {"health": state["health"][rows]}
