import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch

from imagine_envs.world_models import known
from imagine_envs.world_models.classic_control import TASKS
from imagine_envs.world_models.known import (
    register_reward,
    register_termination,
    reward_function,
    termination_function,
)


@pytest.fixture(autouse=True)
def _tables(monkeypatch):
    monkeypatch.setattr(known, "_rewards", dict(known._rewards))
    monkeypatch.setattr(known, "_terminations", dict(known._terminations))


@pytest.mark.parametrize("env_id", TASKS)
def test_they_are_the_environments_own(env_id):
    env = gym.make(env_id)
    env.action_space.seed(0)
    rows = []
    observation, _ = env.reset(seed=0)
    for step in range(600):
        action = env.action_space.sample()
        if env_id == "Acrobot-v1":
            action = int(np.sign(observation[5]) + 1)
        if env_id == "MountainCarContinuous-v0" and step % 5:
            action = np.array([1.0 if observation[1] >= 0 else -1.0], dtype=np.float32)
        arrived, reward, terminated, truncated, _ = env.step(action)
        rows.append((observation.copy(), action, arrived.copy(), reward, terminated))
        observation = arrived
        if terminated or truncated:
            observation, _ = env.reset()
    before, actions, after, rewards, terminations = (
        torch.as_tensor(np.array(column)) for column in zip(*rows, strict=True)
    )
    assert before.dtype == torch.float32
    reward = reward_function(env_id)(before, actions, after)
    terminated = termination_function(env_id)(before, actions, after)
    assert (reward.dtype, terminated.dtype) == (torch.float32, torch.bool)
    torch.testing.assert_close(reward, rewards.float(), rtol=1e-6, atol=2e-6)
    assert torch.equal(terminated, terminations)
    assert terminations.any() == (env_id != "Pendulum-v1")
    # Ensembles ask for all members at once.
    stacked = [part.reshape(2, 300, *part.shape[1:]) for part in (before, actions, after)]
    assert torch.equal(reward_function(env_id)(*stacked), reward.reshape(2, 300))
    assert torch.equal(termination_function(env_id)(*stacked), terminated.reshape(2, 300))


def test_own_functions_can_be_registered():
    @register_reward("stay-close")
    def stay_close(observation, action, next_observation):
        return -next_observation[:, 0].abs()

    @register_termination("stay-close")
    def far_away(observation, action, next_observation):
        return next_observation[:, 0].abs() > 1

    assert reward_function("stay-close") is stay_close
    assert termination_function("stay-close") is far_away
    register_reward("stay-close")(stay_close)


def test_a_cell_that_is_run_again_replaces_its_function():
    def cell():
        @register_reward("mine")
        def mine(observation, action, next_observation):
            return next_observation[:, 0]

        return mine

    cell()
    newest = cell()
    assert reward_function("mine") is newest


def test_a_name_is_never_taken_over():
    with pytest.raises(ValueError, match="'Pendulum-v1' belongs to another reward function"):
        register_reward("Pendulum-v1")(lambda observation, action, next_observation: action)
    register_termination("mine")(lambda observation, action, next_observation: action)
    with pytest.raises(ValueError, match="'mine' belongs to another termination function"):
        register_termination("mine")(lambda observation, action, next_observation: action)


def test_an_unknown_name_says_what_to_do():
    with pytest.raises(ValueError, match=r"'walker'.*Acrobot-v1, CartPole-v1.*@register_reward\('walker'\) before"):
        reward_function("walker")
    with pytest.raises(ValueError, match=r"no termination function.*@register_termination\('walker'\)"):
        termination_function("walker")


def test_a_decorator_without_a_name_is_refused():
    with pytest.raises(TypeError, match="register_reward takes a name"):
        register_reward(lambda observation, action, next_observation: action)


def test_the_functions_can_be_pickled():
    function = pickle.loads(pickle.dumps(reward_function("Pendulum-v1")))
    observation = torch.tensor([[1.0, 0.0, 2.0]])
    assert function(observation, torch.ones(1, 1), observation).item() == pytest.approx(-0.401)
