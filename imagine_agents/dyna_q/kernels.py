"""Acting, learning and planning of Dyna-Q, without a Python call for each of them (numba).

``memory`` is a :class:`~imagine_agents.dyna_q.memory.Memory`, ``tables`` a
:class:`~imagine_envs.world_models.tabular.Tables`, ``settings`` a :class:`~imagine_agents.dyna_q.memory.Settings`.
What runs in every backup takes single arrays: numba counts the references of all arrays of a tuple whenever it is
handed over. Equations are those of Sutton & Barto, "Reinforcement Learning: An Introduction"
(2nd edition).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from imagine_agents.dyna_q.memory import ACTING, BACKUPS, CLOCK, IMAGINED, PLANNING
from imagine_agents.dyna_q.queue import pop, push
from imagine_envs.tasks.randomness import below, uniform
from imagine_envs.world_models.tabular import learn

__all__ = ["SEARCHES", "act", "plan", "step"]

SEARCHES = {"uniform": 0, "trajectory": 1, "prioritized": 2}
"""Name of a search control → its number in :class:`~imagine_agents.dyna_q.memory.Settings`."""

_UNIFORM, _TRAJECTORY, _PRIORITIZED = SEARCHES.values()


# --- real steps -------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def act(values: Any, preferences: Any, random: Any, epsilon: float, bandit: bool, state: Any, action: Any) -> None:
    """Chooses real actions: writes them into ``action`` ``[N]`` for the states ``[N]``; the rest is Memory's."""
    everything = np.arange(values.shape[1])
    for row in range(len(state)):
        s = state[row]
        action[row] = _choose(
            values[s], preferences[s] if bandit else values[s], everything, random, ACTING, epsilon, bandit
        )


@njit(cache=True, nogil=True)
def step(
    memory: Any,
    tables: Any,
    settings: Any,
    state: Any,
    action: Any,
    reward: Any,
    successor: Any,
    terminated: Any,
    first: Any,
    begin: int,
) -> int:
    """Learns from real steps ``[N]`` of N environments, one after the other, and plans after each of them.

    Args:
        memory: Changed in place.
        tables: Changed in place.
        settings: Of the agent.
        state: int64 ``[N]``.
        action: int64 ``[N]``, from 0.
        reward: float64 ``[N]``.
        successor: int64 ``[N]``, where the step led, which need not be where the next one begins.
        terminated: bool ``[N]``, where there is no value to come (not where a time limit struck).
        first: bool ``[N]``, where an episode began with this step.
        begin: The first row to learn from.

    Returns:
        The first row for which the model has no room (nothing was learned from it), N if all were learned from;
        −1 if a successor is none of the states or a reward not finite, where nothing was learned from any.
    """
    values, counters = memory.values, memory.counters
    for row in range(len(state)):
        if not (0 <= successor[row] < len(values) and math.isfinite(reward[row])):
            return -1
    for row in range(begin, len(state)):
        s, a, r, s2, end = state[row], action[row], reward[row], successor[row], terminated[row]
        if not learn(tables, settings.stochastic, s, a, r, s2, end):
            return row
        counters[CLOCK] += 1
        if settings.bonus > 0:
            memory.last_tried[s, a] = counters[CLOCK]
        if first[row] and not memory.is_start[s]:
            memory.is_start[s] = True
            memory.starts[memory.num_starts[0]] = s
            memory.num_starts[0] += 1
        target = r if end else r + settings.gamma * _best(values, s2)
        if settings.bandit:
            _prefer(memory.preferences[s], memory.baseline, memory.visits, s, a, target, settings.preference_rate)
        if settings.search == _PRIORITIZED:
            _insert(
                values, tables.successor, tables.count, tables.reward, tables.terminated, memory.heap, memory.place,
                memory.priority, memory.queued, settings.gamma, settings.threshold, s, a,
            )  # fmt: skip
        else:
            # Q(S, A) ← Q(S, A) + α [R + γ max_a Q(S', a) − Q(S, A)]
            values[s, a] += settings.learning_rate * (target - values[s, a])
            counters[BACKUPS] += 1
        if settings.planning_steps:
            plan(memory, tables, settings, settings.planning_steps)
    return len(state)


