"""A priority queue of pairs, as a binary heap in arrays that exist already (numba).

``heap`` (int64 ``[P]``) holds pairs, of which none has a higher priority than its parent: the children of place i are
at 2 i + 1 and 2 i + 2. ``place`` (int64 ``[P]``) says where in the heap each pair is, −1 for those that are not in it,
``priority`` (float64 ``[P]``) how urgent each pair in it is, ``queued`` (int64 ``[1]``) how many there are.
"""

from __future__ import annotations

from typing import Any

from numba import njit

__all__ = ["pop", "push"]


@njit(cache=True, nogil=True)
def push(heap: Any, place: Any, priority: Any, queued: Any, pair: int, urgency: float) -> None:
    """Inserts a pair; if it is in the queue, only the higher priority remains (Sutton & Barto, section 8.4)."""
    here = place[pair]
    if here < 0:
        here = queued[0]
        queued[0] += 1
    elif urgency <= priority[pair]:
        return
    priority[pair] = urgency
    while here > 0:
        parent = (here - 1) >> 1
        above = heap[parent]
        if priority[above] >= urgency:
            break
        heap[here] = above
        place[above] = here
        here = parent
    heap[here] = pair
    place[pair] = here


@njit(cache=True, nogil=True)
def pop(heap: Any, place: Any, priority: Any, queued: Any) -> int:
    """Takes out a pair of the highest priority; the queue must not be empty."""
    first = heap[0]
    place[first] = -1
    queued[0] -= 1
    size = queued[0]
    if size == 0:
        return first
    last, here = heap[size], 0
    urgency = priority[last]
    while True:
        child = 2 * here + 1
        if child >= size:
            break
        below = heap[child]
        if child + 1 < size and priority[heap[child + 1]] > priority[below]:
            child += 1
            below = heap[child]
        if priority[below] <= urgency:
            break
        heap[here] = below
        place[below] = here
        here = child
    heap[here] = last
    place[last] = here
    return first
