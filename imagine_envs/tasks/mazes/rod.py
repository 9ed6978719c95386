"""A rod among obstacles: Sutton & Barto, Example 8.5, after Moore & Atkeson, "Prioritized sweeping" (1993)."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imagine_envs.tasks.drawing import Picture
from imagine_envs.tasks.mazes.table import TableTask
from imagine_envs.tasks.task import State

__all__ = ["RodManeuvering"]

_CELLS, _ANGLES = 20, 36
_LENGTH = 5.8
"""Of the rod, in cells."""

_OBSTACLES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((6.1, 0.0), (8.2, 0.0), (9.6, 8.1), (7.1, 9.4)),
    ((0.0, 12.6), (4.3, 13.6), (0.0, 15.4)),
    ((7.6, 14.1), (11.1, 12.6), (12.6, 20.0), (9.7, 20.0)),
    ((13.1, 4.1), (16.4, 2.6), (18.1, 5.6), (14.1, 7.9)),
    ((15.6, 11.4), (20.0, 10.6), (20.0, 12.4), (16.4, 13.6)),
)
"""Convex polygons as (x, y) in cells; y points downwards. In no place does the rod graze a corner exactly."""

_START, _GOAL = (2, 4, 9), (16, 17, 0)
"""(x, y) cells of the middle, and the angle in tens of degrees: 0 points right, 9 down."""

_PAPER, _LINES, _STONE, _EDGE = (247, 245, 240), (234, 231, 224), (86, 96, 115), (64, 72, 88)
_START_COLOR, _GOAL_COLOR, _ROD, _TIP = (196, 205, 219), (122, 196, 146), (66, 120, 190), (222, 108, 66)


class RodManeuvering(TableTask):
    """A rod is brought around obstacles into a given place and direction in as few steps as possible.

    The middle of the rod has 20 × 20 places, its direction 36 values, 14,400 states in all. Six actions: 0 forward and
    1 backward along the rod, 2 left and 3 right across it, by about one cell (the place is rounded to the nearest of
    the 20 × 20), 4 a turn to the left and 5 a turn to the right by 10° around the middle. A move on which the rod
    would touch an obstacle or the edge is not made. Reaching the goal earns 1 and terminates; any other step earns 0.

    Both sources show the obstacles in a figure only, so these are our own, as are the rod's length (5.8 cells), its
    start and its goal: passages narrower than the rod is long, for which it must be turned. The shortest way has 26
    steps.

    The state is ``(row * 20 + column) * 36 + angle``; ``obstacles`` are the polygons, and ``free`` (bool ``[S]``)
    says in which states the rod touches none.

    Args:
        max_steps: Step limit.
        observation: "index" of the state, or "coordinates": the place, and cosine and sine of the direction.

    Raises:
        ValueError: If an argument makes no sense.
    """

    action_names: ClassVar[tuple[str, ...]] = ("forward", "backward", "left", "right", "turn left", "turn right")

    def __init__(self, *, max_steps: int | None = 10_000, observation: str = "index") -> None:
        self.obstacles = _OBSTACLES
        successors, self.free = _tables()
        goal = np.zeros(len(successors), bool)
        goal[_index(*_GOAL)] = True
        x, y, angle = _poses()
        turn = angle * (2 * np.pi / _ANGLES)
        super().__init__(
            successors[None, :, :, None],
            goal[successors][None, :, :, None].astype(np.float64),
            goal,
            start=_index(*_START),
            observation=observation,
            coordinates=np.stack((2 * x / _CELLS - 1, 2 * y / _CELLS - 1, np.cos(turn), np.sin(turn)), 1),
            max_steps=max_steps,
        )

    @property
    def keys(self) -> dict[str, int]:
        """The arrow keys move, A and D turn."""
        return {"up": 0, "down": 1, "left": 2, "right": 3, "a": 4, "d": 5}

    def render(self, state: State, row: int, size: int) -> NDArray[np.uint8]:
        """The work space from above: obstacles, where the rod began, where it should be, and where it is."""
        picture = Picture(_CELLS, _CELLS, size=size, background=_PAPER)
        for line in range(1, _CELLS):
            picture.line((line, 0), (line, _CELLS), 0.03, _LINES)
            picture.line((0, line), (_CELLS, line), 0.03, _LINES)
        for corners in _OBSTACLES:
            picture.polygon(corners, _STONE)
            for start, end in zip(corners, (*corners[1:], corners[0]), strict=True):
                picture.line(start, end, 0.12, _EDGE)
        for index, color, tip in (
            (_index(*_START), _START_COLOR, _START_COLOR),
            (_index(*_GOAL), _GOAL_COLOR, _GOAL_COLOR),
            (int(state["state"][row]), _ROD, _TIP),
        ):
            tail, head = (tuple(end[index].tolist()) for end in _ends(*_poses()))
            picture.line(tail, head, 0.36, color)
            picture.circle(head[0], head[1], 0.3, tip)
        return picture.array()


def _index(x: int, y: int, angle: int) -> int:
    return (y * _CELLS + x) * _ANGLES + angle


@functools.cache
def _poses() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Middle (x, y) in cells and direction in steps of 10° of every state, float64 ``[S]`` each."""
    y, x, angle = np.unravel_index(np.arange(_CELLS * _CELLS * _ANGLES), (_CELLS, _CELLS, _ANGLES))
    return np.asarray(x + 0.5), np.asarray(y + 0.5), angle.astype(np.float64)


