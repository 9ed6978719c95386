"""What is freed stays with the process."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from imagine_envs.allocation import keep_freed_memory


FAULTS = """
import resource
import torch
from imagine_envs.allocation import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(2**24)  # 64 MiB: 16,384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = keep_freed_memory()
faults()
print(kept, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_large_tensors_come_from_memory_that_was_freed_before() -> None:
    """In a process of its own: what other tests left lying about decides where a tensor fits."""
    told = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout.split()
    if told[0] == "False":
        pytest.skip("another C library")
    assert int(told[1]) < 1_000


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_freed_memory() is False
