"""NumPy's default generator, PCG64, as a kernel: the numbers of ``numpy.random.default_rng(seed)``, row by row.

O'Neill, "PCG: A family of simple fast space-efficient statistically good algorithms for random number generation"
(2014): a linear congruential generator of 128 bits whose output is folded and rotated (XSL-RR). A row's state is four
integers of 64 bits, the upper and the lower half of the state and of its increment.

Gymnasium's environments draw from this generator, so that a task that is to have their episodes has to as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_envs.tasks.car_racing.compiled import inner, kernel

__all__ = ["seed_generators", "uniform_between"]

_UPPER, _LOWER = np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645)
"""The two halves of the multiplier."""

_HALF = np.uint64(0xFFFFFFFF)
_S11, _S32, _S58, _S63 = (np.uint64(shift) for shift in (11, 32, 58, 63))
_ONE = np.uint64(1)


def seed_generators(generator: NDArray[np.int64], rows: NDArray[np.int64], seeds: Sequence[int]) -> None:
    """Puts ``rows`` of ``generator`` (int64 ``[B, 4]``) where ``gymnasium.utils.seeding.np_random(seed)`` begins."""
    words = generator.view(np.uint64)
    for row, seed in zip(rows, seeds, strict=True):
        found: Any = np.random.PCG64(np.random.SeedSequence(seed)).state["state"]
        for column, number in enumerate((found["state"], found["inc"])):
            words[row, 2 * column] = number >> 64
            words[row, 2 * column + 1] = number & (2**64 - 1)


@inner
def _upper_product(one: Any, other: Any) -> Any:
    """The upper 64 bits of the product of two numbers of 64 bits."""
    one_low, one_high, low, high = one & _HALF, one >> _S32, other & _HALF, other >> _S32
    middle = one_high * low + ((one_low * low) >> _S32)
    return one_high * high + (middle >> _S32) + ((one_low * high + (middle & _HALF)) >> _S32)


@kernel
def uniform_between(generator: Any, row: int, low: float, high: float) -> float:
    """The next number of a row in [low, high): ``Generator.uniform(low, high)``, to the bit.

    Args:
        generator: uint64 ``[B, 4]``.
        row: Which one.
        low: The smallest number.
        high: What is never reached.
    """
    upper, lower = generator[row, 0], generator[row, 1]
    upper = upper * _LOWER + lower * _UPPER + _upper_product(lower, _LOWER)
    lower = lower * _LOWER
    total = lower + generator[row, 3]
    upper = upper + generator[row, 2] + (_ONE if total < lower else np.uint64(0))
    generator[row, 0], generator[row, 1] = upper, total
    folded, turn = upper ^ total, upper >> _S58
    bits = (folded >> turn) | (folded << ((np.uint64(64) - turn) & _S63))
    return low + (high - low) * (np.float64(bits >> _S11) * 2.0**-53)
