"""The tables of a tabular model, and the numba kernels that learn and read them in place."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Tables", "draw", "expected", "learn", "learn_all"]


class Tables(NamedTuple):
    """What was seen in a finite world of S states and A actions, up to K outcomes of each pair.

    C-contiguous arrays, views of a :class:`~imagine_envs.world_models.tabular.Tabular`'s buffers: kernels that take
    this tuple change the model. An outcome is a successor together with whether the episode terminated there. A slot
    is a place for an outcome; its flat number is ``(state * A + action) * K + k``. The used slots of a pair come
    first, in the order in which their outcomes were first seen.

    Attributes:
        successor: int64 ``[S, A, K]``. A terminal outcome has one too (what was last seen), which is never to be
            bootstrapped from.
        count: int64 ``[S, A, K]``, how often the outcome was received; 0 is an empty slot. A last-outcome model counts
            from when the outcome last changed.
        reward: float64 ``[S, A, K]``, the mean of what was received with the outcome; the last one in a last-outcome
            model.
        terminated: bool ``[S, A, K]``.
        head: int64 ``[S]``, the first slot from which the world goes on in this state, −1 if there is none. Terminal
            outcomes are not in the lists, since no value flows back through them.
        next: int64 ``[S · A · K]``, the next slot with the same successor, −1 at the end; undefined outside the lists.
        previous: int64 ``[S · A · K]``, the one before, −1 at the head; undefined outside the lists.
        states: int64 ``[S]``, the states in which something was tried, in the order of the first time.
        num_states: int64 ``[1]``, how many of them there are.
        actions: int64 ``[S, A]``, the actions tried in each state, in the order of the first time.
        num_actions: int64 ``[S]``, how many of them there are.
    """

    successor: NDArray[np.int64]
    count: NDArray[np.int64]  # type: ignore[assignment]  # tuples have a method of that name
    reward: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    head: NDArray[np.int64]
    next: NDArray[np.int64]
    previous: NDArray[np.int64]
    states: NDArray[np.int64]
    num_states: NDArray[np.int64]
    actions: NDArray[np.int64]
    num_actions: NDArray[np.int64]


@njit(cache=True)
def learn(
    tables: Any, stochastic: bool, state: int, action: int, reward: float, successor: int, terminated: bool
) -> bool:
    """Notes one real step, in constant time (and in that of K comparisons, if ``stochastic``).

    Args:
        tables: :class:`Tables`, changed in place.
        stochastic: Whether each distinct outcome is counted, or the last one replaces all before it.
        state: Where the step began, 0 to S − 1; no bounds are checked.
        action: What was done, 0 to A − 1.
        reward: What was received.
        successor: Where it led.
        terminated: Whether the episode terminated there.

    Returns:
        False if the outcome is a new one and all K slots are taken: nothing was changed, see
        :meth:`~imagine_envs.world_models.tabular.Tabular.grow`. A last-outcome model always has room.
    """
    slots, k = tables.count.shape[2], 0
    untried = tables.count[state, action, 0] == 0
    if stochastic:
        while k < slots and tables.count[state, action, k] > 0:
            if _is(tables, state, action, k, successor, terminated):
                break
            k += 1
        if k == slots:
            return False
    elif not untried and not _is(tables, state, action, 0, successor, terminated):
        _unlink(tables, state, action)
        tables.count[state, action, 0] = 0

    if untried:
        if tables.num_actions[state] == 0:
            tables.states[tables.num_states[0]] = state
            tables.num_states[0] += 1
        tables.actions[state, tables.num_actions[state]] = action
        tables.num_actions[state] += 1
    if tables.count[state, action, k] == 0:
        tables.successor[state, action, k] = successor
        tables.terminated[state, action, k] = terminated
        if not terminated:
            _link(tables, state, action, k, successor)
    tables.count[state, action, k] += 1
    if stochastic:
        tables.reward[state, action, k] += (reward - tables.reward[state, action, k]) / tables.count[state, action, k]
    else:
        tables.reward[state, action, k] = reward
    return True


@njit(cache=True)
def learn_all(
    tables: Any, stochastic: bool, state: Any, action: Any, reward: Any, successor: Any, terminated: Any, begin: int
) -> int:
    """Notes the steps from number ``begin`` on, ``[N]`` each, in their order.

    Returns:
        The number of the first step for which there is no room (see :func:`learn`), N if all were noted.
    """
    for step in range(begin, len(state)):
        if not learn(tables, stochastic, state[step], action[step], reward[step], successor[step], terminated[step]):
            return step
    return len(state)


@njit(cache=True)
def draw(count: Any, state: int, action: int, uniform: float) -> int:
    """One of the pair's outcomes, each as likely as its count.

    Args:
        count: That of :class:`Tables`.
        state: 0 to S − 1.
        action: 0 to A − 1.
        uniform: A random number in [0, 1).

    Returns:
        The outcome's slot k, −1 if the pair was never tried.
    """
    slots, total = count.shape[2], 0
    for k in range(slots):
        total += count[state, action, k]
    below, last = uniform * total, -1
    for k in range(slots):
        if count[state, action, k] == 0:
            break
        last = k
        below -= count[state, action, k]
        if below < 0:
            break
    return last


@njit(cache=True)
def expected(tables: Any, values: Any, gamma: float, state: int, action: int) -> float:
    """The expected backup Σ p(r + γ v(s')), p by the counts and v(s') 0 where the episode ended.

    An untried pair stays where it is, without a reward (Dyna-Q+; Sutton & Barto, section 8.3).

    Args:
        tables: :class:`Tables`.
        values: v, float ``[S]``.
        gamma: γ.
        state: 0 to S − 1.
        action: 0 to A − 1.
    """
    total, value = 0, 0.0
    for k in range(tables.count.shape[2]):
        count = tables.count[state, action, k]
        if count == 0:
            break
        outcome = tables.reward[state, action, k]
        if not tables.terminated[state, action, k]:
            outcome += gamma * values[tables.successor[state, action, k]]
        total += count
        value += count * outcome
    return value / total if total else gamma * values[state]


@njit(cache=True)
def _is(tables: Any, state: int, action: int, k: int, successor: int, terminated: bool) -> bool:
    return tables.successor[state, action, k] == successor and tables.terminated[state, action, k] == terminated


@njit(cache=True)
def _link(tables: Any, state: int, action: int, k: int, successor: int) -> None:
    """Puts a slot at the head of its successor's list."""
    slot = (state * tables.count.shape[1] + action) * tables.count.shape[2] + k
    old = tables.head[successor]
    tables.head[successor] = slot
    tables.previous[slot] = -1
    tables.next[slot] = old
    if old >= 0:
        tables.previous[old] = slot


@njit(cache=True)
def _unlink(tables: Any, state: int, action: int) -> None:
    """Takes a last-outcome model's only slot out of the list that it is in, if it is in one."""
    if tables.terminated[state, action, 0]:
        return
    slot = state * tables.count.shape[1] + action
    before, after = tables.previous[slot], tables.next[slot]
    if before >= 0:
        tables.next[before] = after
    else:
        tables.head[tables.successor[state, action, 0]] = after
    if after >= 0:
        tables.previous[after] = before
