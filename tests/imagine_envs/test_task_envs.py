"""The two Gymnasium faces of every task."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import imagine_envs  # noqa: F401 (registers the ids)
from imagine_envs.experience import collect
from imagine_envs.registration import ENVIRONMENTS
from imagine_envs.tasks import TaskEnv, TaskVectorEnv
from imagine_envs.tasks.mazes import DynaMaze, GridMaze
from wrappers import SB3VecEnv, check_vec_env
from wrappers._infos import spread_infos

SAME, NEXT = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP
TASKS = [env_id for env_id, entry in ENVIRONMENTS.items() if "kwargs" in entry]
KNOWN = (
    "The minimal resolution for an image is 36x36 for the default `CnnPolicy`",
    "We recommend you to use a symmetric and normalized Box action space",  # CarRacing's is as CarRacing-v3 has it
)

every_task = pytest.mark.parametrize("env_id", TASKS)


def with_short_episodes(env_id: str, num_envs: int, limit: int = 7, **kwargs: Any) -> TaskVectorEnv:
    envs = gym.make_vec(env_id, num_envs, max_episode_steps=limit, **kwargs)
    assert isinstance(envs, TaskVectorEnv)
    return envs


def drawn(envs: Any, seed: int, steps: int) -> list[np.ndarray]:
    """Batches of random actions."""
    envs.action_space.seed(seed)
    return [envs.action_space.sample() for _ in range(steps)]


def equal(one: Any, other: Any) -> bool:
    """Whether two nests of dicts and arrays hold the same."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype == object:
        return len(one) == len(other) and all(
            (a is None and b is None) or np.array_equal(a, b) for a, b in zip(one, other, strict=True)
        )
    return one.dtype == other.dtype and np.array_equal(one, other)


def row_infos(infos: dict[str, Any], num_envs: int) -> list[Any]:
    """Vectorised infos as one dict of lists and numbers for each row."""
    rows: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    spread_infos(infos, rows, num_envs)

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return value.tolist() if isinstance(value, np.ndarray) else value

    return [plain(row) for row in rows]


# --- checked by others ----------------------------------------------------------------------------------------------


