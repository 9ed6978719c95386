"""Rows shared out between threads, for kernels that let go of Python's lock (``nogil=True``)."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from imagine_envs.whole_numbers import is_whole

__all__ = ["MOST_THREADS", "each_part", "thread_count"]

MOST_THREADS = 64

_pools: dict[int, ThreadPoolExecutor] = {}
"""By process: threads do not live on in a fork."""


def thread_count(threads: int | None) -> int:
    """How many threads kernels take.

    Args:
        threads: So many; None takes what ``OMP_NUM_THREADS`` says, as torch does, or else all cores of this process.

    Raises:
        ValueError: If it is no whole number from 1 to 64.
    """
    if threads is None:
        told = os.environ.get("OMP_NUM_THREADS", "")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(int(told) if told.isdecimal() and int(told) else cores, MOST_THREADS)
    if not is_whole(threads) or not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"threads={threads!r} must be a whole number from 1 to {MOST_THREADS}, or None")
    return int(threads)


def each_part(work: Callable[[NDArray[np.int64]], object], rows: NDArray[np.int64], threads: int, least: int) -> None:
    """Calls ``work`` with all rows, in as many parts at a time as there are threads.

    Args:
        work: Takes some rows. What it does to one must not depend on others, nor on how rows are shared out.
        rows: int64 ``[R]``.
        threads: At most so many parts; the calling thread does one of them.
        least: Rows that a part is worth; fewer are not shared out.
    """
    parts = min(threads, len(rows) // least)
    if parts < 2:
        work(rows)
        return
    pool = _pools.get(os.getpid())
    if pool is None:
        _pools.clear()
        pool = _pools[os.getpid()] = ThreadPoolExecutor(MOST_THREADS, "imagine-rows")
    mine, *others = np.array_split(rows, parts)
    waiting = [pool.submit(work, part) for part in others]
    work(mine)
    for done in waiting:
        done.result()
