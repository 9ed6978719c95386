"""Stock algorithms made for spaces, and their schedules."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import ARS, MaskablePPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env

from imagine_agents.common.inner_algorithm import counters, make_algorithm, schedules_between
from imagine_envs.experience.collect import heeds_masks

BOX, DISCRETE = spaces.Box(-1, 1, (4,), np.float32), spaces.Discrete(2)


def made(algorithm: Any = PPO, action_space: Any = DISCRETE, num_envs: int = 3, **kwargs: Any) -> Any:
    return make_algorithm(algorithm, "MlpPolicy", BOX, action_space, num_envs, seed=0, device="cpu", **kwargs)


def test_an_algorithm_for_spaces_takes_its_environment_later() -> None:
    env = make_vec_env("CartPole-v1", n_envs=3)
    kwargs = {"n_steps": 4, "batch_size": 12, "device": "cpu"}
    model = make_algorithm(PPO, "MlpPolicy", env.observation_space, env.action_space, 3, **kwargs)
    assert model.env is None
    assert (model.n_envs, model.rollout_buffer.n_envs) == (3, 3)
    model.set_env(env)
    assert model.learn(24).num_timesteps == 24


def test_images_turn_channels_first_as_with_an_environment() -> None:
    image = spaces.Box(0, 255, (36, 37, 3), np.uint8)
    model = make_algorithm(PPO, "CnnPolicy", image, DISCRETE, 2, n_steps=4, batch_size=8, device="cpu")
    assert model.observation_space.shape == model.policy.observation_space.shape == (3, 36, 37)


def test_the_constructor_checks_as_always() -> None:
    with pytest.raises(AssertionError, match=r"only supports .*Box"):
        made(SAC)
    with pytest.raises(ValueError, match="`MultiInputPolicy`"):
        make_algorithm(PPO, "MlpPolicy", spaces.Dict({"a": BOX}), DISCRETE, 2)
    with pytest.raises(ValueError, match="Policy Nonsense unknown"):
        make_algorithm(PPO, "Nonsense", BOX, DISCRETE, 2)
    with pytest.raises(TypeError, match="n_step"):
        made(n_step=3)
    with pytest.warns(UserWarning, match="mini-batch size of 7"):
        made(n_steps=4, batch_size=7)


def test_counters_are_what_parameters_leave_out() -> None:
    model = made(DQN, buffer_size=50, learning_starts=0)
    model.num_timesteps, model._n_updates, model._n_calls, model.exploration_rate = 5, 6, 7, 0.5
    found = counters(model)
    assert found.items() >= {"num_timesteps": 5, "_n_updates": 6, "_n_calls": 7, "exploration_rate": 0.5}.items()
    other = made(DQN, buffer_size=50)
    vars(other).update(found)
    assert counters(other) == found
    assert "exploration_rate" not in counters(made(batch_size=3, n_steps=1))


def test_only_maskable_ppo_heeds_masks() -> None:
    assert heeds_masks(MaskablePPO)
    assert heeds_masks(made(MaskablePPO))
    assert not any(heeds_masks(algorithm) for algorithm in (PPO, SAC, ARS))


@pytest.mark.parametrize("algorithm", ["PPO", "DQN", "ARS"])
def test_schedules_span_what_they_are_told_however_often_it_learns(algorithm: str) -> None:
    env = gym.make("CartPole-v1")
    seen: list[float] = []

    def rate(remaining: float) -> float:
        seen.append(remaining)
        return 1e-3

    kwargs: dict[str, Any] = {
        "PPO": {"algorithm": PPO, "n_steps": 10, "batch_size": 10, "n_epochs": 1},
        "DQN": {"algorithm": DQN, "buffer_size": 99, "learning_starts": 0, "train_freq": 10, "batch_size": 4},
        "ARS": {"algorithm": ARS, "n_delta": 1},
    }[algorithm]
    model = make_algorithm(
        kwargs.pop("algorithm"),
        "MlpPolicy",
        env.observation_space,
        DISCRETE,
        1,
        **{"learning_rate": rate, "seed": 0, "device": "cpu", "policy_kwargs": {"net_arch": [4]}, **kwargs},
    )
    model.set_env(env)
    for begin, end in ((1.0, 0.5), (0.5, 0.0)):
        seen.clear()
        with schedules_between(model, begin, end, 40):
            model.learn(40, reset_num_timesteps=False)
        if algorithm == "ARS":  # looks before an update, and ends with whole episodes
            assert seen[0] == begin
        else:
            assert seen[::2] == seen[1::2]  # once for the log
            np.testing.assert_allclose(seen[::2], begin + (end - begin) * np.array([0.25, 0.5, 0.75, 1]))
        assert all(end <= remaining <= begin for remaining in seen)
        assert seen == sorted(seen, reverse=True)
    model._update_current_progress_remaining(1, 4)
    assert model._current_progress_remaining == 0.75  # its own sense of time is back


def test_its_own_sense_of_time_is_back_after_an_exception() -> None:
    model = made(n_steps=1, batch_size=3)
    with pytest.raises(KeyboardInterrupt), schedules_between(model, 1.0, 0.0, 4):
        raise KeyboardInterrupt
    assert "_update_current_progress_remaining" not in vars(model)
