"""Acting, learning and planning of Dyna-Q, without a Python call for each of them (numba).

``memory`` is a :class:`~imagine_agents.dyna_q.memory.Memory`, ``tables`` a
:class:`~imagine_envs.world_models.tabular.Tables`, ``settings`` a :class:`~imagine_agents.dyna_q.memory.Settings`.
Equations are those of Sutton & Barto, "Reinforcement Learning: An Introduction" (2nd edition).
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
def act(
    values: Any,
    preferences: Any,
    actions: Any,
    random: Any,
    epsilon: float,
    bandit: bool,
    state: Any,
    action: Any,
) -> None:
    """Chooses real actions: writes them into ``action`` ``[N]`` for the states ``[N]``.

    The arrays are those of a Memory and of Tables; handing them over one by one takes a tenth of the time.
    """
    for row in range(len(state)):
        action[row] = _choose(values, preferences, actions, random, ACTING, state[row], -1, epsilon, bandit)


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
                memory.priority, memory.queued, tables.next, settings.gamma, settings.threshold,
                (s * values.shape[1] + a) * tables.count.shape[2], False,
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
    values: Any,
    preferences: Any,
    actions: Any,
    random: Any,
    stream: int,
    state: int,
    known: int,
    epsilon: float,
    bandit: bool,
) -> int:
    """An action of the policy, by two random numbers whatever the policy.

    ``known`` says how many of ``actions`` ``[state]`` there are to choose from; −1: all that exist.
    """
    count = values.shape[1] if known < 0 else known
    explores, pick = uniform(random, stream), uniform(random, stream)
    i = 0
    if bandit:
        # Pr{A = a} = exp H(a) / Σ_b exp H(b); section 2.8
        highest, total = -np.inf, 0.0
        for j in range(count):
            highest = max(highest, preferences[state, j if known < 0 else actions[state, j]])
        for j in range(count):
            total += math.exp(preferences[state, j if known < 0 else actions[state, j]] - highest)
        remaining = pick * total
        while i < count - 1:
            remaining -= math.exp(preferences[state, i if known < 0 else actions[state, i]] - highest)
            if remaining < 0:
                break
            i += 1
    elif explores < epsilon:
        i = int(pick * count)
    else:
        best, ties = -np.inf, 0
        for j in range(count):
            value = values[state, j if known < 0 else actions[state, j]]
            if value > best:
                best, ties = value, 1
            elif value == best:
                ties += 1
        nth = int(pick * ties)
        for j in range(count):
            if values[state, j if known < 0 else actions[state, j]] == best:
                i = j
                if nth == 0:
                    break
                nth -= 1
    return i if known < 0 else actions[state, i]


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


# --- planning ---------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def plan(memory: Any, tables: Any, settings: Any, steps: int) -> None:
    """Makes ``steps`` backups of imagined steps; fewer where the queue of prioritized sweeping runs empty."""
    values, preferences, random = memory.values, memory.preferences, memory.random
    clock, last_tried, starts, num_starts = memory.counters[CLOCK], memory.last_tried, memory.starts, memory.num_starts
    heap, place, priority, queued = memory.heap, memory.place, memory.priority, memory.queued
    successor, count, reward, terminated = tables.successor, tables.count, tables.reward, tables.terminated
    head, following = tables.head, tables.next
    states, num_states, actions, num_actions = tables.states, tables.num_states[0], tables.actions, tables.num_actions
    alpha, gamma, kappa, epsilon = settings.learning_rate, settings.gamma, settings.bonus, settings.epsilon
    search, expected, stochastic, bandit = settings.search, settings.expected, settings.stochastic, settings.bandit
    choices, slots = count.shape[1], count.shape[2]
    draws = stochastic and (search == _TRAJECTORY or not expected)
    simulated, done = memory.simulated[0], 0
    while done < steps and num_states > 0:
        if search == _UNIFORM:
            # Section 8.2: a random state that was seen, and a random action that was taken there; with a bonus it may
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
                if num_starts[0] > 0:
                    simulated = starts[below(random, PLANNING, num_starts[0])]
                else:
                    simulated = states[below(random, PLANNING, num_states)]
            state = simulated
            known = -1 if kappa > 0 else num_actions[state]
            action = _choose(values, preferences, actions, random, PLANNING, state, known, epsilon, bandit)
        elif queued[0] > 0:  # section 8.4
            state, action = divmod(pop(heap, place, priority, queued), choices)
        else:
            break

        # κ √τ, τ the real steps since the pair was tried (since the beginning, if it never was); section 8.3
        bonus = kappa * math.sqrt(clock - last_tried[state, action]) if kappa > 0 else 0.0
        # One outcome: R + γ max_a Q(S', a); or all of them: Σ p(r, s') [r + γ max_a Q(s', a)] (section 8.5). A pair
        # that was never tried has none: it stays where it is, without a reward. (The same as in `_insert`; handed
        # over to a function, the five arrays would take longer to be counted than the backup takes.)
        drawn = _drawn(count, random, state, action) if draws else 0
        begin, end = (0, slots) if expected else (drawn, drawn + 1)
        total, target = 0, 0.0
        for k in range(begin, end):
            if count[state, action, k] == 0:
                break
            outcome = reward[state, action, k]
            if not terminated[state, action, k]:
                outcome += gamma * _best(values, successor[state, action, k])
            weight = count[state, action, k] if expected else 1
            target += weight * outcome
            total += weight
        target = bonus + (target / total if total > 0 else gamma * _best(values, state))
        # Q(S, A) ← Q(S, A) + α [target − Q(S, A)]
        values[state, action] += alpha * (target - values[state, action])
        done += 1

        if search == _TRAJECTORY:
            if total > 0:
                simulated = -1 if terminated[state, action, drawn] else successor[state, action, drawn]
        elif search == _PRIORITIZED:
            # Loop for all S̄, Ā predicted to lead to S
            _insert(
                values, successor, count, reward, terminated, heap, place, priority, queued, following, gamma,
                settings.threshold, head[state], True,
            )  # fmt: skip
    memory.simulated[0] = simulated
    memory.counters[BACKUPS] += done
    memory.counters[IMAGINED] += done


@njit(cache=True, nogil=True)
def _best(values: Any, state: int) -> float:
    """max_a Q(state, a)."""
    best = values[state, 0]
    for a in range(1, values.shape[1]):
        best = max(best, values[state, a])
    return best


@njit(cache=True, nogil=True)
def _drawn(count: Any, random: Any, state: int, action: int) -> int:
    """The slot of one of the pair's outcomes, each as likely as its count; 0 if the pair was never tried."""
    slots, total = count.shape[2], 0
    for k in range(slots):
        total += count[state, action, k]
    remaining, slot = uniform(random, PLANNING) * total - count[state, action, 0], 0
    while remaining >= 0 and slot + 1 < slots and count[state, action, slot + 1] > 0:
        slot += 1
        remaining -= count[state, action, slot]
    return slot


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
    following: Any,
    gamma: float,
    threshold: float,
    slot: int,
    all_of_list: bool,
) -> None:
    """if P > θ then insert S, A with priority P = |Σ p(r, s') [r + γ max_a Q(s', a)] − Q(S, A)|.

    With one outcome that is |R + γ max_a Q(S', a) − Q(S, A)|, as the book has it; among several, what has changed in
    one of them counts by its probability.

    S, A is the pair that ``slot`` belongs to, and those of all slots that come after it in its list of predecessors
    where ``all_of_list``; it may be −1.
    """
    choices, slots = count.shape[1], count.shape[2]
    while slot >= 0:
        pair = slot // slots
        state, action = divmod(pair, choices)
        total, target = 0, 0.0
        for k in range(slots):
            if count[state, action, k] == 0:
                break
            outcome = reward[state, action, k]
            if not terminated[state, action, k]:
                outcome += gamma * _best(values, successor[state, action, k])
            target += count[state, action, k] * outcome
            total += count[state, action, k]
        change = abs(target / max(total, 1) - values[state, action])
        if change > threshold:
            push(heap, place, priority, queued, pair, change)
        slot = following[slot] if all_of_list else -1
