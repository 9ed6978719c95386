from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

from imagine_envs.world_models import Ensemble
from zoo.benchmarks.dream_speed import DoNothing, multiplications
from zoo.benchmarks.dream_speed_report import report
from zoo.benchmarks.measure import Contestant, interleaved, spread


def contestant(log: list[tuple[str, int]], name: str, seconds: float) -> Contestant:
    """Claims that each call takes so long."""

    def run(times: int) -> float:
        log.append((name, times))
        return times * seconds

    return run


def test_contestants_take_turns_and_fill_their_blocks() -> None:
    log: list[tuple[str, int]] = []
    runs = {"fast": contestant(log, "fast", 0.001), "slow": contestant(log, "slow", 0.5)}
    seconds = interleaved(runs, rounds=3, block=0.02)
    assert log[-6:] == [("fast", 20), ("slow", 1), ("slow", 1), ("fast", 20), ("fast", 20), ("slow", 1)]
    np.testing.assert_allclose(seconds["fast"], [0.001] * 3)
    np.testing.assert_allclose(seconds["slow"], [0.5] * 3)


def test_a_block_of_no_time_is_one_call() -> None:
    log: list[tuple[str, int]] = []
    interleaved({"long": contestant(log, "long", 60.0)}, rounds=2, block=0.0)
    assert log == [("long", 1)] * 3  # the first one warms up


def test_spread_is_median_and_quartiles() -> None:
    assert spread(np.array([5.0, 1.0, 2.0, 4.0, 3.0])) == {"low": 2.0, "median": 3.0, "high": 4.0}


def test_useful_arithmetic_is_that_of_one_member() -> None:
    env = gym.make("Pendulum-v1")
    model = Ensemble(env.observation_space, env.action_space)
    world: Any = SimpleNamespace(model=model)
    assert multiplications(world) == 2 * (4 * 200 + 3 * 200 * 200 + 200 * 8)


def test_ppo_learns_where_nothing_happens() -> None:
    env = gym.make("Pendulum-v1")
    nothing = DoNothing(8, env.observation_space, env.action_space)
    agent = PPO("MlpPolicy", nothing, n_steps=4, batch_size=32, n_epochs=1, device="cpu")
    assert agent.learn(64).num_timesteps == 64


def test_what_misses_its_target_says_so() -> None:
    def single(rate: float, above: float) -> dict[str, Any]:
        return {"steps_per_second": {"median": rate}, "difference": {"median": above}}

    results = {
        "machine": {"processor": "Abacus"},
        "threads": {"1": {"single": single(4999, 100)}, "2": {"single": single(5000, 101)}},
    }
    one, two = report(results).split("**2 threads**")
    assert "**1 thread** (Abacus)" in one
    assert "4,999 (**missed**: ≥ 5,000) | 100 µs (≤ 100 µs)" in one
    assert "5,000 (≥ 5,000) | 101 µs (**missed**: ≤ 100 µs)" in two


@pytest.mark.parametrize(("kind", "limit"), [("Pendulum, 5 elites", 1.10), ("CartPole, 5 elites", 1.30)])
def test_restarting_batches_have_a_limit_of_their_own(kind: str, limit: float) -> None:
    row = {
        "microseconds": {name: {"median": 1000.0} for name in ("imagine", "DreamVectorEnv", "SB3VecEnv")},
        "ratio": {"DreamVectorEnv": {"median": limit}, "SB3VecEnv": {"median": 1.31}},
        "rows_ended_per_step": 50.0,
    }
    table = report({"machine": {"processor": ""}, "threads": {"1": {"overhead": {kind: row}}}})
    assert f"1,000 µs, {limit:.2f} × (≤ {limit:.2f})" in table
    assert "1.31 × (**missed**" in table