def said_of(check: Callable[[], None]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check()
    return [re.sub(r"\x1b\[\d+m", "", str(warning.message)) for warning in caught]


@every_task
def test_gymnasiums_checker_says_nothing(env_id: str) -> None:
    for mode in ("rgb_array", None):
        env = gym.make(env_id, render_mode=mode)
        assert said_of(lambda env=env: gymnasium_check_env(env.unwrapped)) == []


@every_task
def test_sb3s_checker_says_nothing_but_what_is_meant(env_id: str) -> None:
    said = said_of(lambda: sb3_check_env(gym.make(env_id, render_mode="rgb_array"), warn=True))
    assert [message for message in said if not any(known in message for known in KNOWN)] == []


@every_task
def test_the_passive_checker_of_gym_make_says_nothing(env_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(env_id, render_mode="rgb_array")
        env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(8):
            env.step(env.action_space.sample())
        env.render()
        gym.make_vec(env_id, num_envs=2)


@every_task
def test_check_vec_env_says_nothing(env_id: str) -> None:
    with warnings.catch_warnings():
        # Float64 rewards become float32 in SB3VecEnv; nothing else is left to say.
        warnings.simplefilter("error")
        check_vec_env(SB3VecEnv(with_short_episodes(env_id, 3, render_mode="rgb_array")), steps=40)
        check_vec_env(SB3VecEnv(with_short_episodes(env_id, 3, copy=False)), steps=40)


# --- one episode is the same behind every face ----------------------------------------------------------------------


@every_task
@pytest.mark.parametrize("mode", [SAME, NEXT])
def test_a_row_plays_as_an_env_with_its_seed(env_id: str, mode: AutoresetMode) -> None:
    envs = with_short_episodes(env_id, 3, autoreset_mode=mode)
    singles = SyncVectorEnv([lambda: TimeLimit(gym.make(env_id).unwrapped, 7)] * 3, autoreset_mode=mode)
    for seed in (5, None):
        (found, found_info), (expected, expected_info) = envs.reset(seed=seed), singles.reset(seed=seed)
        assert equal(found, expected)
        assert row_infos(found_info, 3) == row_infos(expected_info, 3)
        for action in drawn(envs, 0, 40):
            found, expected = envs.step(action), singles.step(action)
            ended = expected[2] & expected[3]  # a TimeLimit says truncated even of what terminated just then
            expected[3][ended] = False
            for one, other in zip(found[:4], expected[:4], strict=True):
                assert np.array_equal(one, other)
            assert row_infos(found[4], 3) == row_infos(expected[4], 3)


@every_task
def test_seeds(env_id: str) -> None:
    envs = gym.make_vec(env_id, num_envs=64)
    first, _ = envs.reset(seed=3)
    shifted, _ = envs.reset(seed=4)
    assert np.array_equal(first[1:], shifted[:-1])
    again, _ = envs.reset(seed=list(range(3, 67)))
    assert np.array_equal(first, again)
    random = envs.snapshot()["random"]
    assert len(np.unique(random)) == 64
    large, _ = gym.make(env_id).reset(seed=2**70 + 1)
    assert envs.single_observation_space.contains(large)
    with pytest.raises(ValueError, match="2 seeds; one integer or 64"):
        envs.reset(seed=[1, 2])
    one, other = gym.make_vec(env_id, num_envs=4), gym.make_vec(env_id, num_envs=4)
    one.reset()
    other.reset()
    assert not np.array_equal(one.snapshot()["random"], other.snapshot()["random"])


@every_task
def test_a_spec_survives_json_and_makes_the_same_task(env_id: str) -> None:
    env = gym.make(env_id, max_steps=9)
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.max_steps == 9  # type: ignore[attr-defined]
    assert np.array_equal(env.reset(seed=0)[0], again.reset(seed=0)[0])
    env.action_space.seed(0)
    action = env.action_space.sample()
    assert equal(env.step(action)[0], again.step(action)[0])


@pytest.mark.parametrize("env_id", ["Imagine/DynaMaze-v0", "Imagine/MiniPacman-Rush-v0"])
def test_stock_ppo_trains(env_id: str) -> None:
    vec_env = SB3VecEnv(gym.make_vec(env_id, num_envs=16, max_steps=30))
    model = PPO("MlpPolicy", vec_env, n_steps=8, batch_size=64, n_epochs=1, seed=0, device="cpu")
    model.learn(256)
    observation, _ = gym.make(env_id).reset(seed=0)
    assert gym.make(env_id).action_space.contains(int(model.predict(observation)[0]))


# --- clone and restore ----------------------------------------------------------------------------------------------


def played(env: Any, actions: Sequence[Any]) -> list[Any]:
    return [copy.deepcopy(env.step(action)) for action in actions]


@every_task
def test_play_from_a_restored_state_is_the_same_to_the_bit(env_id: str) -> None:
    envs = with_short_episodes(env_id, 50, limit=30)
    actions = drawn(envs, 1, 100)
    envs.reset(seed=0)
    played(envs, actions[:20])
    before = envs.snapshot()
    kept = copy.deepcopy(before)
    record = played(envs, actions)
    assert equal(before, kept), "stepping changed a snapshot"
    other = with_short_episodes(env_id, 50, limit=30)
    for again in (envs, other, pickle.loads(pickle.dumps(envs)), copy.deepcopy(envs)):
        observations = again.restore(before)
        assert observations.shape == again.observation_space.shape
        for expected, found in zip(record, played(again, actions), strict=True):
            assert all(equal(a, b) for a, b in zip(expected, found, strict=True))
    with pytest.raises(ValueError, match=r"has shape \(50"):
        with_short_episodes(env_id, 3).restore(before)
    with pytest.raises(ValueError, match=r"holds \['x'\]"):
        envs.restore({"x": np.zeros(3)})


@every_task
def test_one_env_can_be_pickled_copied_and_restored(env_id: str) -> None:
    env = gym.make(env_id, render_mode="rgb_array").unwrapped
    assert isinstance(env, TaskEnv)
    env.reset(seed=0)
    before = env.snapshot()
    actions = drawn(env, 2, 30)

    def play(env: TaskEnv) -> list[Any]:
        record = []
        for action in actions:
            observation, reward, terminated, truncated, info = env.step(action)
            record.append((observation, reward, terminated, truncated, copy.deepcopy(info)))
            if terminated or truncated:
                record.append(env.reset())
        return record

    copies = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    record = play(env)
    env.restore(before)
    for other in (env, *copies):
        for expected, found in zip(record, play(other), strict=True):
            assert all(equal(a, b) for a, b in zip(expected, found, strict=True))
        assert np.array_equal(other.render(), env.render())


# --- the ends of episodes -------------------------------------------------------------------------------------------


def corridor(**kwargs: Any) -> GridMaze:
    """Three steps to the right reach the goal."""
    return GridMaze([["S..G"]], **kwargs)


RIGHT, LEFT = 3, 2


def test_same_step_autoreset_pairs_each_reward_with_its_step() -> None:
    envs = TaskVectorEnv(corridor(), 2)
    envs.reset(seed=0)
    seen = []
    for action in ([3, 3], [3, 2], [3, 3], [2, 3], [3, 3], [3, 3]):
        observations, rewards, terminations, truncations, infos = envs.step(np.array(action))
        assert not truncations.any()
        assert ("final_obs" in infos) == terminations.any()
        final = [None, None] if "final_obs" not in infos else list(infos["final_obs"])
        seen.append((observations.tolist(), rewards.tolist(), terminations.tolist(), final))
    no, yes = False, True
    assert seen == [
        ([1, 1], [0, 0], [no, no], [None, None]),
        ([2, 0], [0, 0], [no, no], [None, None]),
        ([0, 1], [1, 0], [yes, no], [3, None]),
        ([0, 2], [0, 0], [no, no], [None, None]),
        ([1, 0], [0, 1], [no, yes], [None, 3]),
        ([2, 1], [0, 0], [no, no], [None, None]),
    ]


def test_next_step_autoreset_ignores_the_action_of_the_reset() -> None:
    envs = TaskVectorEnv(corridor(), 2, autoreset_mode=NEXT)
    envs.reset(seed=0)
    seen = []
    for action in ([3, 3], [3, 2], [3, 3], [3, 3], [3, 3]):
        observations, rewards, terminations, _, infos = envs.step(np.array(action))
        assert infos == {}
        seen.append((observations.tolist(), rewards.tolist(), terminations.tolist()))
    no, yes = False, True
    assert seen == [
        ([1, 1], [0, 0], [no, no]),
        ([2, 0], [0, 0], [no, no]),
        ([3, 1], [1, 0], [yes, no]),
        ([0, 2], [0, 0], [no, no]),
        ([1, 3], [0, 1], [no, yes]),
    ]


def test_what_terminates_in_the_last_allowed_step_is_not_truncated() -> None:
    for limit, expected in ((3, (True, False)), (4, (True, False)), (2, (False, True))):
        env = TaskEnv(corridor(max_steps=limit))
        env.reset(seed=0)
        for _ in range(min(limit, 3)):
            _, _, terminated, truncated, _ = env.step(RIGHT)
        assert (terminated, truncated) == expected
        envs = TaskVectorEnv(corridor(max_steps=9), 2, max_episode_steps=limit)
        envs.reset(seed=0)
        for _ in range(min(limit, 3)):
            _, _, terminations, truncations, infos = envs.step(np.array([RIGHT, RIGHT]))
        assert (terminations.all(), truncations.all()) == expected
        assert infos["_final_obs"].all()


def test_the_lower_step_limit_counts() -> None:
    assert gym.make_vec("Imagine/DynaMaze-v0", 2, max_episode_steps=9).unwrapped.max_steps == 9  # type: ignore[attr-defined]
    assert gym.make_vec("Imagine/DynaMaze-v0", 2, max_steps=5, max_episode_steps=9).unwrapped.max_steps == 5  # type: ignore[attr-defined]
    assert gym.make_vec("Imagine/DynaMaze-v0", 2).unwrapped.max_steps == 10_000  # type: ignore[attr-defined]
    assert TaskVectorEnv(DynaMaze(max_steps=None), 2).max_steps is None
    env = gym.make("Imagine/DynaMaze-v0", max_episode_steps=2)
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(2)] == [False, True]


@pytest.mark.parametrize("kwargs", [{}, {"max_episode_steps": 5}], ids=str)
def test_collected_experience_knows_the_step_limit(kwargs: Any, tmp_path: Path) -> None:
    limit = kwargs.get("max_episode_steps", 20)
    make: list[Callable[[], Any]] = [
        lambda: gym.make("Imagine/DynaMaze-v0", max_steps=20, **kwargs),
        lambda: gym.make_vec("Imagine/DynaMaze-v0", 2, max_steps=20, **kwargs),
        lambda: gym.make_vec("Imagine/DynaMaze-v0", 2, max_steps=20, vectorization_mode="sync", **kwargs),
        lambda: SB3VecEnv([lambda: gym.make("Imagine/DynaMaze-v0", max_steps=20, **kwargs)]),
        lambda: gym.make("Imagine/DynaMaze-v0", max_steps=np.int32(20), **kwargs),
    ]
    for env in (function() for function in make):
        replay = collect(env, steps=40, seed=0)
        replay.save(tmp_path / f"{id(replay)}")
        assert replay.max_episode_steps == limit
        assert replay.env_id == "Imagine/DynaMaze-v0"
        assert gym.make(replay.env_id, **replay.env_kwargs).unwrapped.max_steps == 20  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", [SAME, NEXT, None])
def test_collected_records_pair_actions_and_rewards_with_what_they_led_to(mode: AutoresetMode | None) -> None:
    maze = GridMaze([["S.#", "..G"]], max_steps=6)
    env: Any = TaskEnv(maze) if mode is None else TaskVectorEnv(maze, 4, autoreset_mode=mode)
    replay = collect(env, steps=600, seed=0)
    pairs = replay.transitions()
    before, after, action = (part.numpy() for part in (pairs.observation[:, 0], pairs.observation[:, 1], pairs.action))
    assert np.array_equal(after, maze.successors[0, before, action[:, 1], 0])
    assert np.array_equal(pairs.reward[:, 1], after == 5)
    assert np.array_equal(pairs.terminated[:, 1], after == 5)
    assert not pairs.terminated[:, 0].any()
    records = replay.scalars()
    assert (records["reward"][records["first"]] == 0).all()
    episodes = [episode for episode in replay.episodes() if episode.complete]
    assert len(episodes) > 60
    assert {episode.terminated for episode in episodes} == {True, False}
    assert all(episode.stop - episode.start == 7 for episode in episodes if episode.truncated)


def test_some_rows_can_be_reset() -> None:
    envs = TaskVectorEnv(corridor(), 3)
    with pytest.raises(ValueError, match="first reset"):
        envs.reset(options={"reset_mask": np.array([True, False, False])})
    envs.reset(seed=0)
    envs.step(np.full(3, RIGHT))
    observations, _ = envs.reset(options={"reset_mask": np.array([False, True, False])})
    assert observations.tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match=r"booleans \[3\]"):
        envs.reset(options={"reset_mask": [1, 0, 0]})


