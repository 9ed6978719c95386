"""MiniPacman, after the appendix of Racanière et al., "Imagination-Augmented Agents" (2017), and public ports of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from imagine_envs.tasks.mini_pacman import kernel, sprites
from imagine_envs.tasks.task import BatchedTask, State
from imagine_envs.whole_numbers import check_whole

__all__ = ["EVENTS", "MODES", "MiniPacman", "Mode"]

EVENTS = ("step", "food", "pill", "ghost", "death")
"""What ``info["events"]`` counts, in this order: the step itself, food, pills and ghosts eaten, Pacman's death."""

MAP = (
    "###################",
    "#........#........#",
    "#.##.###.#.###.##.#",
    "#.................#",
    "#.##.#.#####.#.##.#",
    "#....#...#...#....#",
    "#.##.###.#.###.##.#",
    "#.##...........##.#",
    "#.##.###.#.###.##.#",
    "#....#...#...#....#",
    "#.##.#.#####.#.##.#",
    "#.................#",
    "#.##.###.#.###.##.#",
    "#........#........#",
    "###################",
)
"""15 × 19 cells. The paper has its map in a picture only; this one is ours, as large and without dead ends."""

_POWER, _LEVEL, _CLOCK, _FOOD, _PILLS, _GHOSTS, _PLACES = range(7)
"""The columns of ``counters``."""


@dataclass(frozen=True)
class Mode:
    """What one of the five tasks is about.

    Attributes:
        weights: What each of :data:`EVENTS` is worth.
        clears: The counter that must come to 0 for the next level ("food", "pills", "ghosts"), None if none does.
        limit: Steps after which the next level comes anyway, None if never.
    """

    weights: tuple[float, float, float, float, float]
    clears: str | None
    limit: int | None


MODES: dict[str, Mode] = {
    "regular": Mode((0.0, 1.0, 2.0, 5.0, 0.0), "food", None),
    "avoid": Mode((0.1, -0.1, -5.0, -10.0, -20.0), None, 128),
    "hunt": Mode((0.0, 0.0, 1.0, 10.0, -20.0), "ghosts", 80),
    "ambush": Mode((0.0, -0.1, 0.0, 10.0, -20.0), "ghosts", 80),
    "rush": Mode((0.0, -0.1, 9.9, 0.0, 0.0), "pills", None),
}
"""The five tasks. They are one world; a model of its frames and events serves all of them."""


