"""Dyna-Q on a table task without a Python call for each step: what ``DynaQ.learn`` does, step by step the same."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from imagine_agents.dyna_q import DynaQ, kernels
from imagine_agents.dyna_q.memory import BACKUPS
from imagine_envs.tasks import TaskEnv
from imagine_envs.tasks.mazes import TableTask

__all__ = ["Played", "agent_for", "play"]


class Played(NamedTuple):
    """What happened in T real steps.

    Attributes:
        reward: float64 ``[T]``.
        done: bool ``[T]``, where an episode ended.
        backups: The agent's backups until then, planned ones among them.
        solved: Whether it stopped because the greedy way from the start had become a shortest one.
    """

    reward: NDArray[np.float64]
    done: NDArray[np.bool_]
    backups: int
    solved: bool


def agent_for(task: TableTask, seed: int, **settings: Any) -> DynaQ:
    """An agent with constant ε that has taken no step yet."""
    epsilon = settings.pop("epsilon")
    return DynaQ(
        "TabularPolicy",
        TaskEnv(task),
        exploration_fraction=0.0,
        exploration_initial_eps=epsilon,
        exploration_final_eps=epsilon,
        seed=seed,
        **settings,
    )


def play(agent: DynaQ, task: TableTask, steps: int, *, episodes: int = 0, shortest: int = 0) -> Played:
    """Lets an agent that has taken no step yet learn from real steps, as ``agent.learn(steps)`` would.

    The values, the world and the counters of the agent are changed as there, SB3's own clocks are not.

    Args:
        agent: A new agent with constant learning rate and ε.
        task: Its task, whose steps are deterministic.
        steps: The most steps to take.
        episodes: Stops after so many episodes; 0 does not.
        shortest: Stops when the greedy way from the start has so many steps; 0 does not. Whether it has is looked up
            whenever the number of backups has grown by 1 %.

    Raises:
        ValueError: If chance has a part in the task.
    """
    if task.successors.shape[3] > 1 or task.termination > 0:
        raise ValueError(f"{type(task).__name__} is not deterministic")
    memory, tables, settings = agent.bound()
    reward, done = np.zeros(steps), np.zeros(steps, np.bool_)
    taken, solved = _play(
        memory,
        tables,
        settings,
        task.successors[..., 0],
        task.rewards[..., 0],
        task.terminal,
        task.switches,
        task.start,
        task.max_steps or 0,
        episodes,
        shortest,
        reward,
        done,
    )
    return Played(reward[:taken], done[:taken], agent.n_backups, bool(solved))


@njit(cache=True)
def _play(
    memory: Any,
    tables: Any,
    settings: Any,
    successors: Any,
    rewards: Any,
    terminal: Any,
    switches: Any,
    start: int,
    limit: int,
    episodes: int,
    shortest: int,
    reward: Any,
    done: Any,
) -> tuple[int, bool]:
    state, action, successor = np.full(1, start), np.zeros(1, np.int64), np.zeros(1, np.int64)
    earned, terminated, first = np.zeros(1), np.zeros(1, np.bool_), np.ones(1, np.bool_)
    variant, age, over, look = 0, 0, 0, 0
    for step in range(len(reward)):
        while variant < len(switches) and step >= switches[variant]:
            variant += 1
        kernels.act(
            memory.values,
            memory.preferences,
            tables.actions,
            memory.random,
            settings.epsilon,
            settings.bandit,
            state,
            action,
        )
        successor[0] = successors[variant, state[0], action[0]]
        earned[0] = rewards[variant, state[0], action[0]]
        terminated[0] = terminal[successor[0]]
        kernels.step(memory, tables, settings, state, action, earned, successor, terminated, first, 0)
        age += 1
        reward[step], done[step] = earned[0], terminated[0] or age == limit
        first[0] = done[step]
        state[0] = start if done[step] else successor[0]
        if done[step]:
            age, over = 0, over + 1
            if over == episodes:
                return step + 1, False
        if shortest and memory.counters[BACKUPS] >= look:
            look = memory.counters[BACKUPS] + 1 + memory.counters[BACKUPS] // 100
            if _is_shortest(memory.values, successors[variant], terminal, start, shortest):
                return step + 1, True
    return len(reward), False


@njit(cache=True)
def _is_shortest(values: Any, successors: Any, terminal: Any, start: int, shortest: int) -> bool:
    """Whether the greedy way reaches a goal in ``shortest`` steps; a state of which nothing is known is no way."""
    state = start
    for _ in range(shortest):
        action = np.argmax(values[state])
        if values[state, action] <= 0:
            return False
        state = successors[state, action]
    return terminal[state]
