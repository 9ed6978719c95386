"""Exact full-width search in the tables of a tabular world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from imagine_envs.world_models.tabular import Tables, expected

__all__ = ["expectimax"]


def expectimax(
    tables: Tables, states: Tensor, value: Callable[[Tensor], Tensor], *, depth: int, gamma: float
) -> Tensor:
    """Q_depth of all actions, with the counts as probabilities; an untried pair stays where it is, without a reward.

    All ways that lead to a state at the same depth share what follows it, so the work is that of ``depth`` sweeps over
    the states within reach, whatever the number of ways.

    Args:
        tables: The model.
        states: int64 ``[B]``.
        value: From states int64 ``[N]`` to what they are worth, float64 ``[N]``.
        depth: Steps to look ahead, at least 1.
        gamma: γ.

    Returns:
        float64 ``[B, A]``.
    """
    roots = states.cpu().numpy()
    levels = [np.unique(roots)]
    for _ in range(depth):
        levels.append(_successors(tables, levels[-1]))
    values = np.zeros(len(tables.head))
    values[levels[-1]] = value(torch.from_numpy(levels[-1])).numpy()
    for level in levels[-2:0:-1]:
        values[level] = _action_values(tables, values, gamma, level).max(1)
    return torch.from_numpy(_action_values(tables, values, gamma, roots)).to(states.device)


@njit(cache=True)
def _successors(tables: Any, level: Any) -> NDArray[np.int64]:
    """The states that one step from those of ``level`` may lead to, sorted."""
    size, actions, slots = tables.count.shape
    reached = np.zeros(size, np.bool_)
    for state in level:
        for action in range(actions):
            if tables.count[state, action, 0] == 0:
                reached[state] = True
            for k in range(slots):
                if tables.count[state, action, k] > 0 and not tables.terminated[state, action, k]:
                    reached[tables.successor[state, action, k]] = True
    return np.flatnonzero(reached)


@njit(cache=True)
def _action_values(tables: Any, values: Any, gamma: float, level: Any) -> NDArray[np.float64]:
    actions = tables.count.shape[1]
    result = np.empty((len(level), actions))
    for place in range(len(level)):
        for action in range(actions):
            result[place, action] = expected(tables, values, gamma, level[place], action)
    return result
