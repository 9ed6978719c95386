"""Dreams as Gymnasium environments: one, and a batch."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.env_util import make_vec_env
from toy_worlds import Walk, walk_world

import imagine_envs  # noqa: F401 (registers the id)
from imagine_envs.dreams import Dream, DreamEnv, DreamVectorEnv
from imagine_envs.experience import Replay
from imagine_envs.storage import StorageError
from imagine_envs.world_models import CopyModel, Ensemble, PerfectModel, World, fit

SAME, NEXT = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP
DREAM = "Imagine/Dream-v0"


@pytest.fixture(scope="module")
def pendulum_path(pendulum_world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("worlds") / "pendulum"
    pendulum_world.save(path)
    return str(path)


def certain_walk(**kwargs: Any) -> Dream:
    """x = 0.5 at the start, x' = x + a, and nothing is left to chance."""
    return Dream(walk_world(starts=1, limit=3, **kwargs), temperature=0)


# --- made by Gymnasium ----------------------------------------------------------------------------------------------


both_families = pytest.mark.parametrize("family", ["cartpole", "rssm"])


@both_families
def test_gym_make(family: str, request: pytest.FixtureRequest) -> None:
    env = gym.make(DREAM, world_model=request.getfixturevalue(f"{family}_path"))
    real = gym.make("CartPole-v1")
    assert env.observation_space == real.observation_space
    assert env.action_space == real.action_space
    assert isinstance(env.unwrapped, DreamEnv)
    assert env.unwrapped.dream.horizon == 500
    observation, info = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert info == {}
    observation, reward, terminated, truncated, info = env.step(1)
    assert env.observation_space.contains(observation)
    assert [type(value) for value in (reward, terminated, truncated)] == [float, bool, bool]
    assert not truncated
    assert info == {}


@both_families
def test_gym_make_vec(family: str, request: pytest.FixtureRequest) -> None:
    envs = gym.make_vec(DREAM, num_envs=5, world_model=request.getfixturevalue(f"{family}_path"))
    assert isinstance(envs, DreamVectorEnv)
    assert envs.metadata["autoreset_mode"] is SAME
    assert (envs.num_envs, envs.fresh_arrays) == (5, True)
    assert envs.single_action_space == spaces.Discrete(2)
    assert envs.action_space == spaces.MultiDiscrete([2] * 5)
    observations, _ = envs.reset(seed=0)
    assert envs.observation_space.contains(observations)
    for _ in range(20):
        observations, rewards, terminations, truncations, _ = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(observations)
        assert (rewards.dtype, terminations.dtype, truncations.dtype) == (np.float32, bool, bool)
        assert rewards.shape == terminations.shape == truncations.shape == (5,)


def test_a_device_can_be_named(cartpole_path: str, cartpole_world: World) -> None:
    for world in (cartpole_path, cartpole_world):
        assert DreamEnv(world, device="cpu").dream.device.type == "cpu"
        assert DreamVectorEnv(world, 2, device="cpu").dream.device.type == "cpu"
    with pytest.raises((ValueError, RuntimeError), match="abacus"):
        DreamEnv(cartpole_path, device="abacus")


def test_options_reach_the_dream(cartpole_path: str) -> None:
    options: dict[str, Any] = {"horizon": 7, "temperature": 0.5, "starts": "initial", "observation": "latent"}
    for env in (
        gym.make(DREAM, world_model=cartpole_path, **options),
        gym.make_vec(DREAM, num_envs=2, world_model=cartpole_path, **options),
    ):
        dream = env.unwrapped.dream  # type: ignore[attr-defined]
        assert (dream.horizon, dream.temperature, dream.starts, dream.observation_kind) == (7, 0.5, "initial", "latent")


def test_max_episode_steps_of_gym_make_truncates(cartpole_path: str) -> None:
    env = gym.make(DREAM, world_model=cartpole_path, max_episode_steps=4, termination="threshold", starts="initial")
    assert env.spec is not None
    assert env.spec.max_episode_steps == 4
    for _ in range(2):
        env.reset(seed=1)
        assert [env.step(t % 2)[3] for t in range(4)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("kwargs", "horizon"),
    [({"max_episode_steps": 4}, 4), ({"horizon": 6}, 6), ({"horizon": 6, "max_episode_steps": 4}, 4), ({}, 500)],
    ids=str,
)
def test_max_episode_steps_of_make_vec_is_the_horizon(cartpole_path: str, kwargs: Any, horizon: int) -> None:
    envs = gym.make_vec(DREAM, num_envs=2, world_model=cartpole_path, **kwargs)
    assert envs.dream.horizon == horizon  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", [NEXT, "NextStep"])
