"""LatentObservation around single environments and batches: episodes must begin and end where the real ones do."""

from __future__ import annotations

import pickle
import warnings
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from torch import Tensor

from imagine_envs.dreams import Dream, DreamVectorEnv
from imagine_envs.experience import collect
from imagine_envs.storage import StorageError
from imagine_envs.world_models import Ensemble, PerfectModel, Prediction, World, WorldModel, fit
from wrappers import LatentObservation, LatentVectorObservation, SB3VecEnv


class Remembers(WorldModel):
    """Its features are the records since the last reset, the sum of their observations, and of action · place."""

    family = "remembers"
    can_decode = False
    can_learn = False

    def __init__(self, *args: Any, noise: float = 0.0) -> None:
        super().__init__(*args)
        self.noise = noise

    def initial(self, batch_size: int) -> dict[str, Tensor]:
        return {"memory": torch.zeros(batch_size, 3)}

    def observe(self, state, action, observation, first, *, sample=True, generator=None):
        memory = torch.where(first[:, None], 0.0, state["memory"])
        noise = self.noise * torch.randn(len(first), generator=generator)
        place = memory[:, 0]
        weighted = torch.where(first, 0.0, action.float() * place)
        return {"memory": memory + torch.stack([torch.ones_like(place), observation[:, 0] + noise, weighted], 1)}

    def imagine(self, state, action, *, temperature=1.0, uncertainty=False, generator=None):
        return state, Prediction(torch.zeros(len(action)), torch.zeros(len(action)))

    def features(self, state):
        return state["memory"]