@njit(cache=True, nogil=True)
def _choose(
    values: Any, preferences: Any, candidates: Any, random: Any, stream: int, epsilon: float, bandit: bool
) -> int:
    """One of the candidates ``[C]``, by two random numbers whatever the policy; values and preferences ``[A]``."""
    count = len(candidates)
    explores, pick = uniform(random, stream), uniform(random, stream)
    if bandit:
        # Pr{A = a} = exp H(a) / Σ_b exp H(b); section 2.8
        highest = -np.inf
        for a in candidates:
            highest = max(highest, preferences[a])
        total = 0.0
        for a in candidates:
            total += math.exp(preferences[a] - highest)
        remaining, i = pick * total, 0
        while i < count - 1:
            remaining -= math.exp(preferences[candidates[i]] - highest)
            if remaining < 0:
                break
            i += 1
        return candidates[i]
    if explores < epsilon:
        return candidates[int(pick * count)]
    best, ties = -np.inf, 0
    for a in candidates:
        if values[a] > best:
            best, ties = values[a], 1
        elif values[a] == best:
            ties += 1
    nth, chosen = int(pick * ties), candidates[0]
    for a in candidates:
        if values[a] == best:
            chosen = a
            if nth == 0:
                break
            nth -= 1
    return chosen


@njit(cache=True, nogil=True)
def _prefer(preferences: Any, baseline: Any, visits: Any, state: int, action: int, reward: float, rate: float) -> None:
    """H(a) ← H(a) + α (R − R̄)(1[a = A] − π(a)); equation 2.12, for the preferences ``[A]`` of one state.

    R̄ is the mean of what came before, and R itself the first time.
    """
    visits[state] += 1
    if visits[state] == 1:
        baseline[state] = reward
    advantage = reward - baseline[state]
    baseline[state] += advantage / visits[state]
    highest, total = preferences.max(), 0.0
    for a in range(len(preferences)):
        total += math.exp(preferences[a] - highest)
    for a in range(len(preferences)):
        probability = math.exp(preferences[a] - highest) / total
        preferences[a] += rate * advantage * ((1.0 if a == action else 0.0) - probability)


# --- backups ----------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _best(values: Any, state: int) -> float:
    """max_a Q(state, a)."""
    best = values[state, 0]
    for a in range(1, values.shape[1]):
        best = max(best, values[state, a])
    return best


@njit(cache=True, nogil=True)
def _drawn(count: Any, state: int, action: int, number: float) -> int:
    """The slot of one of the pair's outcomes, each as likely as its count; −1 if the pair was never tried."""
    slots, total = count.shape[2], 0
    for k in range(slots):
        total += count[state, action, k]
    remaining, last = number * total, -1
    for k in range(slots):
        if count[state, action, k] == 0:
            break
        last = k
        remaining -= count[state, action, k]
        if remaining < 0:
            break
    return last


@njit(cache=True, nogil=True)
def _sampled(
    values: Any, successor: Any, reward: Any, terminated: Any, gamma: float, state: int, action: int, k: int
) -> float:
    """R + γ max_a Q(S', a) of outcome k; a pair that was never tried (−1) stays where it is, without a reward."""
    if k < 0:
        return gamma * _best(values, state)
    if terminated[state, action, k]:
        return reward[state, action, k]
    return reward[state, action, k] + gamma * _best(values, successor[state, action, k])


@njit(cache=True, nogil=True)
def _expected(
    values: Any, successor: Any, count: Any, reward: Any, terminated: Any, gamma: float, state: int, action: int
) -> float:
    """Σ p(r, s') [r + γ max_a Q(s', a)], p by the counts; section 8.5."""
    total, value = 0, 0.0
    for k in range(count.shape[2]):
        if count[state, action, k] == 0:
            break
        total += count[state, action, k]
        outcome = _sampled(values, successor, reward, terminated, gamma, state, action, k)
        value += count[state, action, k] * outcome
    return value / total if total else _sampled(values, successor, reward, terminated, gamma, state, action, -1)


