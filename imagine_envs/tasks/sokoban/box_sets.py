"""Sets of cells as numbers (numba): what the backward play and the solver know states by.

A state of Sokoban is where the boxes are and where the player is. Both searches keep the states that they have seen
exactly, not as hashes of which two might be equal: every set of box cells gets a number when it is first met, and each
number has one bit for every cell where the player can be. A walk leaves the boxes alone, so it costs one bit; only a
pull or a push looks a set up.

The key of a set is its rank among all sets of its size: cells c₁ < c₂ < … < c_k have rank Σ (c_i over i), the
combinatorial number system, in which no two sets share one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["FIRST_SIZE", "binomials", "find_or_add", "move_sorted", "rank", "rank_moved", "start_table", "table_size"]

FIRST_SIZE = 1 << 10
"""Places of a table at the start. It doubles when it is half full, so that a short search stays in the cache."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def binomials(cells: int, boxes: int) -> NDArray[np.uint64]:
    """``n over k`` for n up to ``cells`` and k up to ``boxes``, uint64 ``[cells + 1, boxes + 1]``.

    Raises:
        ValueError: If the sets of ``boxes`` cells are too many for 63 bits.
    """
    if math.comb(cells, boxes) >= 2**63:
        raise ValueError(f"{boxes} boxes on {cells} cells stand in more ways than 63 bits can number; use fewer")
    return np.array([[math.comb(n, k) for k in range(boxes + 1)] for n in range(cells + 1)], dtype=np.uint64)


@njit(cache=True, nogil=True)
def rank(sorted_boxes: Any, choose: Any) -> Any:
    """The rank of a set."""
    total = np.uint64(0)
    for place in range(len(sorted_boxes)):
        total += choose[sorted_boxes[place], place + 1]
    return total


@njit(cache=True, nogil=True)
def rank_moved(sorted_boxes: Any, gone: int, come: int, choose: Any) -> Any:
    """The rank of a set once its member ``gone`` is replaced by ``come``."""
    total, place, waiting = np.uint64(0), 1, True
    for box in sorted_boxes:
        if box != gone:
            if waiting and come < box:
                total += choose[come, place]
                place += 1
                waiting = False
            total += choose[box, place]
            place += 1
    if waiting:
        total += choose[come, place]
    return total


@njit(cache=True, nogil=True)
def move_sorted(sorted_boxes: Any, gone: int, come: int) -> None:
    """Replaces ``gone`` by ``come`` in a sorted array."""
    place = 0
    while sorted_boxes[place] != gone:
        place += 1
    while place + 1 < len(sorted_boxes) and sorted_boxes[place + 1] < come:
        sorted_boxes[place] = sorted_boxes[place + 1]
        place += 1
    while place > 0 and sorted_boxes[place - 1] > come:
        sorted_boxes[place] = sorted_boxes[place - 1]
        place -= 1
    sorted_boxes[place] = come


@njit(cache=True, nogil=True)
def table_size(entries: int) -> int:
    """Places that a table may need before it holds ``entries`` sets."""
    size = FIRST_SIZE
    while size < 2 * (entries + 1):
        size *= 2
    return size


@njit(cache=True, nogil=True)
def _empty(table: Any, size: int) -> None:
    for slot in range(size):
        table[slot] = -1


@njit(cache=True, nogil=True)
def _slot(table: Any, size: int, keys: Any, key: Any) -> int:
    """Where in the first ``size`` (a power of two) places a key is, or belongs."""
    mask = np.uint64(size - 1)
    slot = ((key * _GOLDEN) >> np.uint64(32)) & mask
    while table[slot] >= 0 and keys[table[slot]] != key:
        slot = (slot + np.uint64(1)) & mask
    return int(slot)


@njit(cache=True, nogil=True)
def start_table(table: Any, keys: Any, seen: Any, key: Any) -> None:
    """Empties the table and gives the number 0 to a first set.

    Args:
        table: Numbers of sets by the hash of their key, int32 ``[table_size(entries)]``; only what is needed is used.
        keys: Keys by number, uint64 ``[entries]``.
        seen: Cells of the player by number of the set, a bit each, uint64 ``[entries, words]``.
        key: Of the first set.
    """
    _empty(table, FIRST_SIZE)
    keys[0] = key
    for word in range(seen.shape[1]):
        seen[0, word] = 0
    table[_slot(table, FIRST_SIZE, keys, key)] = 0


@njit(cache=True, nogil=True)
def find_or_add(table: Any, size: int, keys: Any, seen: Any, key: Any, sets: int) -> Any:
    """The number of a set, a new one (``sets``) if it is met for the first time, and the size that the table has now.

    Args:
        table: As in :func:`start_table`.
        size: How many of its places are in use, first :data:`FIRST_SIZE`.
        keys: As there.
        seen: As there.
        key: Of the set.
        sets: How many sets have a number.
    """
    slot = _slot(table, size, keys, key)
    number = int(table[slot])
    if number >= 0:
        return number, size
    table[slot] = sets
    keys[sets] = key
    for word in range(seen.shape[1]):
        seen[sets, word] = 0
    if 2 * (sets + 1) > size:
        size *= 2
        _empty(table, size)
        for old in range(sets + 1):
            table[_slot(table, size, keys, keys[old])] = old
    return sets, size