# --- what comes out -------------------------------------------------------------------------------------------------


@every_task
def test_observations_lie_in_their_space_and_are_new_arrays(env_id: str) -> None:
    envs = with_short_episodes(env_id, 8, limit=50)
    assert envs.fresh_arrays
    observations, _ = envs.reset(seed=0)
    envs.action_space.seed(0)
    for _ in range(60):
        kept = observations.copy()
        after, rewards, terminations, truncations, _ = envs.step(envs.action_space.sample())
        assert np.array_equal(observations, kept)
        assert not np.shares_memory(observations, after)
        assert envs.observation_space.contains(after)
        assert [rewards.dtype, terminations.dtype, truncations.dtype] == [np.float64, bool, bool]
        observations = after
    shared = with_short_episodes(env_id, 8, copy=False)
    one, _ = shared.reset(seed=0)
    assert shared.step(shared.action_space.sample())[0] is one


@every_task
def test_incremental_observations_are_whole_ones(env_id: str) -> None:
    envs = with_short_episodes(env_id, 16, limit=60)
    envs.reset(seed=1)
    envs.action_space.seed(1)
    for _ in range(150):
        observations = envs.step(envs.action_space.sample())[0]
        assert np.array_equal(observations, envs.restore(envs.snapshot()))


@every_task
def test_pictures(env_id: str) -> None:
    env = gym.make(env_id, render_mode="rgb_array", render_size=200)
    env.reset(seed=0)
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert 150 <= max(picture.shape) <= 250
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) >= 3
    envs = gym.make_vec(env_id, num_envs=2, render_mode="rgb_array", render_size=64)
    envs.reset(seed=0)
    first, second = envs.render()  # type: ignore[misc]
    assert first.shape == second.shape
    for size in (1, 37, 300):
        small = gym.make(env_id, render_mode="rgb_array", render_size=size)
        small.reset(seed=0)
        assert small.render().size  # type: ignore[union-attr]


