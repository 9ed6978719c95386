"""What Dyna-Q writes into its table: bit by bit that of the book's algorithms in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from plain_dyna import Chance, PlainDyna
from stable_baselines3.common.vec_env import DummyVecEnv

from imagine_agents import DynaQ

ALGORITHMS: dict[str, dict[str, Any]] = {
    "Q-learning": {"planning_steps": 0},
    "Dyna-Q": {},
    "Dyna-Q+": {"exploration_bonus": 0.03},
    "Dyna-Q, counts": {"stochastic": True},
    "Dyna-Q+, counts, expected": {"stochastic": True, "backups": "expected", "exploration_bonus": 0.03},
    "trajectories": {"search_control": "trajectory"},
    "trajectories, counts, expected": {"search_control": "trajectory", "stochastic": True, "backups": "expected"},
    "trajectories, bonus, counts": {"search_control": "trajectory", "stochastic": True, "exploration_bonus": 0.03},
    "sweeping": {"search_control": "prioritized"},
    "sweeping, counts": {"search_control": "prioritized", "stochastic": True},
    "sweeping, counts, expected": {"search_control": "prioritized", "stochastic": True, "backups": "expected"},
    "bandit": {"exploration": "gradient_bandit", "preference_rate": 0.4},
    "bandit, trajectories": {"exploration": "gradient_bandit", "search_control": "trajectory"},
}


def run(settings: dict[str, Any], num_envs: int, steps: int) -> tuple[DynaQ, PlainDyna]:
    """The agent after so many steps, and the plain one after the same."""
    log: list[Any] = []
    env = DummyVecEnv([lambda: Chance(log=log, start=num_envs - 1) for _ in range(num_envs)])
    agent = DynaQ(
        "TabularPolicy", env, learning_rate=0.3, gamma=0.9, seed=3, exploration_initial_eps=0.2,
        exploration_final_eps=0.2, **{"planning_steps": 4, "priority_threshold": 0.05, **settings},
    )  # fmt: skip
    plain = PlainDyna(agent)
    agent.learn(steps)
    assert len(log) == steps
    for begin in range(0, steps, num_envs):
        rows = log[begin : begin + num_envs]
        assert [plain.act(row[0]) for row in rows] == [row[1] for row in rows]
        for row in rows:
            plain.learn(*row)
    return agent, plain


@pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)
@pytest.mark.parametrize("num_envs", [1, 3])
def test_values_are_those_of_plain_python(settings: dict[str, Any], num_envs: int) -> None:
    steps = 300
    agent, plain = run(settings, num_envs, steps)
    assert agent.policy.q_table.tolist() == plain.q
    assert agent.num_timesteps == steps
    assert agent.n_backups == plain.backups
    assert sum(end for *_, end, _ in agent.env.envs[0].log) > 10  # type: ignore[union-attr]
    if agent.policy.preferences is not None:
        np.testing.assert_allclose(agent.policy.preferences.numpy(), plain.h, rtol=1e-9, atol=1e-12)
    assert dict(_queue(agent)) == plain.queue


def _queue(agent: DynaQ) -> list[tuple[tuple[int, int], float]]:
    """The pairs in the queue with their priorities, as they lie in the heap."""
    heap = agent.memory.heap[: int(agent.memory.queued)].tolist()  # type: ignore[index]
    return [(divmod(pair, agent.world_model.num_actions), float(agent.memory.priority[pair])) for pair in heap]  # type: ignore[index, misc]
