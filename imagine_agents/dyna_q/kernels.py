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
from imagine_agents.dyna_q.queue import pop, rise
from imagine_envs.tasks.randomness import below, uniform
from imagine_envs.world_models.tabular import draw, learn

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
        if memory.last_tried.size:  # a bonus that is turned off for a while misses nothing
            memory.last_tried[s, a] = counters[CLOCK]
        if first[row] and not memory.is_start[s]:
            memory.is_start[s] = True
            memory.starts[memory.num_starts[0]] = s
            memory.num_starts[0] += 1
        target = r if end else r + settings.gamma * _best(values, s2)
        if settings.bandit:
            _prefer(memory.preferences[s], memory.baseline, memory.visits, s, a, target, settings.preference_rate)
        if settings.search == _PRIORITIZED:
            _sweep(memory, tables, settings, settings.planning_steps, s * values.shape[1] + a)
            continue
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
    if settings.search == _PRIORITIZED:
        _sweep(memory, tables, settings, steps, -1)
    elif tables.num_states[0] > 0:
        _wander(memory, tables, settings, steps)


@njit(cache=True, nogil=True, error_model="numpy")
def _wander(memory: Any, tables: Any, settings: Any, steps: int) -> None:
    """Plans where nothing says what is urgent: uniformly (section 8.2) or along trajectories (section 8.6)."""
    values, preferences, random = memory.values, memory.preferences, memory.random
    clock, last_tried, starts, num_starts = memory.counters[CLOCK], memory.last_tried, memory.starts, memory.num_starts
    successor, count, reward, terminated = tables.successor, tables.count, tables.reward, tables.terminated
    states, num_states, actions, num_actions = tables.states, tables.num_states[0], tables.actions, tables.num_actions
    alpha, gamma, kappa, epsilon = settings.learning_rate, settings.gamma, settings.bonus, settings.epsilon
    search, expected, stochastic, bandit = settings.search, settings.expected, settings.stochastic, settings.bandit
    choices, slots = count.shape[1], count.shape[2]
    draws = stochastic and (search == _TRAJECTORY or not expected)
    simulated = memory.simulated[0]
    for _ in range(steps):
        if search == _UNIFORM:
            # A random state that was seen, and a random action that was taken there; with a bonus it may be any action
            # (section 8.3).
            state = states[below(random, PLANNING, num_states)]
            if kappa > 0:
                action = below(random, PLANNING, choices)
            else:
                action = actions[state, below(random, PLANNING, num_actions[state])]
        else:
            # What the policy meets in the model, from where real episodes begin to a termination; where nothing was
            # tried, a new trajectory begins.
            if simulated < 0 or num_actions[simulated] == 0:
                if num_starts[0] > 0:
                    simulated = starts[below(random, PLANNING, num_starts[0])]
                else:
                    simulated = states[below(random, PLANNING, num_states)]
            state = simulated
            known = -1 if kappa > 0 else num_actions[state]
            action = _choose(values, preferences, actions, random, PLANNING, state, known, epsilon, bandit)

        # κ √τ, τ the real steps since the pair was tried (since the beginning, if it never was); section 8.3
        bonus = kappa * math.sqrt(clock - last_tried[state, action]) if kappa > 0 else 0.0
        # One outcome: R + γ max_a Q(S', a); or all of them: Σ p(r, s') [r + γ max_a Q(s', a)] (section 8.5). A pair
        # that was never tried has none: it stays where it is, without a reward. (The same as in `_sweep`: a function
        # would be handed five arrays, whose references take longer to be counted than the backup takes.)
        drawn = _drawn(count, random, state, action) if draws else 0
        begin, end = (0, slots) if expected else (drawn, drawn + 1)
        total, target = 0, 0.0
        for k in range(begin, end):
            if count[state, action, k] == 0:
                break
            outcome = reward[state, action, k]
            if not terminated[state, action, k]:
                outcome += gamma * _best(values, successor[state, action, k])
            total += count[state, action, k]
            target += (outcome - target) * (count[state, action, k] / total)  # exact where there is only one
        target = bonus + (target if total > 0 else gamma * _best(values, state))
        # Q(S, A) ← Q(S, A) + α [target − Q(S, A)]
        values[state, action] += alpha * (target - values[state, action])
        if search == _TRAJECTORY and total > 0:
            simulated = -1 if terminated[state, action, drawn] else successor[state, action, drawn]
    memory.simulated[0] = simulated
    memory.counters[BACKUPS] += steps
    memory.counters[IMAGINED] += steps


@njit(cache=True, nogil=True, error_model="numpy")
def _sweep(memory: Any, tables: Any, settings: Any, steps: int, pair: int) -> None:
    """Prioritized sweeping (section 8.4), beginning with the pair of the real step that was taken (−1: with none).

    One loop does two things to a pair, which begin in the same way. A pair from the queue is backed up; that one, and
    those from which the model leads to what was backed up, are put into the queue if P > θ. P is how much a backup
    would change: |Σ p(r, s') [r + γ max_a Q(s', a)] − Q(S, A)|. With one outcome that is the book's
    |R + γ max_a Q(S', a) − Q(S, A)|; among several, what has changed in one of them counts by its probability.
    """
    values, random = memory.values, memory.random
    heap, place, priority, queued = memory.heap, memory.place, memory.priority, memory.queued
    head, following = tables.head, tables.next
    alpha, gamma, threshold = settings.learning_rate, settings.gamma, settings.threshold
    choices, slots = values.shape[1], tables.count.shape[2]
    samples = settings.stochastic and not settings.expected
    # By the numbers of pairs and slots, since it takes long to divide them.
    value, count, successor = values.reshape(-1), tables.count.reshape(-1), tables.successor.reshape(-1)
    reward, terminated = tables.reward.reshape(-1), tables.terminated.reshape(-1)
    slot, from_queue, done = -1, False, 0
    while True:
        if pair < 0:
            if done == steps or queued[0] == 0:
                break
            pair, from_queue = pop(heap, place, priority, queued), True
        begin, end = pair * slots, (pair + 1) * slots
        if from_queue and samples:
            begin += _drawn(tables.count, random, pair // choices, pair % choices)
            end = begin + 1
        total, target = 0, 0.0
        for k in range(begin, end):
            if count[k] == 0:
                break
            outcome = reward[k]
            if not terminated[k]:
                outcome += gamma * _best(values, successor[k])
            total += count[k]
            target += (outcome - target) * (count[k] / total)
        if from_queue:
            # Q(S, A) ← Q(S, A) + α [target − Q(S, A)]; then all S̄, Ā predicted to lead to S
            value[pair] += alpha * (target - value[pair])
            done += 1
            slot, from_queue = head[pair // choices], False
        else:
            change, here = abs(target - value[pair]), place[pair]
            if change > threshold and (here < 0 or change > priority[pair]):
                # If it is in the queue, only the higher priority remains.
                if here < 0:
                    here = queued[0]
                    queued[0] += 1
                priority[pair] = change
                rise(heap, place, priority, here, pair)
        pair = -1
        if slot >= 0:
            pair = slot // slots if slots > 1 else slot
            slot = following[slot]
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
    return max(0, draw(count, state, action, uniform(random, PLANNING)))
