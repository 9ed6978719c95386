"""Sokoban's rules, stepped in place for a whole batch (numba).

Rules and rewards are those of the I2A paper (Weber et al. 2017, "Imagination-Augmented Agents for Deep Reinforcement
Learning", section 4 and appendix D): −0.1 for every step, +1 for a box that comes onto a target, −1 for a box that
leaves one, +10 for solving the level, which ends the episode; after the step limit it is truncated.

A cell holds the bits of :mod:`~imagine_envs.tasks.sokoban.levels`; boards are flat, ``[N, H·W]``, and a position is an
index into one. Levels are checked when they are made: walls enclose whatever the player can reach, so that no move and
no push needs to look for the edge of the board.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from imagine_envs.tasks.sokoban.levels import BOX, PLAYER, TARGET, WALL

__all__ = ["ACTION_SETS", "PENALTY_OFF", "PENALTY_STEP", "REWARD_ON", "REWARD_SOLVED", "Boards", "paint", "put", "step"]

ACTION_SETS: dict[int, tuple[str, ...]] = {
    5: ("noop", "up", "down", "left", "right"),
    9: (
        "noop",
        *(f"push {way}" for way in ("up", "down", "left", "right")),
        *(f"move {way}" for way in ("up", "down", "left", "right")),
    ),
    13: (
        "noop",
        *(f"push {way}" for way in ("up", "down", "left", "right")),
        *(f"move {way}" for way in ("up", "down", "left", "right")),
        *(f"pull {way}" for way in ("up", "down", "left", "right")),
    ),
}
"""Number of actions → what they do. Each set begins with the smaller one.

- *noop* does nothing (and costs a step).
- *push* (the only kind in the set of 5) walks, and pushes the box that is in the way if the cell behind it is free.
- *move* (9 and 13, as in gym-sokoban) only walks: a box in the way stops it.
- *pull* (13, as in gym-sokoban) walks away from a box and takes it along; where no box is behind the player it only
  walks, and a box in the way stops it.
"""

PENALTY_STEP, REWARD_ON, PENALTY_OFF, REWARD_SOLVED = -0.1, 1.0, -1.0, 10.0


class Boards(NamedTuple):
    """The state of N games; every array is changed in place.

    Attributes:
        cells: Bits of every cell, uint8 ``[N, H·W]``.
        player: Where the player is, int32 ``[N]``.
        missing: How many boxes are not on a target, int32 ``[N]``.
        elapsed: Steps since the reset, int32 ``[N]``.
    """

    cells: np.ndarray
    player: np.ndarray
    missing: np.ndarray
    elapsed: np.ndarray

    @classmethod
    def empty(cls, batch_size: int, cells: int) -> Boards:
        """Room for ``batch_size`` games on boards of ``cells`` cells."""
        return cls(
            np.zeros((batch_size, cells), dtype=np.uint8),
            np.zeros(batch_size, dtype=np.int32),
            np.zeros(batch_size, dtype=np.int32),
            np.zeros(batch_size, dtype=np.int32),
        )


@njit(cache=True, nogil=True)
def step(
    boards: Boards,
    actions: np.ndarray,
    width: int,
    max_steps: int,
    colours: np.ndarray,
    pixels: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
) -> None:
    """One step of every game. Nothing is reset.

    Args:
        boards: The games.
        actions: int64 ``[N]``, of any of :data:`ACTION_SETS`.
        width: Columns of a board.
        max_steps: The step limit. A level solved in the last step is terminated, not truncated.
        colours: What a cell looks like, by its bits: ``[16, C]``.
        pixels: The pictures of the boards, ``[N, H·W, C]``; the up to three cells that change are repainted. With
            N = 0 nothing is painted.
        rewards: Filled, float64 ``[N]``.
        terminated: Filled, bool ``[N]``.
        truncated: Filled, bool ``[N]``.
    """
    cells, player, missing, elapsed = boards
    painted = len(pixels) > 0
    for game in range(len(actions)):
        action = actions[game]
        board = cells[game]
        off = missing[game]
        reward = PENALTY_STEP
        if action > 0:
            kind, way = (action - 1) >> 2, (action - 1) & 3
            ahead = (way & 1) * 2 - 1  # up and left −1, down and right +1
            if way < 2:
                ahead *= width
            here = player[game]
            there = here + ahead
            changed = -1  # the cell, besides here and there, that changes
            moves = board[there] & (WALL | BOX) == 0
            if not moves and kind == 0 and board[there] & BOX != 0:
                beyond = there + ahead
                if board[beyond] & (WALL | BOX) == 0:
                    moves, changed = True, beyond
                    board[there] ^= BOX
                    board[beyond] |= BOX
                    off += (board[there] >> 1 & 1) - (board[beyond] >> 1 & 1)
            elif moves and kind == 2 and board[here - ahead] & BOX != 0:
                changed = here - ahead
                board[changed] ^= BOX
                board[here] |= BOX
                off += (board[changed] >> 1 & 1) - (board[here] >> 1 & 1)
            if moves:
                board[here] ^= PLAYER
                board[there] |= PLAYER
                player[game] = there
                if painted:
                    picture = pixels[game]
                    _paint_cell(picture, here, board[here], colours)
                    _paint_cell(picture, there, board[there], colours)
                    if changed >= 0:
                        _paint_cell(picture, changed, board[changed], colours)
                if off < missing[game]:
                    reward += REWARD_ON
                elif off > missing[game]:
                    reward += PENALTY_OFF
                missing[game] = off
        solved = off == 0
        if solved:
            reward += REWARD_SOLVED
        elapsed[game] += 1
        rewards[game] = reward
        terminated[game] = solved
        truncated[game] = not solved and elapsed[game] >= max_steps


@njit(cache=True, nogil=True)
def put(boards: Boards, rows: np.ndarray, grids: np.ndarray, choice: np.ndarray) -> None:
    """Starts levels anew in some of the games.

    Args:
        boards: The games.
        rows: Which of them, int64 ``[K]``.
        grids: Levels, uint8 ``[L, H·W]``.
        choice: Which level each of them gets, int64 ``[K]``.
    """
    for k in range(len(rows)):
        game, grid = rows[k], grids[choice[k]]
        missing = 0
        for cell in range(len(grid)):
            bits = grid[cell]
            boards.cells[game, cell] = bits
            if bits & PLAYER != 0:
                boards.player[game] = cell
            if bits & (BOX | TARGET) == BOX:
                missing += 1
        boards.missing[game] = missing
        boards.elapsed[game] = 0


@njit(cache=True, nogil=True)
def paint(cells: np.ndarray, rows: np.ndarray, colours: np.ndarray, pixels: np.ndarray) -> None:
    """Paints whole boards.

    Args:
        cells: Bits, uint8 ``[N, H·W]``.
        rows: Which boards, int64 ``[K]``.
        colours: ``[16, C]``.
        pixels: Pictures, ``[N, H·W, C]``; those of ``rows`` are painted.
    """
    for k in range(len(rows)):
        board, picture = cells[rows[k]], pixels[rows[k]]
        for cell in range(len(board)):
            _paint_cell(picture, cell, board[cell], colours)


@njit(cache=True, nogil=True, inline="always")
def _paint_cell(picture: np.ndarray, cell: int, bits: int, colours: np.ndarray) -> None:
    for channel in range(colours.shape[1]):
        picture[cell, channel] = colours[bits, channel]
