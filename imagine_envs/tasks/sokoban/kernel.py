"""Sokoban's rules, stepped in place for a whole batch (numba).

Rules and rewards are those of the I2A paper (Weber et al. 2017, "Imagination-Augmented Agents for Deep Reinforcement
Learning", section 4 and appendix D): −0.1 for every step, +1 for a box that comes onto a target, −1 for a box that
leaves one, +10 for solving the level, which ends the episode; after the step limit it is truncated.

A cell holds the bits of :mod:`~imagine_envs.tasks.sokoban.levels`; boards are flat, ``[B, H·W]``, and a position is an
index into one. On a level (which is checked when it is made) walls enclose whatever the player can reach; on any other
board the edge holds like a wall, at least above and below, so that no index leaves the board.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from imagine_envs.tasks.sokoban.levels import BOX, PLAYER, TARGET, WALL

__all__ = [
    "ACTION_SETS",
    "PENALTY_OFF",
    "PENALTY_STEP",
    "REWARD_ON",
    "REWARD_SOLVED",
    "observe",
    "place",
    "refresh",
    "step",
]

_WAYS = ("up", "down", "left", "right")
_PUSH, _MOVE, _PULL = (tuple(f"{kind} {way}" for way in _WAYS) for kind in ("push", "move", "pull"))

ACTION_SETS: dict[int, tuple[str, ...]] = {
    5: ("noop", *_WAYS),
    9: ("noop", *_PUSH, *_MOVE),
    13: ("noop", *_PUSH, *_MOVE, *_PULL),
}
"""Number of actions → what they do. Each set begins with the smaller one.

- *noop* does nothing (and costs a step).
- *push* (the only kind in the set of 5) walks, and pushes the box that is in the way if the cell behind it is free.
- *move* (9 and 13, as in gym-sokoban) only walks: a box in the way stops it.
- *pull* (13, as in gym-sokoban) walks away from a box and takes it along; where no box is behind the player it only
  walks, and a box in the way stops it.
"""

PENALTY_STEP, REWARD_ON, PENALTY_OFF, REWARD_SOLVED = -0.1, 1.0, -1.0, 10.0


@njit(cache=True, nogil=True)
def step(
    cells: Any,
    player: Any,
    before: Any,
    missing: Any,
    action: Any,
    width: int,
    reward: Any,
    terminated: Any,
) -> None:
    """One step of every game, in place.

    Args:
        cells: Bits of every cell, uint8 ``[B, H·W]``.
        player: Where the player is, int32 ``[B]``.
        before: Filled: where the player was before this step, int32 ``[B]``.
        missing: How many boxes are off their targets, int32 ``[B]``.
        action: int64 ``[B]``, of any of :data:`ACTION_SETS`.
        width: Columns of a board.
        reward: Filled, float64 ``[B]``.
        terminated: Filled, bool ``[B]``: whether no box is off its target.
    """
    size = cells.shape[1]
    for row in range(len(action)):
        here, off = player[row], missing[row]
        before[row] = here
        gained = 0
        if action[row] > 0:
            board = cells[row]
            kind, way = (action[row] - 1) >> 2, (action[row] - 1) & 3
            ahead = (way & 1) * 2 - 1  # up and left −1, down and right +1
            if way < 2:
                ahead *= width
            to, beyond, behind = here + ahead, here + 2 * ahead, here - ahead
            moves = 0 <= to < size and board[to] & (WALL | BOX) == 0
            if moves:
                if kind == 2 and 0 <= behind < size and board[behind] & BOX != 0:
                    board[behind] ^= BOX
                    board[here] |= BOX
                    gained = (board[here] >> 1 & 1) - (board[behind] >> 1 & 1)
            elif kind == 0 and 0 <= beyond < size and board[to] & BOX != 0 and board[beyond] & (WALL | BOX) == 0:
                moves = True
                board[to] ^= BOX
                board[beyond] |= BOX
                gained = (board[beyond] >> 1 & 1) - (board[to] >> 1 & 1)
            if moves:
                board[here] ^= PLAYER
                board[to] |= PLAYER
                player[row] = to
                off -= gained
                missing[row] = off
        value = PENALTY_STEP
        if gained > 0:
            value += REWARD_ON
        elif gained < 0:
            value += PENALTY_OFF
        if off == 0:
            value += REWARD_SOLVED
        reward[row] = value
        terminated[row] = off == 0


@njit(cache=True, nogil=True)
def place(cells: Any, player: Any, before: Any, missing: Any, rows: Any, grids: Any, choice: Any) -> None:
    """Puts levels into some of the games.

    Args:
        cells: As in :func:`step`, and so are ``player``, ``before`` and ``missing``.
        player: See there.
        before: See there.
        missing: See there.
        rows: Which games, int64 ``[R]``.
        grids: Levels, uint8 ``[L, H·W]``.
        choice: Which level each of them gets, int64 ``[R]``.
    """
    for k in range(len(rows)):
        row, grid = rows[k], grids[choice[k]]
        off = 0
        for cell in range(len(grid)):
            bits = grid[cell]
            cells[row, cell] = bits
            if bits & PLAYER != 0:
                player[row] = cell
            if bits & (BOX | TARGET) == BOX:
                off += 1
        missing[row] = off
        before[row] = player[row]


@njit(cache=True, nogil=True)
def observe(cells: Any, rows: Any, looks: Any, corners: Any, stride: int, out: Any) -> None:
    """Draws whole boards.

    Args:
        cells: Bits, uint8 ``[B, H·W]``.
        rows: Which boards, int64 ``[R]``.
        looks: What a cell looks like, by its bits: ``[16, s, s·C]``, s rows of s pixels of C channels.
        corners: Where in a flat picture each cell begins, int64 ``[H·W]``.
        stride: Length of one row of pixels in it, W·s·C.
        out: Flat pictures, ``[B, H·s·W·s·C]``; those of ``rows`` are written.
    """
    for k in range(len(rows)):
        board, picture = cells[rows[k]], out[rows[k]]
        for cell in range(len(board)):
            _draw(picture, board, cell, looks, corners, stride)


@njit(cache=True, nogil=True)
def refresh(cells: Any, player: Any, before: Any, width: int, looks: Any, corners: Any, stride: int, out: Any) -> None:
    """Draws what a :func:`step` may have changed: the cells in one line with it, if the player moved.

    The arguments are those of :func:`step` and :func:`observe`.
    """
    size = cells.shape[1]
    for row in range(len(cells)):
        ahead = player[row] - before[row]
        if ahead != 0:
            board, picture = cells[row], out[row]
            if before[row] - ahead >= 0 and before[row] - ahead < size:
                _draw(picture, board, before[row] - ahead, looks, corners, stride)  # where a box was pulled from
            _draw(picture, board, before[row], looks, corners, stride)
            _draw(picture, board, player[row], looks, corners, stride)
            if player[row] + ahead >= 0 and player[row] + ahead < size:
                _draw(picture, board, player[row] + ahead, looks, corners, stride)  # where a box was pushed to


@njit(cache=True, nogil=True, inline="always")
def _draw(picture: Any, board: Any, cell: int, looks: Any, corners: Any, stride: int) -> None:
    bits, corner = board[cell], corners[cell]
    for y in range(looks.shape[1]):
        for x in range(looks.shape[2]):
            picture[corner + y * stride + x] = looks[bits, y, x]
