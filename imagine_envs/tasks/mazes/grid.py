"""The mazes of Sutton & Barto, "Reinforcement Learning: An Introduction" (2nd edition), chapter 8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imagine_envs.tasks.drawing import Picture
from imagine_envs.tasks.mazes.table import TableTask
from imagine_envs.tasks.task import State
from imagine_envs.whole_numbers import check_whole

__all__ = ["BlockingMaze", "DynaMaze", "GridMaze", "ScaledMaze", "ShortcutMaze"]

_MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))

_FLOOR, _LINES, _WALL, _WALL_TOP = (247, 245, 240), (232, 229, 222), (64, 72, 88), (86, 96, 115)
_START, _GOAL, _GOAL_EDGE, _AGENT, _EYES = (
    (196, 205, 219),
    (92, 176, 118),
    (58, 132, 84),
    (66, 120, 190),
    (250, 250, 252),
)


class GridMaze(TableTask):
    """A maze of cells: 0 up, 1 down, 2 left, 3 right; a step into a wall or over the edge stays; +1 at the goal.

    The state is ``row * width + column``; walls have numbers too, which are never seen.

    Args:
        layouts: The maze as strings, one for each row: ``#`` wall, ``S`` start (one), ``G`` goal (one or more), ``.``
            floor. Several mazes follow one another, alike in all but their walls.
        switches: When each next layout takes over, see :class:`TableTask`.
        max_steps: Step limit. The book has none; 10,000 hardly touches a random walk, and ends the evaluation of a
            policy that stands before a wall.
        observation: "index" or "coordinates".

    Raises:
        ValueError: If a layout is no maze, or an argument makes no sense.

    Example:
        >>> maze = GridMaze([["S.#", "..G"]])
        >>> env = TaskEnv(maze)
    """

    action_names: ClassVar[tuple[str, ...]] = ("up", "down", "left", "right")

    def __init__(
        self,
        layouts: Sequence[Sequence[str]],
        *,
        switches: tuple[int, ...] = (),
        max_steps: int | None = 10_000,
        observation: str = "index",
    ) -> None:
        grids = [_parsed(layout) for layout in layouts]
        self.walls = np.array([grid == "#" for grid in grids])
        self.goals = grids[0] == "G"
        self.height, self.width = grids[0].shape
        if len(grids) != len(switches) + 1:
            raise ValueError(
                f"{len(grids)} layouts came with {len(switches)} switches; one between each two was expected"
            )
        for grid in grids[1:]:
            if grid.shape != grids[0].shape or any(((grid == sign) != (grids[0] == sign)).any() for sign in "SG"):
                raise ValueError("layouts must be of one size, with start and goals in the same places")
        place = np.stack(np.unravel_index(np.arange(self.goals.size), self.goals.shape), 1)
        successors = np.array([_successors(walls, place) for walls in self.walls])
        super().__init__(
            successors[..., None],
            self.goals.reshape(-1)[successors][..., None].astype(np.float64),
            self.goals.reshape(-1),
            start=int(np.flatnonzero(grids[0] == "S")[0]),
            observation=observation,
            coordinates=2 * place / np.maximum([self.height - 1, self.width - 1], 1) - 1,
            switches=switches,
            max_steps=max_steps,
        )

    def render(self, state: State, row: int, size: int) -> NDArray[np.uint8]:
        """The maze from above: start and goal, walls and the one who walks."""
        picture = Picture(self.height, self.width, size=size, background=_FLOOR)
        if picture.cell >= 12:
            for y in range(1, self.height):
                picture.line((0, y), (self.width, y), 0.02, _LINES)
            for x in range(1, self.width):
                picture.line((x, 0), (x, self.height), 0.02, _LINES)
        walls = self.walls[self.variant(state, row)]
        start_y, start_x = divmod(self.start, self.width)
        picture.rectangle(start_x + 0.1, start_y + 0.1, 0.8, 0.8, _START, 0.15)
        for y, x in np.argwhere(self.goals):
            picture.rectangle(x + 0.06, y + 0.06, 0.88, 0.88, _GOAL_EDGE, 0.15)
            picture.rectangle(x + 0.12, y + 0.12, 0.76, 0.76, _GOAL, 0.12)
        for y, x in np.argwhere(walls):
            picture.rectangle(x, y, 1, 1, _WALL)
            picture.rectangle(x + 0.04, y + 0.04, 0.92, 0.8, _WALL_TOP, 0.08)
        y, x = divmod(int(state["state"][row]), self.width)
        _draw_walker(picture, x, y)
        return picture.array()

    def status(self, state: State, row: int) -> str:
        """Where the walls stand now, if they move."""
        if not len(self.switches):
            return ""
        life, variant = int(state["life"][row]), self.variant(state, row)
        coming = f", walls move at {self.switches[variant]:,}" if variant < len(self.switches) else ", walls have moved"
        return f"step {life:,} of this life{coming}"


class DynaMaze(GridMaze):
    """The Dyna maze of Figure 8.2: 47 cells, and 14 steps from the start to the goal.

    Args:
        **options: ``max_steps`` and ``observation`` of :class:`GridMaze`.
    """

    LAYOUT: ClassVar[tuple[str, ...]] = (
        ".......#G",
        "..#....#.",
        "S.#....#.",
        "..#......",
        ".....#...",
        ".........",
    )

    def __init__(self, **options: Any) -> None:
        super().__init__([self.LAYOUT], **options)


class BlockingMaze(GridMaze):
    """The blocking maze of Figure 8.4: after 1,000 steps the way of 10 steps is closed, and one of 16 opened.

    The wall moves once in the whole life of an environment, whatever episode it is in; ``reset(seed=…)`` begins a new
    life.

    Args:
        switch: The step from which on the wall stands elsewhere.
        **options: ``max_steps`` and ``observation`` of :class:`GridMaze`.
    """

    def __init__(self, *, switch: int = 1_000, **options: Any) -> None:
        super().__init__([_barrier("########."), _barrier(".########")], switches=(_switch(switch),), **options)


class ShortcutMaze(GridMaze):
    """The shortcut maze of Figure 8.5: after 3,000 steps a way of 10 steps opens beside that of 16.

    The wall moves once in the whole life of an environment, whatever episode it is in; ``reset(seed=…)`` begins a new
    life.

    Args:
        switch: The step from which on the wall has the second hole.
        **options: ``max_steps`` and ``observation`` of :class:`GridMaze`.
    """

    def __init__(self, *, switch: int = 3_000, **options: Any) -> None:
        super().__init__([_barrier(".########"), _barrier(".#######.")], switches=(_switch(switch),), **options)


class ScaledMaze(GridMaze):
    """The Dyna maze in finer grids (Example 8.4, prioritised sweeping).

    The book gives the numbers of states only, 47 to 6,016, each twice the one before, and says that the mazes have the
    structure of the Dyna maze. Here every cell of the Dyna maze is divided, into 1×1, 1×2, 2×2, 2×4, … 8×16 smaller
    ones (rows × columns), which doubles 47 each time; where the book prints 186, that makes 188. Walls and goal are
    divided like all cells, so any part of the goal's cell is the goal; the start is the upper left part of its cell.

    Args:
        size: Number of cells that are no walls: 47, 94, 188 (or 186), 376, 752, 1504, 3008, 6016.
        max_steps: Step limit; None stands for 10,000 for each part that a cell has.
        observation: "index" or "coordinates".

    Raises:
        ValueError: If there is no maze of that size.
    """

    SIZES: ClassVar[dict[int, tuple[int, int]]] = {
        47 * rows * columns: (rows, columns)
        for rows, columns in ((1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16))
    }
    """Number of cells → parts of each cell of the Dyna maze, (rows, columns)."""

    def __init__(self, *, size: int = 188, max_steps: int | None = None, observation: str = "index") -> None:
        parts = self.SIZES.get(188 if size == 186 else size)
        if parts is None:
            raise ValueError(
                f"size={size!r} must be one of {', '.join(map(str, self.SIZES))} (or 186, as the book has)"
            )
        rows, columns = parts
        grid = _parsed(DynaMaze.LAYOUT).repeat(rows, 0).repeat(columns, 1)
        starts = np.argwhere(grid == "S")
        grid[grid == "S"] = "."
        grid[tuple(starts[0])] = "S"
        super().__init__(
            [["".join(line) for line in grid]], max_steps=max_steps or 10_000 * rows * columns, observation=observation
        )


def _barrier(row: str) -> tuple[str, ...]:
    """The maze of Figures 8.4 and 8.5 with a wall across it."""
    return ("........G", ".........", ".........", row, ".........", "...S.....")


def _switch(step: int) -> int:
    check_whole("switch", step, 0)
    return step


def _parsed(layout: Sequence[str]) -> NDArray[np.str_]:
    """A layout as characters ``[H, W]``.

    Raises:
        ValueError: If it is ragged, has other symbols, not one start or no goal.
    """
    if not layout or len({len(line) for line in layout}) != 1 or not layout[0]:
        raise ValueError(f"the rows of a maze must be equally long, and there must be one; got {list(layout)!r}")
    grid = np.array([list(line) for line in layout])
    strange = sorted(set(grid.reshape(-1).tolist()) - set("#.SG"))
    if strange:
        raise ValueError(f"a maze is made of '#', '.', 'S' and 'G'; got {', '.join(map(repr, strange))}")
    if (grid == "S").sum() != 1 or not (grid == "G").any():
        raise ValueError("a maze must have one start 'S' and at least one goal 'G'")
    return grid


def _successors(walls: NDArray[np.bool_], place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each move leads from each cell, ``[S, 4]``; a cell on which a wall has come down can be left."""
    height, width = walls.shape
    target = place[:, None] + np.array(_MOVES)
    inside = ((target >= 0) & (target < [height, width])).all(-1)
    index = np.where(inside, target[..., 0] * width + target[..., 1], 0)
    blocked = ~inside | walls.reshape(-1)[index]
    return np.where(blocked, np.arange(len(place))[:, None], index)


def _draw_walker(picture: Picture, x: float, y: float) -> None:
    """In small cells larger than the cell: four pixels around the middle are needed to be seen."""
    scale = max(1.0, 4 / (0.34 * picture.cell))
    x, y = x + 0.5, y + 0.5
    picture.circle(x, y, 0.34 * scale, _AGENT)
    for side in (-0.12, 0.12):
        picture.circle(x + side * scale, y - 0.06 * scale, 0.075 * scale, _EYES)
