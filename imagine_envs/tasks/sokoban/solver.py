"""The shortest solution of a level, by breadth-first search over its states (numba).

For levels of the sizes that agents are trained on (a room of some thirty cells and four boxes has about a million
states); it is not meant for the large levels that people solve.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from imagine_envs.tasks.sokoban.box_sets import (
    FIRST_SIZE,
    binomials,
    find_or_add,
    move_sorted,
    rank,
    rank_moved,
    start_table,
    table_size,
)
from imagine_envs.tasks.sokoban.levels import BOX, PLAYER, TARGET, Level, LevelError
from imagine_envs.tasks.sokoban.rooms import number_cells, reachable

__all__ = ["shortest_plan"]


def shortest_plan(level: Level, *, states: int = 20_000_000) -> tuple[int, ...] | None:
    """The fewest actions (1 up, 2 down, 3 left, 4 right) that solve a level, walks included.

    Args:
        level: The level.
        states: How many states may be looked at.

    Returns:
        The actions, or None if the level cannot be solved.

    Raises:
        LevelError: If so many states do not tell.

    Example:
        >>> shortest_plan(Level("#######\\n#@ $ .#\\n#######"))
        (4, 4, 4)
    """
    room = reachable(level.grid)
    inside = level.grid * room
    if ((level.grid & (BOX | TARGET) == BOX) & ~room).any():  # nobody can get at this box
        return None
    cell_of, neighbours = number_cells(room)
    here = inside.reshape(-1)[cell_of]
    boxes, targets = np.flatnonzero(here & BOX), np.flatnonzero(here & TARGET)
    if len(boxes) != len(targets):
        return None
    player = int(np.flatnonzero(here & PLAYER)[0])
    choose = binomials(len(cell_of), len(boxes))
    found, ways = _search(neighbours, boxes, targets, player, choose, states)
    if found > 0:
        return tuple((ways + 1).tolist())
    if found == 0:
        return None
    raise LevelError(f"{states:,} states do not tell whether the level can be solved:\n{level}")


@njit(cache=True, nogil=True)
def _search(neighbours: Any, boxes: Any, targets: Any, player: int, choose: Any, states: int) -> Any:
    """1 and the shortest way, 0 if there is none, −1 if too many states were met."""
    cells, count = len(neighbours), len(boxes)
    hopeless = _hopeless(neighbours, targets)
    words = (cells + 63) // 64
    table = np.empty(table_size(states), dtype=np.int32)
    keys, seen = np.empty(states + 1, dtype=np.uint64), np.empty((states + 1, words), dtype=np.uint64)
    members = np.empty((states + 1, count), dtype=np.int16)  # the cells of each set, in order
    set_of, player_of = np.empty(states, dtype=np.int32), np.empty(states, dtype=np.int16)
    before, way_of = np.empty(states, dtype=np.int32), np.empty(states, dtype=np.int8)
    solved = rank(targets, choose)
    start_table(table, keys, seen, rank(boxes, choose))
    size, sets = FIRST_SIZE, 1
    members[0] = boxes
    seen[0, player >> 6] |= np.uint64(1) << np.uint64(player & 63)
    set_of[0], player_of[0], before[0], way_of[0] = 0, player, -1, -1
    first, last = 0, 1
    box_at = np.zeros(cells, dtype=np.bool_)
    while first < last:
        number, here = set_of[first], player_of[first]
        for box in members[number]:
            box_at[box] = True
        for way in range(4):
            to = neighbours[here, way]
            if to < 0:
                continue
            arrived = number
            if box_at[to]:
                beyond = neighbours[to, way]
                if beyond < 0 or box_at[beyond] or hopeless[beyond]:
                    continue
                key = rank_moved(members[number], to, beyond, choose)
                arrived, size = find_or_add(table, size, keys, seen, key, sets)
                if arrived == sets:
                    members[sets] = members[number]
                    move_sorted(members[sets], to, beyond)
                    sets += 1
                if key == solved:
                    return 1, _way_to(first, way, before, way_of)
            bit = np.uint64(1) << np.uint64(to & 63)
            if seen[arrived, to >> 6] & bit:
                continue
            if last == states:
                return -1, way_of[:0]
            seen[arrived, to >> 6] |= bit
            set_of[last], player_of[last], before[last], way_of[last] = arrived, to, first, way
            last += 1
        for box in members[number]:
            box_at[box] = False
        first += 1
    return 0, way_of[:0]


@njit(cache=True, nogil=True)
def _hopeless(neighbours: Any, targets: Any) -> Any:
    """The cells from which a box alone in the room comes to no target: it cannot be pulled there from any."""
    hopeless = np.ones(len(neighbours), dtype=np.bool_)
    todo = np.empty(len(neighbours), dtype=np.int64)
    count = 0
    for target in targets:
        hopeless[target] = False
        todo[count] = target
        count += 1
    while count > 0:
        count -= 1
        box = todo[count]
        for way in range(4):
            to = neighbours[box, way]
            if to >= 0 and hopeless[to] and neighbours[to, way] >= 0:
                hopeless[to] = False
                todo[count] = to
                count += 1
    return hopeless


@njit(cache=True, nogil=True)
def _way_to(state: int, way: int, before: Any, way_of: Any) -> Any:
    """The ways to a state, and one more."""
    length, at = 1, state
    while before[at] >= 0:
        length += 1
        at = before[at]
    ways = np.empty(length, dtype=np.int8)
    ways[length - 1] = way
    at = state
    for place in range(length - 2, -1, -1):
        ways[place] = way_of[at]
        at = before[at]
    return ways