@functools.cache
def _tables() -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each action leads, int64 ``[S, 6]``, and which poses touch nothing, bool ``[S]``."""
    x, y, angle = _poses()
    free = _is_free(x, y, angle)
    successors = np.empty((len(x), 6), np.int64)
    turn = angle * (2 * np.pi / _ANGLES)
    ahead = np.stack((_rounded(np.cos(turn)), _rounded(np.sin(turn))))
    aside = np.stack((_rounded(np.sin(turn)), -_rounded(np.cos(turn))))  # the rod's own left, where y points downwards
    still = np.zeros_like(ahead)
    moves = ((ahead, 0), (-ahead, 0), (aside, 0), (-aside, 0), (still, -1), (still, 1))
    for action, ((along_x, along_y), rotation) in enumerate(moves):
        new_x, new_y = x + along_x, y + along_y
        inside = (new_x > 0) & (new_x < _CELLS) & (new_y > 0) & (new_y < _CELLS)
        column, line = (np.where(inside, value, 0.0).astype(np.int64) for value in (new_x, new_y))
        index = (line * _CELLS + column) * _ANGLES + (angle.astype(np.int64) + rotation) % _ANGLES
        # Halfway it must be free as well: no obstacle is jumped over.
        halfway = _is_free(x + along_x / 2, y + along_y / 2, angle + rotation / 2)
        possible = inside & free[index] & halfway
        successors[:, action] = np.where(possible, index, np.arange(len(x)))
    return successors, free


def _rounded(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """To the nearest whole number, halves (of 60°) away from zero, so that every move has one that undoes it."""
    return np.sign(value) * np.floor(np.abs(value) + 0.5 + 1e-9)


def _ends(
    x: NDArray[np.float64], y: NDArray[np.float64], angle: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tail and head of the rod, ``[N, 2]`` each."""
    turn = angle * (2 * np.pi / _ANGLES)
    half = _LENGTH / 2 * np.stack((np.cos(turn), np.sin(turn)), 1)
    middle = np.stack((x, y), 1)
    return middle - half, middle + half


def _is_free(x: NDArray[np.float64], y: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the rod lies within the work space and touches no obstacle, bool ``[N]``."""
    tail, head = _ends(x, y, angle)
    free = np.all((np.minimum(tail, head) >= 0) & (np.maximum(tail, head) <= _CELLS), axis=1)
    for corners in _OBSTACLES:
        polygon = np.array(corners)
        inside = np.zeros(len(x), bool)
        for start, end in zip(polygon, np.roll(polygon, -1, 0), strict=True):
            # The rod crosses the edge if each has the other's ends on different sides.
            free &= (_side(start, end, tail) * _side(start, end, head) > 0) | (
                _side(tail, head, start) * _side(tail, head, end) > 0
            )
            above = (start[1] > tail[:, 1]) != (end[1] > tail[:, 1])
            rise = end[1] - start[1]
            crossing = start[0] + (tail[:, 1] - start[1]) * (end[0] - start[0]) / (rise if rise else 1.0)
            inside ^= above & (tail[:, 0] < crossing)
        free &= ~inside
    return free


def _side(start: Any, end: Any, point: Any) -> Any:
    """On which side of a line a point lies: the sign of a cross product."""
    along, to = end - start, point - start
    return along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0]
