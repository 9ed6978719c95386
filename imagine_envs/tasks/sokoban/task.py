"""Sokoban as a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numba import njit
from numpy.typing import NDArray

from imagine_envs.tasks.randomness import below
from imagine_envs.tasks.sokoban.generator import Generator
from imagine_envs.tasks.sokoban.kernel import ACTION_SETS, observe, place, refresh, step
from imagine_envs.tasks.sokoban.levels import BOX, PLAYER, SYMBOLS, TARGET, Level, read_levels
from imagine_envs.tasks.sokoban.looks import looks, sprites
from imagine_envs.tasks.sokoban.pool import LevelPool, shipped_pool
from imagine_envs.tasks.task import BatchedTask, State
from imagine_envs.whole_numbers import check_whole

__all__ = ["Sokoban"]

_FRESH_SEED = 1
"""Of the levels of ``levels="generate"``; the pools are of seed 0, so that fresh levels are none of theirs."""

_FRESH_LEVELS = 2**31 - 1
_UNKNOWN = -1

_KEYS = {
    "noop": "space",
    **{way: way for way in ("up", "down", "left", "right")},
    **{f"push {way}": way for way in ("up", "down", "left", "right")},
    **dict(zip((f"move {way}" for way in ("up", "left", "down", "right")), "wasd", strict=True)),
    **dict(zip((f"pull {way}" for way in ("up", "left", "down", "right")), "ijkl", strict=True)),
}


class Sokoban(BatchedTask):
    """Push every box onto a target (Weber et al. 2017, "Imagination-Augmented Agents for Deep Reinforcement Learning").

    Actions: 0 noop, 1 up, 2 down, 3 left, 4 right. Walking into a box pushes it if the cell behind it is free.

    Rewards: −0.1 for every step, +1 for a box that comes onto a target, −1 for one that leaves it, +10 for the last
    one, which ends the episode. An episode of 120 steps is truncated, unless the last of them solves the level.

    Infos of a reset: ``level``, the number of the level, and, where a plan is known, ``solution_length``, the steps of
    the shortest one. ``reset(options={"level": number})`` plays a level of one's choice.

    Args:
        size: Rows and columns, walls included, one number for a square; None is 10, or what given levels have.
        boxes: Boxes in a level; None is 4, or what given levels have.
        levels: "pool" (10,000 levels that come with the package, made by seed 0: a reset costs nothing), "generate" (a
            new level in every reset, made in some 20 ms; level n is number n of seed 1 of the
            :class:`~imagine_envs.tasks.sokoban.Generator`), the path of a file or folder of levels in the format of
            Boxoban, or of a pool (``.npz``) that ``imagine levels`` made, or a list of levels: strings or
            :class:`~imagine_envs.tasks.sokoban.Level`.
        observation: "planes" (``[H, W, 4]``: wall, target, box, player, each 0 or 255), "tiny" (``[H, W, 3]``: one
            pixel a cell) or "rgb" (``[8·H, 8·W, 3]``: sprites); all uint8. Planes are the default because they need no
            learning of colours and are small: on a CPU an MLP or a few size-preserving convolutions read them at once.
            They are images to SB3 (which scales them to 0 … 1), but too small for its ``NatureCNN``, which takes "rgb".
        max_steps: The step limit, None for none.
        actions: 5; 9 (noop, 4 pushes, 4 moves that do not push) or 13 (and 4 pulls), as in gym-sokoban.

    Raises:
        ValueError: If an argument makes no sense, or levels are not of the size that was asked for.
        LevelError: If a given level cannot be played.

    Example:
        >>> env = gym.make("Imagine/Sokoban-v0", observation="tiny", levels="boxoban-levels/medium/train")
        >>> observation, info = env.reset(seed=0, options={"level": 7})
    """

    reset_options: ClassVar[tuple[str, ...]] = ("level",)

    def __init__(
        self,
        *,
        size: int | tuple[int, int] | None = None,
        boxes: int | None = None,
        levels: str | Path | Sequence[str | Level] = "pool",
        observation: str = "planes",
        max_steps: int | None = 120,
        actions: int = 5,
    ) -> None:
        check_whole("max_steps", max_steps, or_none=True)
        if isinstance(actions, bool) or actions not in ACTION_SETS:
            raise ValueError(f"actions={actions!r} must be one of {', '.join(map(str, ACTION_SETS))}")
        self.max_steps = max_steps
        self.action_names = ACTION_SETS[actions]  # type: ignore[misc]
        self.action_space = spaces.Discrete(int(actions))
        self._looks = looks(observation)
        self._generator: Generator | None = None
        self._grids = np.zeros((0, 0), dtype=np.uint8)
        self._lengths = np.zeros(0, dtype=np.int64)
        if isinstance(levels, str) and levels in ("pool", "generate"):
            wanted = Generator(10 if size is None else size, 4 if boxes is None else boxes, _FRESH_SEED)
            self.shape = wanted.shape
            if levels == "generate":
                self._generator = wanted
            else:
                self._take(shipped_pool(self.shape, wanted.boxes))
        elif isinstance(levels, (str, Path)) and Path(levels).suffix == ".npz":
            self._take(LevelPool.load(levels))
            self._check_given(levels, [(self.shape, int(np.count_nonzero(self._grids[0] & BOX)))], size, boxes)
        else:
            given = _given(levels)
            self.shape = given[0].shape
            self._check_given(levels, [(level.shape, level.boxes) for level in given], size, boxes)
            self._grids = np.stack([level.grid.reshape(-1) for level in given])
            self._lengths = np.array([_UNKNOWN if level.plan is None else len(level.plan) for level in given])
        height, width = self.shape
        side, channels = self._looks.shape[1], self._looks.shape[3]
        self.observation_space = spaces.Box(0, 255, (height * side, width * side, channels), np.uint8)
        self._looks = self._looks.reshape(16, side, side * channels)
        self._stride = width * side * channels
        corners = np.arange(height)[:, None] * side * self._stride + np.arange(width) * side * channels
        self._corners = corners.reshape(-1)

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """Bits of the cells, the player now and before the last step, boxes off their targets, the level."""
        return {
            "cells": (self.shape, np.uint8),
            "player": ((), np.int32),
            "before": ((), np.int32),
            "missing": ((), np.int32),
            "level": ((), np.int64),
            "solution_length": ((), np.int64),
        }

    def reset(self, state: State, rows: NDArray[np.int64], options: Mapping[str, Any]) -> None:
        """Begins a level drawn at random, or the one of ``options["level"]`` (a number, or one for each row).

        Raises:
            ValueError: If there is no level of that number.
        """
        count = len(self._grids) if self._generator is None else _FRESH_LEVELS
        numbers = np.empty(len(rows), np.int64)
        _draw_numbers(state["random"].view(np.uint64), rows, count, numbers)
        if "level" in options:
            numbers[:] = _checked_numbers(options["level"], count, len(rows))
        grids, lengths, choice = self._grids, self._lengths, numbers
        if self._generator is not None:
            fresh = [self._generator.level(number) for number in numbers.tolist()]
            grids = np.stack([level.grid.reshape(-1) for level in fresh]) if fresh else grids
            lengths = np.array([len(level.plan or ()) for level in fresh], dtype=np.int64)
            choice = np.arange(len(rows))
        place(*self._boards(state), rows, grids, choice)
        state["level"][rows] = numbers
        state["solution_length"][rows] = lengths[choice]

    def step(
        self, state: State, action: NDArray[np.int64], reward: NDArray[np.float64], terminated: NDArray[np.bool_]
    ) -> None:
        """One step by the rules of :mod:`imagine_envs.tasks.sokoban.kernel`."""
        step(*self._boards(state), action, self.shape[1], reward, terminated)

    def observe(self, state: State, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Draws whole boards."""
        cells = self._boards(state)[0]
        observe(cells, rows, self._looks, self._corners, self._stride, out.reshape(len(out), -1))

    def refresh(self, state: State, out: NDArray[Any]) -> None:
        """Draws the cells that changed, three at most."""
        cells, player, before, _ = self._boards(state)
        pictures = out.reshape(len(out), -1)
        refresh(cells, player, before, self.shape[1], self._looks, self._corners, self._stride, pictures)

    def recall(self, state: State, observation: NDArray[Any]) -> None:
        """Reads the boards off their pictures, each cell as the one that it looks most like.

        Raises:
            ValueError: If a picture does not show exactly one player.
        """
        batch, (height, width), side = len(observation), self.shape, self._looks.shape[1]
        pictures = np.asarray(observation).reshape(batch, height, side, width, -1).transpose(0, 1, 3, 2, 4)
        pictures = pictures.reshape(batch, height * width, -1).astype(np.int32)
        kinds = np.array(sorted(SYMBOLS.values()), dtype=np.uint8)
        unlike = [np.abs(pictures - self._looks[kind].reshape(-1)).sum(-1) for kind in kinds]
        cells = kinds[np.argmin(unlike, axis=0)]
        players = np.count_nonzero(cells & PLAYER, axis=1)
        if (players != 1).any():
            raise ValueError(f"an observation shows {players[players != 1][0]} players; exactly one was expected")
        state["cells"][:] = cells.reshape(batch, height, width)
        state["player"][:] = state["before"][:] = (cells & PLAYER).argmax(1)
        state["missing"][:] = np.count_nonzero(cells & (BOX | TARGET) == BOX, axis=1)

    def reset_info(self, state: State, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The number of the level and, if it is known for all of them, the length of its solution."""
        info = {"level": state["level"][rows]}
        if self._generator is not None or (self._lengths != _UNKNOWN).all():
            info["solution_length"] = state["solution_length"][rows]
        return info

    def render(self, state: State, row: int, size: int) -> NDArray[np.uint8]:
        """Sprites of as many pixels as fit."""
        height, width = self.shape
        side = max(1, round(size / max(height, width)))
        pictures = sprites(side)[state["cells"][row]]
        return np.ascontiguousarray(pictures.transpose(0, 2, 1, 3, 4)).reshape(height * side, width * side, 3)

    def status(self, state: State, row: int) -> str:
        """The level's number and how many boxes are where they should be."""
        boxes = int(np.count_nonzero(state["cells"][row] & BOX))
        return f"level {state['level'][row]}   boxes {boxes - int(state['missing'][row])}/{boxes}"

    @property
    def keys(self) -> dict[str, int]:
        """Arrows push, the letters w a s d move, i j k l pull, the space bar waits."""
        return {_KEYS[name]: action for action, name in enumerate(self.action_names)}

    def _boards(self, state: State) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        cells = state["cells"]
        return cells.reshape(len(cells), -1), state["player"], state["before"], state["missing"]

    def _take(self, pool: LevelPool) -> None:
        self.shape = pool.shape
        self._grids, self._lengths = pool.grids.reshape(len(pool), -1), pool.lengths

    def _check_given(
        self,
        levels: Any,
        found: Sequence[tuple[tuple[int, int], int]],
        size: int | tuple[int, int] | None,
        boxes: int | None,
    ) -> None:
        """Raises ValueError if given levels are not of one size, or not as asked for."""
        name = str(levels) if isinstance(levels, (str, Path)) else "levels"
        shape = self.shape if size is None else Generator(size, 1).shape
        for number, (its_shape, its_boxes) in enumerate(found):
            if its_shape != shape:
                wanted = "level 0" if size is None else f"size={size!r}"
                raise ValueError(
                    f"{name}: level {number} has {its_shape[0]} × {its_shape[1]} cells; "
                    f"{shape[0]} × {shape[1]} were expected, as of {wanted}"
                )
            if boxes is not None and its_boxes != boxes:
                raise ValueError(f"{name}: level {number} has {its_boxes} boxes; boxes={boxes!r} was asked for")


def _given(levels: Any) -> list[Level]:
    """The levels of a path or a list.

    Raises:
        ValueError: If ``levels`` is neither, or a list of nothing.
        LevelError: If one cannot be played.
    """
    if isinstance(levels, str) and "\n" in levels:
        raise ValueError(f"levels is a text:\n{levels}\nA list of levels was expected, or the path of a file or folder")
    if isinstance(levels, (str, Path)):
        return read_levels(levels)
    if not isinstance(levels, Sequence) or not levels or not all(isinstance(level, (str, Level)) for level in levels):
        raise ValueError(
            f"levels={levels!r} must be 'pool', 'generate', the path of a file or folder, or a list of levels"
        )
    found = []
    for number, level in enumerate(levels):
        try:
            found.append(Level(level) if isinstance(level, str) else level)  # type: ignore[arg-type]
        except ValueError as error:
            raise type(error)(f"levels[{number}], {error}") from error
    return found


def _checked_numbers(value: Any, count: int, rows: int) -> NDArray[np.int64]:
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "iu" or numbers.shape not in ((), (rows,)):
        raise ValueError(f"options['level'] is {value!r}; a whole number, or {rows} of them, was expected")
    if (numbers < 0).any() or (numbers >= count).any():
        raise ValueError(f"options['level'] is {value!r}; there are levels from 0 to {count - 1}")
    return numbers.astype(np.int64)


@njit(cache=True)
def _draw_numbers(random: Any, rows: Any, count: int, out: Any) -> None:
    for k in range(len(rows)):
        out[k] = below(random, rows[k], count)
