"""What is freed stays with the process."""

from __future__ import annotations

import ctypes
import resource
import sys

import pytest
import torch

from imagine_envs.allocation import keep_freed_memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_large_tensors_come_from_memory_that_was_freed_before() -> None:
    if not keep_freed_memory():
        pytest.skip("another C library")

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(2**24)  # 64 MiB: 16,384 pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()
    assert faults() < 1_000


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_freed_memory() is False