# --- planning ---------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def plan(memory: Any, tables: Any, settings: Any, steps: int) -> None:
    """Makes ``steps`` backups of imagined steps; fewer where the queue of prioritized sweeping runs empty."""
    values, random, clock = memory.values, memory.random, memory.counters[CLOCK]
    last_tried, starts, num_starts = memory.last_tried, memory.starts, memory.num_starts[0]
    heap, place, priority, queued = memory.heap, memory.place, memory.priority, memory.queued
    successor, count, reward, terminated = tables.successor, tables.count, tables.reward, tables.terminated
    head, following = tables.head, tables.next
    states, num_states, actions, num_actions = tables.states, tables.num_states[0], tables.actions, tables.num_actions
    alpha, gamma, kappa = settings.learning_rate, settings.gamma, settings.bonus
    search, expected, stochastic = settings.search, settings.expected, settings.stochastic
    choices, slots = count.shape[1], count.shape[2]
    everything = np.arange(choices if kappa > 0 else 0)
    simulated, done = memory.simulated[0], 0
    while done < steps and num_states > 0:
        # Which pair?
        if search == _UNIFORM:
            # Section 8.2: a random state that was seen, and a random action that was taken there. With a bonus it may
            # be any action (section 8.3).
            state = states[below(random, PLANNING, num_states)]
            if kappa > 0:
                action = below(random, PLANNING, choices)
            else:
                action = actions[state, below(random, PLANNING, num_actions[state])]
        elif search == _TRAJECTORY:
            # Section 8.6: what the policy meets in the model, from where real episodes begin to a termination; where
            # nothing was tried, a new trajectory begins.
            if simulated < 0 or num_actions[simulated] == 0:
                if num_starts > 0:
                    simulated = starts[below(random, PLANNING, num_starts)]
                else:
                    simulated = states[below(random, PLANNING, num_states)]
            state = simulated
            candidates = everything if kappa > 0 else actions[state, : num_actions[state]]
            preferences = memory.preferences[state] if settings.bandit else values[state]
            action = _choose(
                values[state], preferences, candidates, random, PLANNING, settings.epsilon, settings.bandit
            )
        elif queued[0] == 0:
            break
        else:  # section 8.4
            state, action = divmod(pop(heap, place, priority, queued), choices)

        # What does the model say?
        k = 0 if count[state, action, 0] > 0 else -1
        if stochastic and (search == _TRAJECTORY or not expected):
            k = _drawn(count, state, action, uniform(random, PLANNING))
        if expected:
            target = _expected(values, successor, count, reward, terminated, gamma, state, action)
        else:
            target = _sampled(values, successor, reward, terminated, gamma, state, action, k)
        if kappa > 0:
            # κ √τ, τ the real steps since the pair was tried (since the beginning, if it never was); section 8.3
            target += kappa * math.sqrt(clock - last_tried[state, action])

        # Q(S, A) ← Q(S, A) + α [R + γ max_a Q(S', a) − Q(S, A)]
        values[state, action] += alpha * (target - values[state, action])
        done += 1

        if search == _TRAJECTORY:
            if k >= 0:
                simulated = -1 if terminated[state, action, k] else successor[state, action, k]
        elif search == _PRIORITIZED:
            # Loop for all S̄, Ā predicted to lead to S
            slot = head[state]
            while slot >= 0:
                before, led_here = divmod(slot // slots, choices)
                _insert(
                    values, successor, count, reward, terminated, heap, place, priority, queued, gamma,
                    settings.threshold, before, led_here,
                )  # fmt: skip
                slot = following[slot]
    memory.simulated[0] = simulated
    memory.counters[BACKUPS] += done
    memory.counters[IMAGINED] += done


@njit(cache=True, nogil=True)
def _insert(
    values: Any,
    successor: Any,
    count: Any,
    reward: Any,
    terminated: Any,
    heap: Any,
    place: Any,
    priority: Any,
    queued: Any,
    gamma: float,
    threshold: float,
    state: int,
    action: int,
) -> None:
    """if P > θ then insert (state, action) with priority P = |Σ p(r, s') [r + γ max_a Q(s', a)] − Q(state, action)|.

    With one outcome that is |R + γ max_a Q(S', a) − Q(S, A)|, as the book has it; among several, what has changed in
    one of them counts by its probability.
    """
    change = _expected(values, successor, count, reward, terminated, gamma, state, action) - values[state, action]
    if abs(change) > threshold:
        push(heap, place, priority, queued, state * values.shape[1] + action, abs(change))