class Counts(gym.Env):
    """Observes 100 · episode + step; episodes last 2, 3, 4, … steps and end by turns as terminated and truncated."""

    observation_space = spaces.Box(0, 1e4, (1,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, shortest: int = 2) -> None:
        self.shortest, self.episode, self.t = shortest, -1, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return self._observation(), {}

    def step(self, action):
        self.t += 1
        ended = self.t == self.shortest + self.episode
        return self._observation(), 1.0, ended and self.episode % 2 == 0, ended and self.episode % 2 == 1, {}

    def _observation(self):
        return np.array([100 * self.episode + self.t], np.float32)


class Expected:
    """What :class:`Remembers` must say of one :class:`Counts`, by plain arithmetic on the whole episode."""

    def __init__(self, env: Counts) -> None:
        self.env = env
        self.reset()

    def reset(self) -> list[float]:
        self.observations = [float(self.env.reset()[0][0])]
        self.actions: list[int] = []
        return self.features()

    def step(self, action: int) -> tuple[list[float], bool]:
        observation, _, terminated, truncated, _ = self.env.step(action)
        self.observations.append(float(observation[0]))
        self.actions.append(action)
        return self.features(), terminated or truncated

    def features(self) -> list[float]:
        weighted = sum(action * (place + 1) for place, action in enumerate(self.actions))
        return [len(self.observations), sum(self.observations), weighted]


def counting_world(noise: float = 0.0) -> World:
    replay = collect(Counts(), steps=40, seed=0)
    return World.from_replay(Remembers(replay.observation_space, replay.action_space, noise=noise), replay)


def cartpole_world() -> World:
    replay = collect("CartPole-v1", steps=100, seed=0)
    return World.from_replay(PerfectModel.for_replay(replay), replay)


def batch(mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv([partial(Counts, shortest) for shortest in (2, 3, 5)], autoreset_mode=mode)


def actions_for(steps: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 3, (steps, 3))


def test_single_environment_remembers_one_episode_and_no_more():
    env, expected = LatentObservation(Counts(), counting_world()), Expected(Counts())
    # One environment that was reset by Expected's constructor is one episode ahead otherwise.
    assert env.reset()[0].tolist() == expected.features()
    for action in actions_for(20)[:, 0]:
        features, _, terminated, truncated, _ = env.step(action)
        want, ended = expected.step(int(action))
        assert features.tolist() == want
        assert (terminated or truncated) == ended
        if ended:
            assert env.reset()[0].tolist() == expected.reset()


def test_same_step_batch_has_final_features_of_the_old_episode_and_first_ones_of_the_new():
    envs = LatentObservation(batch(AutoresetMode.SAME_STEP), counting_world())
    rows = [Expected(Counts(shortest)) for shortest in (2, 3, 5)]
    assert envs.reset()[0].tolist() == [row.features() for row in rows]
    endings = 0
    for actions in actions_for(25):
        features, _, _, _, infos = envs.step(actions)
        for index, (row, action) in enumerate(zip(rows, actions.tolist(), strict=True)):
            want, ended = row.step(action)
            if ended:
                endings += 1
                assert infos["_final_obs"][index]
                assert infos["final_obs"][index].tolist() == want
                want = row.reset()
            elif "_final_obs" in infos:
                assert not infos["_final_obs"][index]
            assert features[index].tolist() == want
    assert endings >= 9


def test_next_step_batch_starts_anew_when_the_reset_observation_arrives():
    envs = LatentObservation(batch(AutoresetMode.NEXT_STEP), counting_world())
    rows = [Expected(Counts(shortest)) for shortest in (2, 3, 5)]
    envs.reset()
    waiting = [False] * 3
    for actions in actions_for(25):
        features = envs.step(actions)[0]
        for index, (row, action) in enumerate(zip(rows, actions.tolist(), strict=True)):
            want, waiting[index] = (row.reset(), False) if waiting[index] else row.step(action)
            assert features[index].tolist() == want


def test_full_reset_forgets_which_rows_were_waiting():
    envs = LatentObservation(batch(AutoresetMode.NEXT_STEP), counting_world())
    envs.reset()
    for actions in actions_for(2):
        _, _, terminated, _, _ = envs.step(actions)
    assert terminated.tolist() == [True, False, False]
    envs.reset()
    assert envs.step(np.array([1, 1, 1]))[0][:, 0].tolist() == [2, 2, 2]


def test_disabled_batch_starts_the_rows_of_the_mask_anew():
    envs = LatentObservation(batch(AutoresetMode.DISABLED), counting_world())
    rows = [Expected(Counts(shortest)) for shortest in (2, 3, 5)]
    envs.reset()
    for actions in actions_for(25):
        features, _, terminated, truncated, _ = envs.step(actions)
        ended = terminated | truncated
        for index, (row, action) in enumerate(zip(rows, actions.tolist(), strict=True)):
            assert features[index].tolist() == row.step(action)[0]
        if ended.any():
            features = envs.reset(options={"reset_mask": ended.copy()})[0]
            for index in np.flatnonzero(ended):
                rows[index].reset()
            assert features.tolist() == [row.features() for row in rows]


def test_batch_of_processes():
    envs = AsyncVectorEnv([Counts] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    try:
        latent = LatentObservation(envs, counting_world())
        assert latent.reset()[0].tolist() == [[1, 0, 0], [1, 0, 0]]
        latent.step(np.array([1, 2]))
        features, _, _, _, infos = latent.step(np.array([1, 2]))
        assert infos["final_obs"].tolist() == [[3, 3, 3], [3, 3, 6]]
        assert features.tolist() == [[1, 100, 0], [1, 100, 0]]
    finally:
        envs.close()


def test_constructor_returns_the_kind_that_suits():
    world = counting_world()
    assert isinstance(LatentObservation(Counts(), world), gym.Wrapper)
    envs = LatentObservation(batch(AutoresetMode.SAME_STEP), world)
    assert isinstance(envs, LatentVectorObservation)
    assert envs.observation_space.shape == (3, 3)
    assert envs.single_observation_space == LatentObservation(Counts(), world).observation_space
    with pytest.raises(TypeError, match=r"env is a str; a gymnasium.Env or a gymnasium VectorEnv was expected"):
        LatentObservation("CartPole-v1", world)
    with pytest.raises(TypeError, match="world_model must be a path or a World, not int"):
        LatentObservation(Counts(), 3)


def test_other_spaces_are_refused_and_both_are_named():
    world = counting_world()
    for env in (gym.make("CartPole-v1"), gym.make_vec("CartPole-v1", 2)):
        with pytest.raises(ValueError, match=r"observation_space is Box.*\(4,\).*the world's is Box.*\(1,\)"):
            LatentObservation(env, world)
    env = Counts()
    env.action_space = spaces.Discrete(4)
    with pytest.raises(ValueError, match=r"action_space is Discrete\(4\); the world's is Discrete\(3\)"):
        LatentObservation(env, world)


def test_batch_that_does_not_say_when_it_restarts_is_refused():
    envs = DreamVectorEnv(cartpole_world(), 2)
    envs.metadata = {}
    with pytest.raises(ValueError, match=r"metadata\['autoreset_mode'\].*is None"):
        LatentObservation(envs, cartpole_world())


def test_missing_world_is_named(tmp_path):
    with pytest.raises(StorageError, match="nowhere"):
        LatentObservation(Counts(), tmp_path / "nowhere")


@pytest.mark.parametrize("family", ["perfect", "ensemble"])
def test_same_features_as_the_latent_dream_for_the_same_trajectory(family):
    replay = collect("CartPole-v1", steps=120, seed=0)
    if family == "perfect":
        world = World.from_replay(PerfectModel.for_replay(replay), replay)
    else:
        world = fit(Ensemble.for_replay(replay, hidden=(8,)), replay, max_epochs=2, seed=0)
    dream, env = Dream(world, observation="latent"), LatentObservation(gym.make("CartPole-v1"), world)
    assert env.observation_space == dream.observation_space
    state = dream.reset(1, seed=0)
    features, _ = env.reset(seed=0)
    for action in (0, 1, 1):
        # The state of the dream that has just seen what the real environment has.
        raw = torch.tensor(np.asarray(env.unwrapped.state, np.float32)[None])
        model = world.model.observe(state.model, torch.tensor([action]), raw, torch.tensor([False]))
        seen = dream.observation(type(state)(model, state.elapsed))
        assert np.allclose(features, seen.numpy()[0], atol=1e-6)
        features, *_ = env.step(action)


@pytest.mark.filterwarnings("error::UserWarning")
def test_checkers_of_gymnasium_and_sb3_pass(tmp_path):
    world = cartpole_world()
    world.save(tmp_path / "world")
    env = LatentObservation(gym.make("CartPole-v1"), tmp_path / "world")
    with warnings.catch_warnings():
        # The real CartPole-v1 has infinite bounds too.
        warnings.filterwarnings("ignore", message=".*infinity.*")
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        check_env(env)
        sb3_check_env(env)
    again = env.spec.make()
    assert isinstance(again, LatentObservation)
    assert (again.reset(seed=1)[0] == env.reset(seed=1)[0]).all()


def test_seed_of_the_reset_seeds_the_filter():
    world = counting_world(noise=1.0)

    def rollout(env: Any, seed: int) -> list:
        return [env.reset(seed=seed)[0].tolist(), *(env.step(action)[0].tolist() for action in ACTIONS[env.__class__])]

    ACTIONS = {
        LatentObservation: [1, 2],
        LatentVectorObservation: [np.array([1, 2, 1]), np.array([0, 0, 0])],
    }
    for make in (
        lambda: LatentObservation(Counts(), world),
        lambda: LatentObservation(batch(AutoresetMode.SAME_STEP), world),
    ):
        env, other = make(), make()
        assert rollout(make(), 1) == rollout(make(), 1)
        assert rollout(make(), 1) != rollout(make(), 2)
        assert env.reset()[0].tolist() != other.reset()[0].tolist()


def test_can_be_pickled_midway():
    for env, action in (
        (LatentObservation(Counts(), counting_world()), 1),
        (LatentObservation(batch(AutoresetMode.SAME_STEP), counting_world()), np.array([1, 2, 1])),
    ):
        env.reset(seed=0)
        env.step(action)
        twin = pickle.loads(pickle.dumps(env))
        assert twin.step(action)[0].tolist() == env.step(action)[0].tolist()


def test_policy_of_a_latent_dream_acts_in_reality():
    world = cartpole_world()
    model = PPO("MlpPolicy", SB3VecEnv(DreamVectorEnv(world, 4, observation="latent")), n_steps=16, device="cpu")
    real = make_vec_env("CartPole-v1", 2, wrapper_class=LatentObservation, wrapper_kwargs={"world_model": world})
    assert real.observation_space == model.observation_space
    mean, _ = evaluate_policy(model, real, n_eval_episodes=2, warn=False)
    assert mean > 0
    native = SyncVectorEnv([partial(gym.make, "CartPole-v1")] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    PPO("MlpPolicy", SB3VecEnv(LatentObservation(native, world)), n_steps=64, device="cpu").learn(256)
