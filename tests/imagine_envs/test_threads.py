"""Rows shared out between threads."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest

from imagine_envs.tasks.threads import each_part, thread_count


def test_every_row_is_worked_on_once_and_in_order_within_its_part() -> None:
    for threads, rows, least, parts in ((1, 10, 1, 1), (3, 10, 1, 3), (3, 10, 4, 2), (8, 3, 1, 3), (2, 3, 2, 1)):
        seen: list[list[int]] = []
        each_part(lambda part, seen=seen: seen.append(part.tolist()), np.arange(rows), threads, least)  # type: ignore[misc]
        assert len(seen) == parts
        assert sorted(row for part in seen for row in part) == list(range(rows))
        assert all(part == sorted(part) for part in seen)


def test_parts_are_worked_on_at_a_time() -> None:
    together = threading.Barrier(3, timeout=10)
    each_part(lambda _: together.wait(), np.arange(3), 3, 1)  # which would not end one after the other


def test_what_goes_wrong_in_a_thread_is_told() -> None:
    def work(rows: Any) -> None:
        if 5 in rows:
            raise ValueError("row five")

    with pytest.raises(ValueError, match="row five"):
        each_part(work, np.arange(6), 2, 1)


def test_threads_of_a_fork_are_its_own() -> None:
    total = np.zeros(6)

    def work(rows: Any) -> None:
        total[rows] += 1

    each_part(work, np.arange(6), 2, 1)
    child = os.fork()
    if child == 0:
        each_part(work, np.arange(6), 2, 1)
        os._exit(0 if (total == 2).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (total == 1).all()


def test_how_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert (thread_count(None), thread_count(2)) == (3, 2)
    for unset in ("", "4,2", "0"):
        monkeypatch.setenv("OMP_NUM_THREADS", unset)
        assert thread_count(None) == len(os.sched_getaffinity(0))
    for wrong in (0, 65, 1.5, True):
        with pytest.raises(ValueError, match=f"threads={wrong} must be a whole number from 1 to 64"):
            thread_count(wrong)  # type: ignore[arg-type]