class MiniPacman(BatchedTask):
    """Pacman in a maze of 15 × 19 cells, with food, two pills, and more ghosts with every second level.

    Actions: 0 stay, 1 right, 2 up, 3 left, 4 down; into a wall is staying. A step goes as follows.

    1. Pacman moves and eats what he comes upon. Food lies on every floor cell (under pills too); a pill gives power
       for 20 steps, this one included.
    2. The ghosts have their turn, one after the other: one that Pacman has run into is met; any other moves by one
       cell with probability 0.5 + 0.1 · (level − 1), half of it while Pacman has power, and meets him if it arrives at
       his cell. A ghost goes on along a corridor and never turns back; at a junction it takes the way that leads
       most directly towards Pacman (away from him while he has power), and with probability 0.05 any.
    3. Whoever is met is eaten: the ghost if Pacman has power, else Pacman, which terminates the episode.
    4. When the task is accomplished (see :data:`MODES`), the next level begins with new places for all: Pacman
       anywhere, two pills on two cells, 1 + ⌊(level − 1)/2⌋ ghosts at least 5 rows or columns away from him.

    The reward is the inner product of ``info["events"]`` (float32 ``[5]``, see :data:`EVENTS`) and :attr:`weights`.
    Collected experience has the events as a column.

    Where the sources are silent or differ, this is our choice: the map; that food lies under pills; that several
    ghosts may be eaten in one step; that Pacman moves by one cell with power too (the paper's moves by two), since
    ghosts move half as often.

    Observations: "tiny" (uint8 ``[15, 19, 3]``, a pixel a cell, the frames of the paper) is the default: a model can
    predict it on a CPU, and SB3's ``MlpPolicy`` trains on it. It is too small for SB3's default ``CnnPolicy``; "rgb"
    (uint8 ``[120, 152, 3]``, sprites of 8 × 8) is not. In both a ghost's colour tells how much longer the pill lasts.

    Args:
        mode: One of :data:`MODES`.
        observation: "tiny" or "rgb".
        max_steps: Step limit.

    Raises:
        ValueError: If an argument is none of these.

    Example:
        >>> env = gym.make("Imagine/MiniPacman-Hunt-v0")
        >>> observation, reward, terminated, truncated, info = env.step(1)
        >>> info["events"] @ env.unwrapped.task.weights == reward
    """

    action_names: ClassVar[tuple[str, ...]] = ("noop", "right", "up", "left", "down")
    markov = False
    replay_columns: ClassVar[Mapping[str, tuple[tuple[int, ...], Any]]] = {"events": ((len(EVENTS),), np.float32)}

    def __init__(self, *, mode: str = "regular", observation: str = "tiny", max_steps: int | None = 3_000) -> None:
        if mode not in MODES:
            raise ValueError(f"mode={mode!r} must be one of {', '.join(map(repr, MODES))}")
        if observation not in sprites.TILES:
            raise ValueError(f"observation={observation!r} must be one of {', '.join(map(repr, sprites.TILES))}")
        check_whole("max_steps", max_steps, or_none=True)
        self.mode = mode
        self.max_steps = max_steps
        self.weights = np.array(MODES[mode].weights)
        self._clears = {None: 0, "food": _FOOD, "pills": _PILLS, "ghosts": _GHOSTS}[MODES[mode].clears]
        self._limit = MODES[mode].limit or 0
        grid = np.array([list(line) for line in MAP])
        self.height, self.width = grid.shape
        self.walls = np.asarray(grid == "#").reshape(-1)
        self._ground = np.where(self.walls[:, None], kernel.WALL_TILE, np.array(kernel.GROUND_TILES))
        self._floor = np.flatnonzero(~self.walls)
        self._neighbours = _neighbours(self.walls, self.width)
        self._tiles = sprites.TILES[observation]()
        self._side = side = self._tiles.shape[1]
        self._flat_tiles = self._tiles.reshape(kernel.TILE_COUNT, -1)
        self.observation_space = spaces.Box(0, 255, (self.height * side, self.width * side, 3), np.uint8)
        self.action_space = spaces.Discrete(5)

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """The board, who is where and looks where, the counters, the last events, and where all were a step ago."""
        return {
            "board": ((self.walls.size,), np.uint8),
            "pacman": ((2,), np.int64),
            "ghosts": ((kernel.MOST_GHOSTS,), np.int64),
            "heading": ((kernel.MOST_GHOSTS,), np.int64),
            "counters": ((7,), np.int64),
            "trail": ((1 + kernel.MOST_GHOSTS,), np.int64),
            "events": ((len(EVENTS),), np.float32),
        }

    def reset(self, state: State, rows: NDArray[np.int64], options: Mapping[str, Any]) -> None:
        """Level 1."""
        kernel.reset(
            rows,
            state["random"].view(np.uint64),
            self._floor,
            self.width,
            state["board"],
            state["pacman"],
            state["ghosts"],
            state["heading"],
            state["counters"],
            state["trail"],
        )

    def step(
        self, state: State, action: NDArray[np.int64], reward: NDArray[np.float64], terminated: NDArray[np.bool_]
    ) -> None:
        """Pacman moves, then the ghosts."""
        kernel.step(
            action,
            state["random"].view(np.uint64),
            self._floor,
            self._neighbours,
            self.width,
            self.weights,
            self._clears,
            self._limit,
            state["board"],
            state["pacman"],
            state["ghosts"],
            state["heading"],
            state["counters"],
            state["trail"],
            state["events"],
            reward,
            terminated,
        )

    def observe(self, state: State, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """The whole frame."""
        kernel.draw(
            rows,
            self._flat_tiles,
            self._side,
            self._ground,
            self.width,
            state["board"],
            state["pacman"],
            state["ghosts"],
            state["counters"],
            out.reshape(len(out), -1),
        )

    def refresh(self, state: State, out: NDArray[Any]) -> None:
        """The cells where somebody was or is."""
        kernel.redraw(
            self._flat_tiles,
            self._side,
            self._ground,
            self.width,
            state["board"],
            state["pacman"],
            state["ghosts"],
            state["counters"],
            state["trail"],
            out.reshape(len(out), -1),
        )

    def info(self, state: State) -> dict[str, NDArray[Any]]:
        """``events`` (float32 ``[5]``) of the step and the ``level``."""
        return {"events": state["events"], "level": state["counters"][:, _LEVEL]}

    def reset_info(self, state: State, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """No events yet, and the level."""
        return {
            "events": np.zeros((len(rows), len(EVENTS)), np.float32),
            "level": state["counters"][rows, _LEVEL],
        }

    def render(self, state: State, row: int, size: int) -> NDArray[np.uint8]:
        """The maze and everybody in it."""
        ghosts = [
            (int(cell), int(heading))
            for cell, heading in zip(state["ghosts"][row], state["heading"][row], strict=True)
            if cell >= 0
        ]
        return sprites.draw_scene(
            self.walls.reshape(self.height, self.width),
            state["board"][row].reshape(self.height, self.width),
            (int(state["pacman"][row, 0]), int(state["pacman"][row, 1])),
            ghosts,
            int(state["counters"][row, _POWER]),
            size,
        )

    def status(self, state: State, row: int) -> str:
        """Level, what is left of food and pills, and how long the power lasts."""
        counters = state["counters"][row]
        power = f"   power {counters[_POWER]}" if counters[_POWER] else ""
        return f"level {counters[_LEVEL]}   food {counters[_FOOD]}   pills {counters[_PILLS]}{power}"

    def recall(self, state: State, observation: NDArray[Any]) -> None:
        """Food, pills and everybody where they are seen; levels, clocks and headings stay.

        What is under a ghost stays as it was; so does Pacman's place if a ghost covers him. Ghosts that stand on one
        cell are seen as one.
        """
        codes = sprites.codes_of(observation, self._tiles).reshape(len(observation), -1)
        board, ghosts, counters = state["board"], state["ghosts"], state["counters"]
        for code, bits in ((0, 0), (2, kernel.FOOD), (3, kernel.FOOD | kernel.PILL)):
            board[codes == code] = bits
        pacman = codes == kernel.PACMAN_TILE
        state["pacman"][:, 0] = np.where(pacman.any(1), pacman.argmax(1), state["pacman"][:, 0])
        seen, expected = codes >= kernel.GHOST_TILE, np.zeros_like(pacman)
        for places in ghosts.T:
            expected[places >= 0, places[places >= 0]] = True
        for row in np.flatnonzero((seen != expected).any(1)):
            cells = np.flatnonzero(seen[row])[: kernel.MOST_GHOSTS]
            ghosts[row] = -1
            ghosts[row, : len(cells)] = cells
            counters[row, _PLACES] = len(cells)
        power = codes.max(1) - kernel.GHOST_TILE  # ghosts have the highest codes, and all of a row the same
        counters[:, _POWER] = np.where(power >= 0, power, counters[:, _POWER])
        counters[:, _FOOD] = (board & kernel.FOOD != 0).sum(1)
        counters[:, _PILLS] = (board & kernel.PILL != 0).sum(1)
        counters[:, _GHOSTS] = (ghosts >= 0).sum(1)
        state["trail"][:, 0] = -1


def _neighbours(walls: NDArray[np.bool_], columns: int) -> NDArray[np.int64]:
    """The cell to the right, above, to the left and below of each cell, or itself where a wall is, ``[cells, 4]``."""
    cells = np.arange(walls.size)
    moved = np.clip(cells[:, None] + [1, -columns, -1, columns], 0, walls.size - 1)
    return np.where(walls[moved] | walls[:, None], cells[:, None], moved)
