"""How a level is made: a room dug by a random walk, and play backwards from the solved room (numba).

The recipe is that of the I2A paper (Weber et al. 2017, appendix D.2, after Murase et al. 1996 and Taylor & Parberry
2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from imagine_envs.tasks.randomness import below, uniform
from imagine_envs.tasks.sokoban.box_sets import (
    FIRST_SIZE,
    find_or_add,
    move_sorted,
    rank,
    rank_moved,
    start_table,
    table_size,
)
from imagine_envs.tasks.sokoban.levels import BOX, PLAYER, TARGET, WALL
from imagine_envs.tasks.sokoban.rooms import number_cells

__all__ = ["MASKS", "make"]

MASKS = np.array(
    [
        [[0, 0, 0], [1, 1, 1], [0, 0, 0]],
        [[0, 1, 0], [0, 1, 0], [0, 1, 0]],
        [[0, 0, 0], [1, 1, 0], [0, 1, 0]],
        [[0, 0, 0], [1, 1, 0], [1, 1, 0]],
        [[0, 0, 0], [0, 1, 1], [0, 1, 0]],
    ],
    dtype=np.uint8,
)
"""What one step of the walk digs. All of them hold their middle, so that a room is one connected piece."""

_TURN = 0.35
_STEPS_A_SIDE = 1.5
_NOBODY, _WALL = -1, -2

_UP, _DOWN, _LEFT, _RIGHT = 0, 1, 2, 3


@njit(cache=True, nogil=True)
def make(
    seed: Any,
    height: int,
    width: int,
    boxes: int,
    states: int,
    depth: int,
    topologies: int,
    placements: int,
    attempts: int,
    choose: Any,
) -> Any:
    """The best level of some rooms and placements.

    Args:
        seed: Of all that is random, uint64.
        height: Rows, walls included.
        width: Columns, walls included.
        boxes: How many.
        states: How many states a placement's backward play visits at most.
        depth: How many steps it goes back at most.
        topologies: Rooms.
        placements: Placements of player and targets in each room.
        attempts: How often everything is tried anew while no placement has a score.
        choose: :func:`~imagine_envs.tasks.sokoban.box_sets.binomials` of the room's cells.

    Returns:
        The level (bits, uint8 ``[H, W]``), the way back to it from the solved room (numbers of directions: up, down,
        left, right; uint8 ``[steps]``), its room score and its box swaps. The score is 0 where nothing was found.
    """
    random = np.empty(1, dtype=np.uint64)
    random[0] = seed
    best_score, best_swaps = 0, 0
    level = np.zeros((height, width), dtype=np.uint8)
    best_path = np.zeros(0, dtype=np.uint8)
    targets = np.empty(boxes, dtype=np.int64)
    words = ((height - 2) * (width - 2) + 63) // 64
    table = np.empty(table_size(states), dtype=np.int32)
    keys, seen = np.empty(states + 1, dtype=np.uint64), np.empty((states + 1, words), dtype=np.uint64)
    path = np.empty(depth, dtype=np.uint8)
    where = np.empty(boxes + 1, dtype=np.int64)
    order = np.empty(4, dtype=np.int64)
    for _ in range(attempts):
        for _ in range(topologies):
            room = _dig(random, height, width)
            cell_of, neighbours = number_cells(room)
            cells = len(cell_of)
            if cells < 2 * boxes + 1:  # at the end every box, every target and the player has a cell of its own
                continue
            floor = np.empty(cells, dtype=np.int64)
            for _ in range(placements):
                _draw_places(random, order, 4)
                _draw_places(random, floor, boxes + 1)
                for box in range(boxes):
                    targets[box] = floor[box + 1]
                score, swaps, length = _play(
                    cell_of, neighbours, targets, floor[0], order, states, depth, choose, width,
                    table, keys, seen, path, where,
                )  # fmt: skip
                if score > best_score:
                    best_score, best_swaps = score, swaps
                    best_path = path[:length].copy()
                    for y in range(height):
                        for x in range(width):
                            level[y, x] = 0 if room[y, x] else WALL
                    for box in range(boxes):
                        level[cell_of[targets[box]] // width, cell_of[targets[box]] % width] |= TARGET
                        level[cell_of[where[box]] // width, cell_of[where[box]] % width] |= BOX
                    level[cell_of[where[boxes]] // width, cell_of[where[boxes]] % width] |= PLAYER
        if best_score > 0:
            break
    return level, best_path, best_score, best_swaps


@njit(cache=True, nogil=True)
def _draw_places(random: Any, items: Any, first: int) -> None:
    """Fills ``items`` with 0, 1, 2, … and draws the first so many places without replacement."""
    for place in range(len(items)):
        items[place] = place
    for place in range(min(first, len(items) - 1)):
        other = place + below(random, 0, len(items) - place)
        items[place], items[other] = items[other], items[place]


@njit(cache=True, nogil=True)
def _dig(random: Any, height: int, width: int) -> Any:
    """A room: where the walk has dug a floor, bool ``[H, W]``. The cells along the edge stay walls."""
    room = np.zeros((height, width), dtype=np.bool_)
    y, x = 1 + below(random, 0, height - 2), 1 + below(random, 0, width - 2)
    way = below(random, 0, 4)
    for _ in range(int(_STEPS_A_SIDE * (height + width))):
        if uniform(random, 0) < _TURN:
            way = below(random, 0, 4)
        y = min(max(y + (way == _DOWN) - (way == _UP), 1), height - 2)
        x = min(max(x + (way == _RIGHT) - (way == _LEFT), 1), width - 2)
        mask = MASKS[below(random, 0, len(MASKS))]
        for dy in range(3):
            for dx in range(3):
                v, u = y + dy - 1, x + dx - 1
                if mask[dy, dx] and 0 < v < height - 1 and 0 < u < width - 1:
                    room[v, u] = True
    return room


@njit(cache=True, nogil=True)
def _play(
    cell_of: Any,
    neighbours: Any,
    targets: Any,
    start: int,
    order: Any,
    states: int,
    depth: int,
    choose: Any,
    width: int,
    table: Any,
    keys: Any,
    seen: Any,
    path: Any,
    where: Any,
) -> Any:
    """Plays backwards, depth first, from all boxes on their targets, and remembers the best state on the way.

    A step back is a pull (in each direction, in the given order) or a walk away from a box (likewise); where there is
    no box to pull the two are the same. The score of a state is the box swaps on the way to it (how often the player
    began to pull another box than the last one) times the sum of the Manhattan distances of the boxes from their own
    targets; 0 while a box or the player stands on a target.

    Returns:
        The best score, its box swaps, and its number of steps. ``path`` holds its directions, ``where`` its boxes
        and, last, its player.
    """
    boxes, cells = len(targets), len(cell_of)
    # Cell number `cells` is the wall: whatever lies beyond the floor is one cell, which is never free.
    box_at, is_target = np.empty(cells + 1, dtype=np.int32), np.zeros(cells, dtype=np.int32)
    around = np.empty((cells, 4), dtype=np.int32)
    far = np.empty((boxes, cells), dtype=np.int32)  # from the target of each box
    for cell in range(cells):
        box_at[cell] = _NOBODY
        for way in range(4):
            around[cell, way] = neighbours[cell, way] if neighbours[cell, way] >= 0 else cells
    box_at[cells] = _WALL
    sorted_boxes, boxes_at = targets.copy(), targets.copy()
    for box in range(boxes):
        box_at[targets[box]] = box
        is_target[targets[box]] = 1
        place = box
        while place > 0 and sorted_boxes[place - 1] > targets[box]:
            sorted_boxes[place] = sorted_boxes[place - 1]
            place -= 1
        sorted_boxes[place] = targets[box]
        home = cell_of[targets[box]]
        for cell in range(cells):
            far[box, cell] = abs(cell_of[cell] // width - home // width) + abs(cell_of[cell] % width - home % width)

    start_table(table, keys, seen, rank(sorted_boxes, choose))
    size, sets = FIRST_SIZE, 1
    seen[0, start >> 6] |= np.uint64(1) << np.uint64(start & 63)

    # The path from the start: how each of its states was reached, and which of its eight steps back were tried.
    player_of, set_of = np.empty(depth, dtype=np.int32), np.empty(depth, dtype=np.int32)
    way_of, pulled_of = np.empty(depth, dtype=np.uint8), np.empty(depth, dtype=np.int32)
    last_of, swaps_of = np.empty(depth, dtype=np.int32), np.empty(depth, dtype=np.int32)
    away_of, tried = np.empty(depth, dtype=np.int32), np.zeros(depth, dtype=np.int32)
    player_of[0], set_of[0], pulled_of[0] = start, 0, _NOBODY
    last_of[0], swaps_of[0], away_of[0] = _NOBODY, 0, 0
    pulls = np.zeros(depth, dtype=np.bool_)  # whether there was a box to pull
    on_target = boxes
    best, best_swaps, best_length, visited, d = 0, 0, 0, 1, 0
    while visited < states:
        step = tried[d]
        if step == 8 or (step == 4 and not pulls[d]):
            if d == 0:
                break
            box = pulled_of[d]
            d -= 1
            if box != _NOBODY:  # it goes back to where it was pulled from
                now, then = player_of[d], around[player_of[d], way_of[d + 1] ^ 1]
                box_at[now], box_at[then], boxes_at[box] = _NOBODY, box, then
                move_sorted(sorted_boxes, now, then)
                on_target += is_target[then] - is_target[now]
            continue
        tried[d] = step + 1
        player, way = player_of[d], order[step & 3]
        to, behind = around[player, way], around[player, way ^ 1]
        if box_at[to] != _NOBODY:
            continue
        box, number = box_at[behind], set_of[d]
        if step >= 4:  # a walk, which was the same as the pull before unless there was a box to pull
            if box < 0:
                continue
            box = _NOBODY
        elif box >= 0:
            pulls[d] = True
            key = rank_moved(sorted_boxes, behind, player, choose)
            number, size = find_or_add(table, size, keys, seen, key, sets)
            sets += number == sets
        else:
            box = _NOBODY
        bit = np.uint64(1) << np.uint64(to & 63)
        if seen[number, to >> 6] & bit:
            continue
        seen[number, to >> 6] |= bit
        visited += 1
        last, swaps, away, covered = last_of[d], swaps_of[d], away_of[d], on_target
        if box != _NOBODY:
            away += far[box, player] - far[box, behind]
            covered += is_target[player] - is_target[behind]
            swaps += last != box
            last = box
        if covered == 0 and is_target[to] == 0 and swaps * away > best:
            best, best_swaps, best_length = swaps * away, swaps, d + 1
            for place in range(d):
                path[place] = way_of[place + 1]
            path[d] = way
            for place in range(boxes):
                where[place] = boxes_at[place]
            where[boxes] = to
            if box != _NOBODY:
                where[box] = player
        if d + 1 == depth:
            continue
        d += 1
        pulls[d] = False
        tried[d], player_of[d], set_of[d], way_of[d], pulled_of[d] = 0, to, number, way, box
        last_of[d], swaps_of[d], away_of[d] = last, swaps, away
        if box != _NOBODY:
            box_at[behind], box_at[player], boxes_at[box] = _NOBODY, box, player
            move_sorted(sorted_boxes, behind, player)
            on_target = covered
    return best, best_swaps, best_length
