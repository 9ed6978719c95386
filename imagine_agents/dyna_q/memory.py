"""What Dyna-Q knows besides its model of the world, as arrays that kernels change in place."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imagine_agents.dyna_q.policies import TabularPolicy

__all__ = ["ACTING", "BACKUPS", "CLOCK", "IMAGINED", "PLANNING", "Memory", "MemoryBuffers", "Settings"]

CLOCK, BACKUPS, IMAGINED = range(3)
"""Entries of :attr:`Memory.counters`."""

ACTING, PLANNING = range(2)
"""Rows of :attr:`Memory.random`: planning more or less does not change what is explored."""


class Memory(NamedTuple):
    """S states, A actions, P = S · A pairs; a pair's number is ``state * A + action``.

    Arrays that an agent has no use for are empty.

    Attributes:
        values: Q, float64 ``[S, A]``, the policy's.
        preferences: H, float64 ``[S, A]``, the policy's; with ``exploration="gradient_bandit"``.
        baseline: R̄, float64 ``[S]``; likewise.
        visits: int64 ``[S]``, how many numbers each R̄ is the mean of; likewise.
        last_tried: int64 ``[S, A]``, the clock when the pair was last tried really, or when it began to be noted (0, if
            that was from the beginning) where it was not tried since; with an exploration bonus.
        starts: int64 ``[S]``, the states in which real episodes have begun, in the order of the first time.
        num_starts: int64 ``[1]``, how many of them there are.
        is_start: bool ``[S]``.
        simulated: int64 ``[1]``, where the simulated trajectory stands, −1 where a new one is to begin.
        heap: int64 ``[P]``, pairs, the most urgent one first (a binary heap); with prioritized sweeping.
        place: int64 ``[P]``, where in the heap a pair is, −1 if it is not; likewise.
        priority: float64 ``[P]``, of the pairs that are in it; likewise.
        queued: int64 ``[1]``, how many of them there are.
        counters: int64 ``[3]``: real steps taken, backups of a value, those of them from imagined steps.
        random: uint64 ``[2]``, the random numbers to come of acting and of planning.
    """

    values: NDArray[np.float64]
    preferences: NDArray[np.float64]
    baseline: NDArray[np.float64]
    visits: NDArray[np.int64]
    last_tried: NDArray[np.int64]
    starts: NDArray[np.int64]
    num_starts: NDArray[np.int64]
    is_start: NDArray[np.bool_]
    simulated: NDArray[np.int64]
    heap: NDArray[np.int64]
    place: NDArray[np.int64]
    priority: NDArray[np.float64]
    queued: NDArray[np.int64]
    counters: NDArray[np.int64]
    random: NDArray[np.uint64]


class Settings(NamedTuple):
    """What kernels are told of an agent's arguments.

    Attributes:
        learning_rate: α.
        gamma: γ.
        epsilon: ε.
        bonus: κ.
        threshold: θ.
        preference_rate: α of the preferences.
        planning_steps: n.
        search: An entry of :data:`~imagine_agents.dyna_q.kernels.SEARCHES`.
        expected: Whether planning makes expected backups.
        stochastic: Whether the model counts outcomes.
        bandit: Whether a gradient bandit explores.
    """

    learning_rate: float
    gamma: float
    epsilon: float
    bonus: float
    threshold: float
    preference_rate: float
    planning_steps: int
    search: int
    expected: bool
    stochastic: bool
    bandit: bool


class MemoryBuffers(nn.Module):
    """The tensors behind a :class:`Memory`, but for those of the policy.

    Args:
        states: S.
        actions: A.
    """

    is_start: Tensor
    last_tried: Tensor
    heap: Tensor
    baseline: Tensor
    queued: Tensor
    counters: Tensor
    random: Tensor

    def __init__(self, states: int, actions: int) -> None:
        super().__init__()
        self._shape = states, actions
        self._put(
            baseline=np.zeros(0),
            visits=np.zeros(0, np.int64),
            last_tried=np.zeros((0, 0), np.int64),
            starts=np.zeros(states, np.int64),
            num_starts=np.zeros(1, np.int64),
            is_start=np.zeros(states, np.bool_),
            simulated=np.full(1, -1, np.int64),
            heap=np.zeros(0, np.int64),
            place=np.zeros(0, np.int64),
            priority=np.zeros(0),
            queued=np.zeros(1, np.int64),
            counters=np.zeros(3, np.int64),
            random=np.zeros(2, np.int64),  # torch cannot do much with uint64
        )

    def provide(self, *, bonus: bool, prioritized: bool, bandit: bool) -> None:
        """Makes the arrays that are needed now and are still empty; what they tell of begins now.

        Args:
            bonus: Whether there is an exploration bonus.
            prioritized: Whether there is a queue.
            bandit: Whether a gradient bandit explores.
        """
        states, actions = self._shape
        if bonus and not len(self.last_tried):
            self._put(last_tried=np.full(self._shape, int(self.counters[CLOCK]), np.int64))
        if prioritized and not len(self.heap):
            pairs = states * actions
            self._put(heap=np.zeros(pairs, np.int64), place=np.full(pairs, -1, np.int64), priority=np.zeros(pairs))
        if bandit and not len(self.baseline):
            self._put(baseline=np.zeros(states), visits=np.zeros(states, np.int64))

    def _put(self, **arrays: NDArray[Any]) -> None:
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array))

    def with_policy(self, policy: TabularPolicy) -> Memory:
        """Views of the tensors and of those of ``policy``, to learn with in place."""
        views = {name: buffer.numpy() for name, buffer in self.named_buffers()}
        views["random"] = views["random"].view(np.uint64)
        q_table, preferences = policy.q_table.detach().numpy(), np.zeros((0, 0))
        if policy.preferences is not None:
            preferences = policy.preferences.detach().numpy()
        return Memory(values=q_table, preferences=preferences, **views)