def test_make_vec_takes_the_autoreset_mode(cartpole_path: str, mode: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs = gym.make_vec(DREAM, num_envs=2, world_model=cartpole_path, autoreset_mode=mode)
    assert envs.metadata["autoreset_mode"] is NEXT
    assert DreamVectorEnv.metadata["autoreset_mode"] is SAME


@pytest.mark.parametrize("vectorization_mode", ["sync", "vector_entry_point"])
def test_every_way_to_make_a_batch(cartpole_path: str, vectorization_mode: str) -> None:
    envs = gym.make_vec(DREAM, num_envs=3, vectorization_mode=vectorization_mode, world_model=cartpole_path)
    envs.reset(seed=0)
    assert envs.step(np.array([0, 1, 0]))[0].shape == (3, 4)


def test_a_spec_survives_json_and_makes_the_same_dream(cartpole_path: str) -> None:
    env = gym.make(DREAM, world_model=cartpole_path, horizon=9)
    assert env.spec is not None
    spec = gym.envs.registration.EnvSpec.from_json(env.spec.to_json())
    assert spec.kwargs == {"world_model": cartpole_path, "horizon": 9}
    again = gym.make(spec)
    assert np.array_equal(env.reset(seed=0)[0], again.reset(seed=0)[0])
    assert np.array_equal(env.step(1)[0], again.step(1)[0])
    assert again.unwrapped.dream.horizon == 9  # type: ignore[attr-defined]


def test_sb3s_make_vec_env(cartpole_path: str) -> None:
    vec_env = make_vec_env(DREAM, n_envs=3, seed=0, env_kwargs={"world_model": cartpole_path})
    assert vec_env.reset().shape == (3, 4)
    observations, rewards, dones, infos = vec_env.step(np.array([0, 1, 0]))
    assert observations.dtype == np.float32
    assert (rewards == 1).all()
    assert len(infos) == 3
    assert dones.shape == (3,)
    assert len(np.unique(vec_env.reset()[:, 0])) == 3  # each has a seed of its own


# --- checked by others ----------------------------------------------------------------------------------------------


def said_of(check: Callable[[], None]) -> set[str]:
    """The warnings of a check, without colours and addresses."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check()
    messages = {re.sub(r"\x1b\[\d+m|0x[0-9a-f]+", "", str(warning.message)) for warning in caught}
    return {re.sub(r"<.*>", "<env>", message) for message in messages}


@pytest.mark.parametrize("observation", ["decoded", "latent"])
@pytest.mark.parametrize(
    ("env_id", "world"), [("CartPole-v1", "cartpole"), ("Pendulum-v1", "pendulum"), ("CartPole-v1", "rssm")]
)
@pytest.mark.parametrize("checker", ["stable-baselines3", "gymnasium"])
def test_the_checkers_say_no_more_than_of_the_real_environment(
    checker: str, env_id: str, world: str, observation: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(f"{world}_path")

    def check(make: Callable[..., gym.Env]) -> set[str]:
        if checker == "gymnasium":
            return said_of(lambda: gymnasium_check_env(make(render_mode="rgb_array").unwrapped))
        return said_of(lambda: sb3_check_env(make(), warn=True))

    real = check(lambda **kwargs: gym.make(env_id, **kwargs))
    dream = check(lambda **kwargs: gym.make(DREAM, world_model=path, observation=observation, **kwargs))
    assert dream - real == set()


def test_the_passive_checker_of_gym_make_says_nothing(cartpole_path: str, pendulum_path: str) -> None:
    for path in (cartpole_path, pendulum_path):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            env = gym.make(DREAM, world_model=path, uncertainty_penalty=0.1, render_mode="rgb_array")
            env.reset(seed=0)
            for _ in range(3):
                env.step(env.action_space.sample())
            env.render()
            env.close()


# --- SAME_STEP and NEXT_STEP, against Gymnasium's own ----------------------------------------------------------------


@pytest.mark.parametrize("mode", [SAME, NEXT])
def test_a_batch_is_what_gymnasium_makes_of_single_dreams(mode: AutoresetMode) -> None:
    ours = DreamVectorEnv(certain_walk(), 3, autoreset_mode=mode)
    theirs = SyncVectorEnv([lambda: DreamEnv(certain_walk()) for _ in range(3)], autoreset_mode=mode)
    assert np.array_equal(ours.reset(seed=0)[0], theirs.reset(seed=0)[0])
    rng, ends = np.random.default_rng(0), 0
    for step in range(14):
        actions = rng.integers(-1, 2, 3)
        (observations, rewards, *flags, info), expected = ours.step(actions), theirs.step(actions)
        np.testing.assert_array_equal(observations, expected[0])
        np.testing.assert_allclose(rewards, expected[1], rtol=1e-6)
        for flag, expected_flag in zip(flags, expected[2:4], strict=True):
            assert np.array_equal(flag, expected_flag)
        assert set(info) == set(expected[4])
        if "final_obs" in info:
            assert mode is SAME
            assert np.array_equal(info["_final_obs"], expected[4]["_final_obs"])
            np.testing.assert_array_equal(info["final_obs"], np.stack(expected[4]["final_obs"]))
            assert np.array_equal(info["_final_info"], expected[4]["_final_info"])
        assert flags[1].all() == flags[1].any() == (step % (3 if mode is SAME else 4) == 2)
        ends += flags[1].any()
    assert ends == (4 if mode is SAME else 3)


def test_rows_that_end_at_different_times_same_step() -> None:
    envs = DreamVectorEnv(Dream(walk_world(0.3), temperature=0), 64)
    dream = envs.dream
    before, _ = envs.reset(seed=0)
    starts, seen = set(dream.world.starts["x"][:, 0].tolist()), 0
    for step in range(8):
        actions = np.arange(64) % 3 - 1
        observations, rewards, terminations, truncations, info = envs.step(actions)
        final = before[:, 0] + actions  # the deterministic dynamics, before any restart
        np.testing.assert_allclose(rewards, 10 * final + actions)  # the reward belongs to the final step
        ended = terminations | truncations
        np.testing.assert_array_equal(observations[~ended, 0], final[~ended])
        if ended.any():
            np.testing.assert_array_equal(info["_final_obs"], ended)
            np.testing.assert_array_equal(info["final_obs"][ended, 0], final[ended])
            assert set(observations[ended, 0].tolist()) <= starts
            assert (envs.snapshot().elapsed[torch.from_numpy(ended)] == 0).all()
            seen += int(ended.sum())
        else:
            assert not any("final" in key for key in info)
        assert np.array_equal(truncations, np.zeros(64, bool)) or step >= 4
        before = observations
    assert seen > 64


def test_rows_that_end_at_different_times_next_step() -> None:
    envs = DreamVectorEnv(Dream(walk_world(0.3), temperature=0), 64, autoreset_mode=NEXT)
    before, _ = envs.reset(seed=0)
    ended, starts = np.zeros(64, bool), set(envs.dream.world.starts["x"][:, 0].tolist())
    clock, seen = np.zeros(64, int), 0
    for _ in range(12):
        actions = np.arange(64) % 3 - 1
        observations, rewards, terminations, truncations, info = envs.step(actions)
        final = before[:, 0] + actions
        np.testing.assert_allclose(rewards, np.where(ended, 0, 10 * final + actions))
        np.testing.assert_array_equal(observations[~ended, 0], final[~ended])
        assert set(observations[ended, 0].tolist()) <= starts
        assert not terminations[ended].any()
        assert not truncations[ended].any()
        clock = np.where(ended, 0, clock + 1)
        np.testing.assert_array_equal(truncations, clock == 5)
        np.testing.assert_array_equal(envs.snapshot().elapsed.numpy(), clock)
        assert info == {}
        seen += int(ended.sum())
        before, ended = observations, terminations | truncations
    assert seen > 64


def test_a_reset_forgets_who_was_to_restart() -> None:
    envs = DreamVectorEnv(certain_walk(), 2, autoreset_mode=NEXT)
    envs.reset(seed=0)
    for _ in range(3):
        *_, truncations, _ = envs.step(np.ones(2, int))
    assert truncations.all()
    envs.reset()
    observations, rewards, *_ = envs.step(np.ones(2, int))
    assert observations[:, 0].tolist() == [1.5, 1.5]
    assert rewards.tolist() == [16, 16]


@pytest.mark.parametrize("mode", [SAME, NEXT])
def test_uncertainty_in_the_info(mode: AutoresetMode) -> None:
    envs = DreamVectorEnv(walk_world(starts=1, limit=3), 4, autoreset_mode=mode, uncertainty_penalty=1.0, temperature=0)
    envs.reset(seed=0)
    for step in range(1, 4):
        *_, truncations, info = envs.step(np.ones(4, int))
        assert info["uncertainty"].tolist() == [0.5 + step] * 4
        assert info["_uncertainty"].tolist() == [not (step == 3 and mode is SAME)] * 4
    assert truncations.all()
    if mode is SAME:
        assert info["final_info"]["uncertainty"].tolist() == [3.5] * 4
        assert info["final_info"]["_uncertainty"].all()
        assert info["_final_info"].all()
    else:
        *_, info = envs.step(np.ones(4, int))  # restarts, and tells nothing of a step
        assert not info["_uncertainty"].any()
        assert not info["uncertainty"].any()
    env = DreamEnv(walk_world(starts=1), uncertainty_penalty=1.0, temperature=0)
    env.reset(seed=0)
    info = env.step(1)[4]
    assert info == {"uncertainty": 1.5}
    assert type(info["uncertainty"]) is float


@pytest.mark.parametrize("wrapper", ["RecordEpisodeStatistics", "NormalizeObservation", "ClipReward", "FlattenObs"])
def test_gymnasiums_vector_wrappers(wrapper: str) -> None:
    envs: Any = DreamVectorEnv(walk_world(), 4, autoreset_mode=NEXT)
    if wrapper == "RecordEpisodeStatistics":
        envs = gym.wrappers.vector.RecordEpisodeStatistics(envs)
    elif wrapper == "NormalizeObservation":
        envs = gym.wrappers.vector.NormalizeObservation(envs)
    elif wrapper == "ClipReward":
        envs = gym.wrappers.vector.ClipReward(envs, -1, 1)
    else:
        envs = gym.wrappers.vector.FlattenObservation(envs)
    envs.reset(seed=0)
    lengths = []
    for _ in range(12):
        *_, info = envs.step(np.ones(4, int))
        if "episode" in info:
            lengths += info["episode"]["l"][info["_episode"]].tolist()
    assert lengths == ([5] * 8 if wrapper == "RecordEpisodeStatistics" else [])


def test_episode_statistics_in_same_step_mode() -> None:
    envs = gym.wrappers.vector.RecordEpisodeStatistics(DreamVectorEnv(certain_walk(), 2))
    envs.reset(seed=0)
    for _ in range(3):
        *_, info = envs.step(np.ones(2, int))
    assert info["episode"]["l"].tolist() == [3, 3]
    assert info["episode"]["r"].tolist() == [16 + 26 + 36] * 2


# --- seeds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: DreamEnv(walk_world(0.2)), lambda: DreamVectorEnv(walk_world(0.2), 3)])
def test_seeds(make: Callable[[], Any]) -> None:
    def run(seeds: list[int | None], env: Any = None) -> list[Any]:
        env, trace = env or make(), []
        for seed in seeds:
            trace.append(np.array(env.reset(seed=seed)[0]).tolist())
            for _ in range(6):
                action = np.ones(3, int) if isinstance(env, DreamVectorEnv) else 1
                observation, reward, *_ = env.step(action)
                trace += [np.array(observation).tolist(), np.array(reward).tolist()]
        return trace

    first = run([0, None, None])
    assert run([0, None, None]) == first
    assert run([1, None, None])[0] != first[0]
    assert first[0] != first[13] != first[26]  # unseeded resets go on
    env = make()
    assert run([5], env) == run([5], env)


def test_a_batch_of_one_is_a_single_dream(cartpole_world: World) -> None:
    env, envs = DreamEnv(cartpole_world, horizon=8), DreamVectorEnv(cartpole_world, 1, horizon=8)
    for seed in range(4):
        observation, _ = env.reset(seed=seed)
        observations, _ = envs.reset(seed=seed)
        np.testing.assert_array_equal(observations[0], observation)
        done, steps = False, 0
        while not done:
            observation, reward, terminated, truncated, _ = env.step(steps % 2)
            observations, rewards, terminations, truncations, info = envs.step(np.array([steps % 2]))
            assert (rewards[0], terminations[0], truncations[0]) == (reward, terminated, truncated)
            done, steps = terminated or truncated, steps + 1
            np.testing.assert_array_equal(info["final_obs"][0] if done else observations[0], observation)
        assert truncated == (steps == 8)


# --- arrays ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observation", ["decoded", "latent"])
@pytest.mark.parametrize("mode", [SAME, NEXT])
def test_arrays_are_fresh_and_writing_to_them_changes_nothing(mode: AutoresetMode, observation: Any) -> None:
    def run(spoil: bool) -> list[Any]:
        envs = DreamVectorEnv(
            walk_world(0.3), 8, autoreset_mode=mode, observation=observation, uncertainty_penalty=0.1, horizon=4
        )
        observations, _ = envs.reset(seed=0)
        trace, seen = [observations.copy()], [observations]
        actions = np.arange(8) % 3 - 1
        for _ in range(10):
            if spoil:
                for array in seen:
                    array[...] = 1  # True in a mask
            observations, rewards, terminations, truncations, info = envs.step(actions)
            if spoil:
                actions = actions.copy()
            seen = [observations, rewards, terminations, truncations]
            seen += [value for value in info.values() if isinstance(value, np.ndarray)]
            seen += list(info.get("final_info", {}).values())
            assert all(array.flags.writeable for array in seen)
            assert not any(np.shares_memory(a, b) for i, a in enumerate(seen) for b in seen[:i])
            trace += [array.copy() for array in seen]
        return trace

    for plain, spoiled in zip(run(False), run(True), strict=True):
        np.testing.assert_array_equal(plain, spoiled)


def test_a_single_dreams_arrays_are_fresh() -> None:
    env = DreamEnv(certain_walk())
    first, _ = env.reset(seed=0)
    kept = first.copy()
    second = env.step(1)[0]
    assert np.array_equal(first, kept)
    first[...] = second[...] = 77
    assert env.step(1)[0].tolist() == [2.5]


def test_the_actions_array_is_not_kept() -> None:
    class Keeper(Walk):
        def imagine(self, state: Any, action: Any, **kwargs: Any) -> Any:
            after, prediction = super().imagine(state, action, **kwargs)
            return {**after, "action": action}, prediction

    world = walk_world()
    world.model.__class__ = Keeper
    world.starts["action"] = torch.zeros(50, dtype=torch.int64)
    envs = DreamVectorEnv(world, 2)
    envs.reset(seed=0)
    actions = np.ones(2, np.int64)
    envs.step(actions)
    actions[:] = -1
    assert envs.snapshot().model["action"].tolist() == [1, 1]


@pytest.mark.parametrize("kind", ["float64", "uint8", "dict"])
def test_observations_have_the_spaces_own_types(kind: str) -> None:
    box: spaces.Space[Any] = {
        "float64": spaces.Box(-0.1, 0.1, (2,), np.float64),
        "uint8": spaces.Box(0, 255, (2,), np.uint8),
        "dict": spaces.Dict({"a": spaces.Box(-1, 1, (1,), np.float64), "b": spaces.Box(0, 255, (2, 2), np.uint8)}),
    }[kind]
    box.seed(0)
    replay = Replay(box, spaces.Discrete(2))
    for step in range(20):
        sample = box.sample()
        batch = {key: value[None] for key, value in sample.items()} if kind == "dict" else sample[None]
        if step == 0:
            replay.add_reset(batch)
        else:
            replay.add(batch, [step % 2], [1.0], [step == 19], [False], [False])
    torch.manual_seed(0)
    model = (
        CopyModel(box, replay.action_space)
        if kind == "dict"
        else Ensemble(box, replay.action_space, members=2, elites=2, hidden=(4,))
    )
    world = fit(model, replay, max_epochs=1, seed=0)
    env, envs = DreamEnv(world, horizon=5), DreamVectorEnv(world, 3, horizon=5)
    observation, _ = env.reset(seed=0)
    observations, _ = envs.reset(seed=0)
    for _ in range(12):
        assert env.observation_space.contains(observation)
        assert envs.observation_space.contains(observations)
        observation, *_ = env.step(1)
        observations, *_, info = envs.step(np.array([0, 1, 1]))
        if "final_obs" in info:
            assert envs.observation_space.contains(info["final_obs"])
    assert sb3_check_env(env, warn=False) is None


def test_decoded_observations_stay_in_their_space(pendulum_world: World) -> None:
    envs = DreamVectorEnv(pendulum_world, 50)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    for _ in range(60):
        observations, rewards, *_ = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(observations)
        assert np.isfinite(rewards).all()


def test_no_graph_is_kept(pendulum_world: World) -> None:
    env, envs = DreamEnv(pendulum_world), DreamVectorEnv(pendulum_world, 2)
    env.reset(seed=0)
    envs.reset(seed=0)
    env.step(np.zeros(1))
    envs.step(np.zeros((2, 1)))
    for state in (env.snapshot(), envs.snapshot()):
        assert not any(tensor.requires_grad for tensor in state.model.values())


# --- copies, snapshots ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("kind", ["make", "env", "make_vec", "vector", "next_step"])
@both_families
def test_a_copy_goes_on_as_the_original(
    family: str, kind: str, duplicate: Callable[[Any], Any], request: pytest.FixtureRequest
) -> None:
    path: str = request.getfixturevalue(f"{family}_path")
    world: World = request.getfixturevalue(f"{family}_world")
    env: Any = {
        "make": lambda: gym.make(DREAM, world_model=path, render_mode="rgb_array"),
        "env": lambda: DreamEnv(world, horizon=5, render_mode="rgb_array"),
        "make_vec": lambda: gym.make_vec(DREAM, num_envs=4, world_model=path, render_mode="rgb_array"),
        "vector": lambda: DreamVectorEnv(world, 4, horizon=5, render_mode="rgb_array"),
        "next_step": lambda: DreamVectorEnv(world, 4, horizon=2, autoreset_mode=NEXT, render_mode="rgb_array"),
    }[kind]()
    single = env.action_space == spaces.Discrete(2)
    action: Any = 1 if single else np.array([0, 1, 1, 0])
    fresh = duplicate(env)
    assert fresh.action_space == env.action_space
    env.reset(seed=0)
    env.step(action)
    env.step(action)
    frame = np.asarray(env.render())
    twin = duplicate(env)
    assert np.array_equal(np.asarray(twin.render()), frame)
    for _ in range(3):
        for value, expected in zip(twin.step(action)[:4], env.step(action)[:4], strict=True):
            assert np.array_equal(value, expected)
    assert np.array_equal(twin.reset()[0], env.reset()[0])
    assert twin.spec == env.spec


@pytest.mark.parametrize("mode", [SAME, NEXT])
def test_restoring_a_snapshot_goes_back_exactly(mode: AutoresetMode) -> None:
    envs = DreamVectorEnv(walk_world(0.4), 16, autoreset_mode=mode)
    observations, _ = envs.reset(seed=0)
    actions = np.arange(16) % 3 - 1
    for _ in range(6):
        snapshot, seen = envs.snapshot(), observations
        future = [envs.step(actions)[:4] for _ in range(3)]
        assert any(terminations.any() for _, _, terminations, _ in future)
        np.testing.assert_array_equal(envs.restore(snapshot), seen)
        for values in future:
            for value, again in zip(values, envs.step(actions)[:4], strict=True):
                np.testing.assert_array_equal(value, again)
        envs.restore(snapshot)
        observations, *_ = envs.step(actions)
    other = DreamVectorEnv(envs.dream, 16, autoreset_mode=mode)
    np.testing.assert_array_equal(other.restore(envs.snapshot()), observations)  # also without a reset before
    np.testing.assert_array_equal(other.step(actions)[0], envs.step(actions)[0])


def test_a_single_dream_is_restored() -> None:
    env = DreamEnv(walk_world())
    env.reset(seed=0)
    env.step(1)
    snapshot = env.snapshot()
    future = [env.step(t % 3 - 1) for t in range(4)]
    assert future[-1][3]  # truncated at five
    env.restore(snapshot)
    assert [env.step(t % 3 - 1)[1:4] for t in range(4)] == [values[1:4] for values in future]
    with pytest.raises(ValueError, match="the snapshot holds 3 rows, this environment 1"):
        env.restore(env.dream.reset(3))
    with pytest.raises(ValueError, match="the snapshot holds 1 rows, this environment 2"):
        DreamVectorEnv(env.dream, 2).restore(snapshot)


# --- pictures -------------------------------------------------------------------------------------------------------


def test_pictures_of_a_dream(cartpole_path: str) -> None:
    env = gym.make(DREAM, world_model=cartpole_path, render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert isinstance(frame, np.ndarray)
    assert (frame.shape, frame.dtype) == ((400, 600, 3), np.uint8)
    for _ in range(5):
        env.step(1)
    assert not np.array_equal(env.render(), frame)
    env.close()
    env.close()
    assert isinstance(env.unwrapped.metadata["render_fps"], int)
    silent = DreamEnv(cartpole_path)
    silent.reset(seed=0)
    assert silent.render() is None


def test_pictures_of_a_batch(cartpole_world: World) -> None:
    envs = DreamVectorEnv(cartpole_world, 3, render_mode="rgb_array", observation="latent")
    envs.reset(seed=0)
    frames = envs.render()
    assert frames is not None
    assert [frame.shape for frame in frames] == [(400, 600, 3)] * 3
    one = DreamEnv(cartpole_world, render_mode="rgb_array")
    for row in range(3):
        state = envs.snapshot()
        one.restore(type(state)({k: v[row : row + 1] for k, v in state.model.items()}, state.elapsed[row : row + 1]))
        assert np.array_equal(one.render(), frames[row])  # type: ignore[arg-type]
    envs.close()
    silent = DreamVectorEnv(cartpole_world, 3)
    silent.reset(seed=0)
    assert silent.render() is None


def test_a_window_opens_by_itself(cartpole_world: World) -> None:
    env = DreamEnv(cartpole_world, render_mode="human")
    env.reset(seed=0)
    env.step(1)
    assert env.render() is None
    env.close()


def test_a_world_that_cannot_decode_has_no_pictures() -> None:
    env = DreamEnv(walk_world(decodes=False), observation="latent", render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="cannot decode: there is nothing to render"):
        env.render()


# --- action masks ---------------------------------------------------------------------------------------------------


def test_action_masks_are_real_at_a_start_and_predicted_after_a_step() -> None:
    envs = DreamVectorEnv(walk_world(masks=True), 6)
    observations, _ = envs.reset(seed=0)
    even = (observations[:, 0] - 0.5) % 2 == 0
    expected = np.where(even[:, None], [[True, False, False]], [[False, True, True]])
    assert envs.action_masks().dtype == bool
    np.testing.assert_array_equal(envs.action_masks(), expected)
    envs.step(np.ones(6, int))
    np.testing.assert_array_equal(envs.action_masks(), [[False, True, False]] * 6)  # 0.2, 0.4, 0.3: the likeliest
    env = DreamEnv(walk_world(masks=True, starts=1))
    env.reset(seed=0)
    assert is_masking_supported(env)
    assert get_action_masks(env).tolist() == [True, False, False]
    env.step(1)
    assert env.action_masks().tolist() == [False, True, False]


def test_a_world_without_masks_says_so(cartpole_world: World) -> None:
    env, envs = DreamEnv(cartpole_world), DreamVectorEnv(cartpole_world, 2)
    env.reset(seed=0)
    envs.reset(seed=0)
    for one in (env, envs):
        with pytest.raises(AttributeError, match="predicts no action_mask"):
            one.action_masks()
        assert not is_masking_supported(one)


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros(2, int), r"shape \(2,\); \(3,\) was expected for 3 rows of Discrete"),
        (np.zeros((3, 1), int), r"shape \(3, 1\); \(3,\) was expected"),
        (1, r"shape \(\); \(3,\) was expected"),
        (np.array([0, 1, 2]), r"actions from 0 to 2 are not all in Discrete\(3, start=-1\)"),
        (np.array([-2, 0, 0]), "actions from -2 to 0 are not all in"),
        (np.array([0.0, 0.5, 0.0]), "actions are of type float64; integers were expected"),
        (np.array([0.0, np.nan, 0.0]), "integers were expected"),
        (["a", "b", "c"], "integers were expected"),
    ],
    ids=str,
)
def test_discrete_actions_are_checked(actions: Any, message: str) -> None:
    envs = DreamVectorEnv(walk_world(), 3)
    envs.reset(seed=0)
    before = envs.snapshot()
    with pytest.raises(ValueError, match=message):
        envs.step(actions)
    assert envs.snapshot() is before


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros(2), r"shape \(2,\); \(2, 1\) was expected for 2 rows of Box"),
        (np.zeros((2, 2)), r"shape \(2, 2\); \(2, 1\) was expected"),
        (np.array([[0.0], [np.nan]]), "NaN or infinity"),
        (np.array([[0.0], [np.inf]]), "NaN or infinity"),
    ],
    ids=str,
)
def test_box_actions_are_checked(pendulum_world: World, actions: Any, message: str) -> None:
    envs = DreamVectorEnv(pendulum_world, 2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.step(actions)


def test_actions_in_any_clothes(pendulum_world: World) -> None:
    results = []
    read_only = np.zeros((2, 1), np.float32)
    read_only.flags.writeable = False
    for actions in (np.zeros((2, 1), np.float64), torch.zeros(2, 1), [[0], [0]], read_only, np.zeros((4, 1))[::-2]):
        envs = DreamVectorEnv(pendulum_world, 2)
        envs.reset(seed=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            results.append(envs.step(actions)[0])
    assert all(np.array_equal(result, results[0]) for result in results)
    env = DreamEnv(certain_walk())
    env.reset(seed=0)
    for action in (1, np.int64(1), np.array(1), np.int32(-1)):
        env.reset()
        assert env.step(action)[0].tolist() == [0.5 + int(action)]
    with pytest.raises(ValueError, match=r"actions from 2 to 2 are not all in Discrete"):
        env.step(2)


@pytest.mark.parametrize("num_envs", [0, -1, 2.5, None])
def test_a_batch_has_at_least_one_row(num_envs: Any) -> None:
    with pytest.raises(ValueError, match=f"num_envs={num_envs} must be a whole number of at least 1"):
        DreamVectorEnv(walk_world(), num_envs)


def test_num_envs_of_make_vec(cartpole_path: str) -> None:
    with pytest.raises(ValueError, match="num_envs=0"):
        gym.make_vec(DREAM, num_envs=0, world_model=cartpole_path)


@pytest.mark.parametrize("kind", [DreamEnv, DreamVectorEnv])
def test_other_bad_arguments(kind: Any, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", str(tmp_path / "nowhere")):
        with pytest.raises(StorageError, match="nowhere: no world is there"):
            kind(path)
    with pytest.raises(TypeError, match="world_model must be a path, a World or a Dream, not int"):
        kind(3)
    with pytest.raises(TypeError, match="colour"):
        kind(walk_world(), colour="red")
    with pytest.raises(TypeError, match="a Dream has its options already; these came on top: horizon"):
        kind(certain_walk(), horizon=3)
    with pytest.raises(ValueError, match="render_mode='ansi' must be"):
        kind(walk_world(), render_mode="ansi")
    with pytest.raises(ValueError, match=r"temperature=-1"):
        kind(walk_world(), temperature=-1)
    with pytest.raises(ValueError, match="horizon=0"):
        kind(walk_world(), horizon=0)
    env = kind(walk_world(masks=True))
    for act in (lambda: env.step(env.action_space.sample()), env.snapshot, lambda: env.action_masks()):
        with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
            act()


def test_autoreset_modes_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="autoreset_mode must be SAME_STEP or NEXT_STEP"):
        DreamVectorEnv(walk_world(), 2, autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(ValueError, match="Sometime"):
        DreamVectorEnv(walk_world(), 2, autoreset_mode="Sometime")
    with pytest.raises(ValueError, match="a window shows one DreamEnv"):
        DreamVectorEnv(walk_world(), 2, render_mode="human")


@pytest.mark.parametrize("max_episode_steps", [0, -1])
def test_a_limit_of_nothing(cartpole_path: str, max_episode_steps: int) -> None:
    with pytest.raises(ValueError, match=f"horizon={max_episode_steps}"):
        DreamVectorEnv(cartpole_path, 2, max_episode_steps=max_episode_steps)


# --- the whole way --------------------------------------------------------------------------------------------------


def set_real_state(env: gym.Env, observation: np.ndarray) -> None:
    inner: Any = env.unwrapped
    if env.spec is not None and env.spec.id == "CartPole-v1":
        inner.state = observation.astype(np.float64)
        inner.steps_beyond_terminated = None
    else:
        inner.state = np.array([np.arctan2(observation[1], observation[0]), observation[2]], np.float64)
        inner.last_u = None


@pytest.mark.parametrize("name", ["perfect_cartpole", "perfect_pendulum"])
def test_a_perfect_dream_is_the_real_environment_step_by_step(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    world: World = request.getfixturevalue(name)
    assert isinstance(world.model, PerfectModel)
    world.save(tmp_path / "w")
    dream = gym.make(DREAM, world_model=str(tmp_path / "w"), starts="initial")
    assert world.spec.env_id is not None
    real = gym.make(world.spec.env_id)
    real.action_space.seed(0)
    lengths = []
    for seed in range(6 if name == "perfect_cartpole" else 2):
        observation, _ = dream.reset(seed=seed)
        real.reset(seed=seed)
        set_real_state(real, observation)
        for step in range(1, 1_000):
            # A policy for the first half, so that the episodes of CartPole last for a while.
            action = real.action_space.sample()
            if name == "perfect_cartpole" and seed % 2:
                action = int(observation[2] + 0.3 * observation[3] + 0.02 * observation[1] > 0)
            (observation, reward, *flags, _), (real_observation, real_reward, *real_flags, _) = (
                env.step(action) for env in (dream, real)
            )
            np.testing.assert_allclose(observation, real_observation, atol=1e-4, rtol=1e-4)
            assert reward == pytest.approx(float(real_reward), abs=1e-4)
            assert flags == real_flags, (seed, step)
            if any(flags):
                lengths.append(step)
                break
    limit = 500 if name == "perfect_cartpole" else 200
    assert limit in lengths  # some reach the limit, by a truncation at the very same step
    assert name == "perfect_pendulum" or min(lengths) < limit


def test_a_perfect_batch_is_real_environments_side_by_side(perfect_cartpole: World) -> None:
    envs = DreamVectorEnv(perfect_cartpole, 8, starts="initial")
    reals = [gym.make("CartPole-v1") for _ in range(8)]
    observations, _ = envs.reset(seed=0)
    for row, real in enumerate(reals):
        real.reset(seed=0)
        set_real_state(real, observations[row])
    envs.action_space.seed(0)
    ended = 0
    for _ in range(60):
        actions = envs.action_space.sample()
        observations, rewards, terminations, truncations, info = envs.step(actions)
        for row, real in enumerate(reals):
            seen, reward, terminated, truncated, _ = real.step(actions[row])
            assert (rewards[row], terminations[row], truncations[row]) == (reward, terminated, truncated)
            dreamed = info["final_obs"][row] if terminated else observations[row]
            np.testing.assert_allclose(dreamed, seen, atol=1e-5, rtol=1e-5)
            if terminated:
                real.reset(seed=0)
                set_real_state(real, observations[row])
                ended += 1
    assert ended > 8
