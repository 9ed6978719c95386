"""Random numbers of a row: SplitMix64, whose whole state is one integer.

Steele, Lea & Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014). A counter goes up by an odd
constant and is scrambled; rows start at scrambled seeds, so that neighbouring seeds have nothing in common.

Kernels draw from ``random = state["random"].view(np.uint64)``::

    @njit(cache=True)
    def kernel(random, …):
        for row in range(len(random)):
            if uniform(random, row) < 0.05:
                direction = below(random, row, 4)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["below", "seed_rows", "uniform"]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31, _S32 = (np.uint64(shift) for shift in (11, 27, 30, 31, 32))
_ONE_BIT = 2.0**-53


@njit(cache=True)
def _scrambled(bits: Any) -> Any:
    bits = (bits ^ (bits >> _S30)) * _FIRST
    bits = (bits ^ (bits >> _S27)) * _SECOND
    return bits ^ (bits >> _S31)


@njit(cache=True)
def _draw(random: Any, row: int) -> Any:
    random[row] += _STEP
    return _scrambled(random[row])


@njit(cache=True)
def uniform(random: Any, row: int) -> float:
    """The next number of a row, in [0, 1), with 53 random bits."""
    return float(_draw(random, row) >> _S11) * _ONE_BIT


@njit(cache=True)
def below(random: Any, row: int, count: int) -> int:
    """The next whole number of a row, 0 to ``count`` − 1 (below 2³²), each equally likely to within 2⁻³² · count."""
    return np.int64(((_draw(random, row) >> _S32) * np.uint64(count)) >> _S32)


def seed_rows(random: NDArray[np.int64], rows: NDArray[np.int64], seeds: NDArray[np.uint64]) -> None:
    """Starts the random numbers of ``rows`` anew; a row depends on its own seed only."""
    random.view(np.uint64)[rows] = _scrambled.py_func(seeds + _STEP)