@every_task
def test_a_window_opens(env_id: str) -> None:
    env = gym.make(env_id, render_mode="human")
    env.unwrapped.metadata = {**env.metadata, "render_fps": 0}
    env.reset(seed=0)
    env.action_space.seed(0)
    env.step(env.action_space.sample())
    again = pickle.loads(pickle.dumps(env.unwrapped))
    assert again.render() is None
    again.close()
    env.close()
    env.close()


@every_task
def test_keys_and_names_are_those_of_the_actions(env_id: str) -> None:
    task = gym.make(env_id).unwrapped.task  # type: ignore[attr-defined]
    count = task.action_space.n if isinstance(task.action_space, spaces.Discrete) else task.action_space.shape[0]
    assert len(task.action_names) == count
    assert task.keys
    assert set(task.keys.values()) <= set(range(count))
    for held in ([], [next(iter(task.keys))], list(task.keys)):
        if task.frames_per_second is not None:
            assert task.action_space.contains(task.action_of(held, None))
    env = gym.make(env_id).unwrapped
    env.reset(seed=0)
    assert isinstance(env.status(), str)  # type: ignore[attr-defined]


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: TaskEnv("imagine_envs.tasks.mazes"), "names no BatchedTask; 'module:Class'"),
        (lambda: TaskEnv("imagine_envs.tasks.mazes:Labyrinth"), "names no BatchedTask"),
        (lambda: TaskEnv("imagine_envs.tasks.env:TaskEnv"), "names no BatchedTask"),
        (lambda: TaskEnv(DynaMaze(), render_mode="ansi"), "render_mode='ansi'"),
        (lambda: TaskVectorEnv(DynaMaze(), 0), "num_envs=0"),
        (lambda: TaskVectorEnv(DynaMaze(), 2, render_mode="human"), "a window shows one TaskEnv"),
        (lambda: TaskVectorEnv(DynaMaze(), 2, autoreset_mode=AutoresetMode.DISABLED), "SAME_STEP or NEXT_STEP"),
        (lambda: DynaMaze(max_steps=0), "max_steps=0"),
        (lambda: DynaMaze(observation="picture"), "observation='picture' must be one of 'index', 'coordinates'"),
    ],
)
def test_bad_arguments(function: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        function()


def test_bad_calls() -> None:
    with pytest.raises(TypeError, match="a task has its options already"):
        TaskEnv(DynaMaze(), max_steps=3)
    with pytest.raises(TypeError, match="a BatchedTask or a string"):
        TaskEnv(DynaMaze)  # type: ignore[arg-type]
    env, envs = TaskEnv(DynaMaze()), TaskVectorEnv(DynaMaze(), 2)
    for unready in (lambda: env.step(0), env.snapshot, lambda: envs.step(np.zeros(2, int)), envs.snapshot):
        with pytest.raises(RuntimeError, match="reset"):
            unready()  # type: ignore[operator]
    with pytest.raises(ValueError, match="option 'level'; DynaMaze knows none"):
        env.reset(seed=0, options={"level": 1})
    env.reset(seed=0)
    envs.reset(seed=0)
    for action in (4, -1):
        with pytest.raises(ValueError, match="are not all in Discrete"):
            env.step(action)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        envs.step(np.zeros(3, int))
    with pytest.raises(ValueError, match="integers were expected"):
        envs.step(np.zeros(2))
    assert isinstance(envs.single_observation_space, spaces.Discrete)
