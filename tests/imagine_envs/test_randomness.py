"""The random numbers of rows."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from reference_random import ReferenceRandom

from imagine_envs.tasks.randomness import below, seed_rows, uniform


@njit
def draws(random, count, steps):
    numbers, shares = np.empty((len(random), steps), np.int64), np.empty((len(random), steps))
    for row in range(len(random)):
        for step in range(steps):
            numbers[row, step] = below(random, row, count)
            shares[row, step] = uniform(random, row)
    return numbers, shares


def test_the_reference_is_splitmix64() -> None:
    # The numbers that the algorithm's public implementations give for the state 1234567.
    random = ReferenceRandom(0)
    random.state = 1234567
    assert [random.bits() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_rows_draw_what_the_reference_draws_and_only_from_their_own_seed() -> None:
    seeds = [0, 1, 2, 2**64 - 1, 77]
    state = np.full(6, 5, np.int64)
    seed_rows(state, np.array([0, 1, 2, 3, 5]), np.array(seeds, np.uint64))
    assert state[4] == 5
    numbers, shares = draws(state.view(np.uint64), 7, 50)
    for row, seed in zip([0, 1, 2, 3, 5], seeds, strict=True):
        random = ReferenceRandom(seed)
        for step in range(50):
            assert numbers[row, step] == random.below(7)
            assert shares[row, step] == random.uniform()
        assert int(state[row]) % 2**64 == random.state


@pytest.mark.parametrize("count", [1, 2, 7, 171])
def test_numbers_are_spread_evenly_within_and_between_rows(count: int) -> None:
    state = np.zeros(2_000, np.int64)
    seed_rows(state, np.arange(2_000), np.arange(2_000).astype(np.uint64))
    numbers, shares = draws(state.view(np.uint64), count, 50)
    assert (numbers.min(), numbers.max()) == (0, count - 1)
    for found in (numbers.reshape(-1), numbers[:, 0]):  # the first draws of neighbouring seeds too
        frequency = np.bincount(found, minlength=count)
        expected = len(found) / count
        assert ((frequency - expected) ** 2 / expected).sum() < count + 5 * np.sqrt(2 * count)
    assert abs(shares.mean() - 0.5) < 5 * np.sqrt(1 / 12 / shares.size)
    assert abs(np.corrcoef(shares[:-1, 0], shares[1:, 0])[0, 1]) < 5 / np.sqrt(2_000)
    assert shares.min() >= 0
    assert shares.max() < 1
