"""How kernels are compiled: kept on disk, and without Python's lock, so that several threads can draw."""

from __future__ import annotations

from typing import Any

from numba import njit

__all__ = ["inner", "kernel"]

_njit: Any = njit

kernel: Any = _njit(cache=True, nogil=True)
"""For what Python calls."""

inner: Any = _njit(cache=True, nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""For what only kernels call; without a door to Python a fifth of the time to compile is saved."""
