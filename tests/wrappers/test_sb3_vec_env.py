"""SB3VecEnv against SB3's DummyVecEnv, and against native batches whose every number is known."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor

from wrappers import SB3VecEnv
from wrappers._infos import spread_infos

EnvFns = list[Callable[[], gym.Env]]


class Maze(gym.Env):
    """A Dict observation, and infos of every kind, some of which only some steps have."""

    observation_space = spaces.Dict(
        {
            "place": spaces.Box(-np.inf, np.inf, (2,), np.float64),
            "room": spaces.Discrete(3),
            "doors": spaces.MultiBinary(4),
        }
    )
    action_space = spaces.MultiDiscrete([3, 2])

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.options: dict[str, Any] | None = None
        self.offset = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.options = options
        self.steps = 0
        return self._observation(), {"start": float(self.np_random.random()), "attempt": {"of": "reset"}}

    def step(self, action: np.ndarray) -> Any:
        self.steps += 1
        info: dict[str, Any] = {"steps": self.steps, "path": np.arange(2) * self.steps, "nested": {"deep": {"x": 0.5}}}
        if self.steps % 3 == 0:
            info["rare"] = "every third step"
        terminated = bool(self.np_random.random() < 0.2)
        return self._observation(), float(action.sum() * self.np_random.random()), terminated, False, info

    def render(self) -> np.ndarray:
        return np.full((2, 3, 3), self.offset, np.uint8)

    def plus(self, number: int, *, times: int = 1) -> int:
        return (self.offset + number) * times

    def _observation(self) -> dict[str, Any]:
        doors = self.np_random.integers(0, 2, 4).astype(np.int8)
        return {"room": self.np_random.integers(0, 3), "place": self.np_random.normal(size=2), "doors": doors}


class Ruler(VectorEnv):
    """A native batch: row i starts at 100 · i and moves on by the action; its arrays are reused unless told otherwise.

    It terminates after ``length`` steps and is truncated after ``limit``.
    """

    def __init__(
        self, num_envs: int = 3, *, length: int = 100, limit: int = 100, mode: Any = AutoresetMode.SAME_STEP
    ) -> None:
        self.num_envs, self.length, self.limit = num_envs, length, limit
        self.metadata = {"autoreset_mode": mode, "render_fps": 7} if mode is not None else {}
        self.render_mode = "rgb_array"
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.single_action_space = spaces.Discrete(4)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observations = np.zeros((num_envs, 2), np.float32)
        self.rewards = np.zeros(num_envs, np.float32)
        self.clock = np.zeros(num_envs, int)
        self.weight = np.arange(num_envs, dtype=float)
        self.goal = "north"
        self.resets: list[tuple[Any, Any]] = []

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        self.resets.append((seed, deepcopy(options)))
        rows = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        self._restart(rows)
        return self.observations, {"height": self.observations[:, 0].astype(int), "_height": rows}

    def _restart(self, rows: np.ndarray) -> None:
        self.clock[rows] = 0
        self.observations[rows] = 100 * np.flatnonzero(rows)[:, None]

    def step(self, actions: np.ndarray) -> Any:
        self.clock += 1
        self.observations += np.asarray(actions)[:, None]
        self.rewards[:] = actions
        terminated, truncated = self.clock >= self.length, self.clock >= self.limit
        infos: dict[str, Any] = {"uncertainty": self.rewards / 2, "_uncertainty": np.ones(self.num_envs, bool)}
        ended = terminated | truncated
        if ended.any() and self.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP:
            infos |= {"final_obs": self.observations.copy(), "_final_obs": ended}
            self._restart(ended)
        return self.observations, self.rewards, terminated, truncated, infos

    def render(self) -> Any:
        return tuple(np.full((4, 5, 3), row, np.uint8) for row in range(self.num_envs))

    def action_masks(self) -> np.ndarray:
        return np.arange(4) == (self.clock % 4)[:, None]

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        return -np.abs(achieved - desired)

    def weighted(self, factor: float) -> list[float]:
        return (self.weight * factor).tolist()


class OneObservation(gym.Env):
    """Writes every observation into one array, also those of resets."""

    observation_space = spaces.Box(-1, 1000, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.observation = np.zeros(1, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.observation[:] = 0
        return self.observation, {}

    def step(self, action: int) -> Any:
        self.observation += 1
        return self.observation, 0.0, bool(self.observation[0] == 3), False, {}


CARTPOLE: EnvFns = [partial(gym.make, "CartPole-v1", max_episode_steps=limit) for limit in (12, 30, 12)]
PENDULUM: EnvFns = [partial(gym.make, "Pendulum-v1", max_episode_steps=9) for _ in range(3)]
MAZE: EnvFns = [lambda: TimeLimit(Maze(), 7) for _ in range(3)]
ALL = pytest.mark.parametrize("env_fns", [CARTPOLE, PENDULUM, MAZE], ids=["cartpole", "pendulum", "maze"])


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert isinstance(other, dict)
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for item, other_item in zip(one, other, strict=True):
            assert_same(item, other_item)
    elif isinstance(one, np.ndarray):
        assert isinstance(other, np.ndarray)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    else:
        assert one == other


def rollout(env: VecEnv, steps: int = 60, seed: int = 5) -> list[Any]:
    """All that a VecEnv says; a second seed comes in the middle."""
    space = deepcopy(env.action_space)
    space.seed(seed)
    said: list[Any] = []
    for start in (seed, seed + 1000):
        env.seed(start)
        said.append((env.reset(), deepcopy(env.reset_infos)))
        for _ in range(steps):
            result = env.step(np.array([space.sample() for _ in range(env.num_envs)]))
            said.append((*deepcopy(result), deepcopy(env.reset_infos)))
    return said


@ALL
def test_a_list_of_functions_steps_as_dummy_vec_env_does(env_fns: EnvFns) -> None:
    expected, found = rollout(DummyVecEnv(env_fns)), rollout(SB3VecEnv(env_fns))
    assert_same(found, expected)
    ends = [info for step in expected if len(step) == 5 for info in step[3] if "terminal_observation" in info]
    assert len(ends) > 6
    assert any(info["TimeLimit.truncated"] for info in ends)
    if env_fns is not PENDULUM:
        assert not all(info["TimeLimit.truncated"] for info in ends)


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
@ALL
def test_a_sync_vector_env_steps_as_dummy_vec_env_does(env_fns: EnvFns, mode: AutoresetMode) -> None:
    assert_same(rollout(SB3VecEnv(SyncVectorEnv(env_fns, autoreset_mode=mode))), rollout(DummyVecEnv(env_fns)))


@pytest.mark.parametrize("shared_memory", [True, False])
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_an_async_vector_env_steps_as_dummy_vec_env_does(mode: AutoresetMode, shared_memory: bool) -> None:
    env: Any = SB3VecEnv(AsyncVectorEnv(MAZE, autoreset_mode=mode, shared_memory=shared_memory))
    assert_same(rollout(env), rollout(DummyVecEnv(MAZE)))
    env.close()


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_buffers_that_the_batch_uses_again_are_copied(mode: AutoresetMode) -> None:
    env: Any = SB3VecEnv(SyncVectorEnv(CARTPOLE, copy=False, autoreset_mode=mode))
    space, expected = env.action_space, rollout(DummyVecEnv(CARTPOLE))
    space.seed(5)
    env.seed(5)
    said: list[Any] = [env.reset()]
    for _ in range(60):
        said.append(env.step(np.array([space.sample() for _ in range(3)])))
    assert_same(said[0], expected[0][0])
    for found, wanted in zip(said[1:], expected[1:61], strict=True):
        assert_same(list(found), list(wanted[:4]))


def test_a_final_observation_is_not_spoiled_by_an_environment_that_writes_into_it() -> None:
    env: Any = SB3VecEnv([OneObservation])
    env.reset()
    infos = [env.step(np.zeros(1, int))[3] for _ in range(3)][-1]
    assert infos[0]["terminal_observation"] == [3]


def test_infos_of_a_list_keep_their_own_types_and_shapes() -> None:
    class Moody(gym.Env):
        observation_space, action_space = spaces.Box(0, 1, (1,)), spaces.Discrete(2)

        def __init__(self, value: Any) -> None:
            self.value = value

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return np.zeros(1, np.float32), {}

        def step(self, action: int) -> Any:
            return np.zeros(1, np.float32), 0.0, False, False, {"value": self.value}

    values: list[Any] = [0, 0.5, None, np.zeros(2), np.zeros((3, 1)), [1, 2], np.float32(1)]
    env: Any = SB3VecEnv([partial(Moody, value) for value in values])
    env.reset()
    found = [info["value"] for info in env.step(np.zeros(len(values), int))[3]]
    assert_same(found, values)
    assert [type(item) for item in found] == [type(item) for item in values]


# --- native batches ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
@pytest.mark.parametrize(("length", "limit", "timeout"), [(2, 9, False), (9, 2, True), (2, 2, False)])
def test_a_native_batch_hands_over_its_final_observations(
    mode: AutoresetMode, length: int, limit: int, timeout: bool
) -> None:
    native = Ruler(length=length, limit=limit, mode=mode)
    env: Any = SB3VecEnv(native)
    assert env.reset().tolist() == [[0, 0], [100, 100], [200, 200]]
    native.clock[1] = -5  # so that row 1 goes on when the others end
    obs, rewards, dones, infos = env.step(np.array([1, 2, 3]))
    assert [info.keys() for info in infos] == [{"uncertainty", "TimeLimit.truncated"}] * 3
    assert [info["TimeLimit.truncated"] for info in infos] == [False] * 3
    obs, rewards, dones, infos = env.step(np.array([1, 2, 3]))
    assert obs.tolist() == [[0, 0], [104, 104], [200, 200]]
    assert rewards.tolist() == [1, 2, 3]
    assert dones.tolist() == [True, False, True]
    assert [info["TimeLimit.truncated"] for info in infos] == [timeout, False, timeout]
    assert [info["uncertainty"] for info in infos] == [0.5, 1.0, 1.5]
    assert infos[0]["terminal_observation"].tolist() == [2, 2]
    assert infos[2]["terminal_observation"].tolist() == [206, 206]
    assert "terminal_observation" not in infos[1]
    assert infos[0]["terminal_observation"].dtype == np.float32
    if mode is AutoresetMode.DISABLED:
        assert env.reset_infos == [{"height": 0}, {"height": 100}, {"height": 200}]
        assert native.resets[-1][1]["reset_mask"].tolist() == [True, False, True]


def test_the_rows_that_go_on_are_not_taken_from_a_masked_reset() -> None:
    class Forgetful(Ruler):
        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            observations, infos = super().reset(seed=seed, options=options)
            if options is not None:
                observations = np.where(options["reset_mask"][:, None], observations, -1)
            return observations, infos

    native = Forgetful(limit=1, mode=AutoresetMode.DISABLED)
    env: Any = SB3VecEnv(native)
    env.reset()
    native.clock[1] = -5
    assert env.step(np.array([1, 2, 3]))[0].tolist() == [[0, 0], [102, 102], [200, 200]]


def test_arrays_are_new_in_every_step_and_writeable() -> None:
    env: Any = SB3VecEnv(Ruler(limit=2))
    kept = [env.reset()]
    for _ in range(4):
        kept += env.step(np.ones(3, int))[:3]
    for index, array in enumerate(kept):
        assert array.flags.writeable
        assert not any(np.shares_memory(array, other) for other in kept[index + 1 :])
    assert kept[0].tolist() == [[0, 0], [100, 100], [200, 200]]


def test_a_batch_with_fresh_arrays_is_not_copied() -> None:
    native = Ruler()
    native.fresh_arrays = True  # type: ignore[attr-defined]
    assert SB3VecEnv(native).reset() is native.observations


def test_a_read_only_array_is_copied_even_so() -> None:
    native = Ruler()
    native.fresh_arrays = True  # type: ignore[attr-defined]
    native.observations.flags.writeable = False
    native._restart = lambda rows: None  # type: ignore[method-assign]
    env: Any = SB3VecEnv(native)
    assert env.reset().flags.writeable


def test_types_are_those_of_sb3_whatever_the_batch_returns() -> None:
    class Tensors(Ruler):
        def step(self, actions: np.ndarray) -> Any:
            observations, rewards, terminated, truncated, infos = super().step(actions)
            infos = {key: torch.as_tensor(value) for key, value in infos.items()}
            infos["final_obs"] = infos["final_obs"].to(torch.float64)
            return (
                torch.as_tensor(observations, dtype=torch.float64),
                torch.as_tensor(rewards),
                *map(torch.as_tensor, (terminated, truncated)),
                infos,
            )

    env: Any = SB3VecEnv(Tensors(limit=1))
    env.reset()
    obs, rewards, dones, infos = env.step([1, 2, 3])
    assert (obs.dtype, rewards.dtype, dones.dtype) == (np.float32, np.float32, np.bool_)
    assert infos[1]["terminal_observation"].tolist() == [102, 102]
    assert infos[1]["terminal_observation"].dtype == np.float32
    assert infos[1]["uncertainty"] == 1.0
    assert isinstance(infos[1]["TimeLimit.truncated"], bool)


def test_dict_observations_of_a_native_batch() -> None:
    class Pair(VectorEnv):
        num_envs = 2
        metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
        single_observation_space = spaces.Dict({"a": spaces.Box(0, 9, (2,), np.float64), "b": spaces.Discrete(9)})
        single_action_space = spaces.Box(-1, 1, (1,))
        observation_space = batch_space(single_observation_space, 2)
        action_space = batch_space(single_action_space, 2)

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            return {"a": np.zeros((2, 2)), "b": np.array([0, 1])}, {}

        def step(self, actions: np.ndarray) -> Any:
            final = {"a": np.array([[1.0, 2], [3, 4]]), "b": np.array([5, 6])}
            ended = np.array([False, True])
            infos = {"final_obs": final, "_final_obs": ended, "final_info": {"won": np.array([0, 1]), "_won": ended}}
            infos |= {"fresh": np.array([7, 8]), "TimeLimit.truncated": np.array([True, True])}  # the latter is wrong
            return self.reset()[0], np.zeros(2), ended, np.zeros(2, bool), infos

    env: Any = SB3VecEnv(Pair())
    env.reset()
    obs, _, dones, infos = env.step(np.zeros((2, 1)))
    assert dones.tolist() == [False, True]
    assert (obs["a"].dtype, obs["b"].dtype) == (np.float64, np.int64)
    assert infos[0] == {"TimeLimit.truncated": False, "fresh": 7}
    terminal = infos[1].pop("terminal_observation")
    assert terminal["a"].tolist() == [3, 4]
    assert terminal["b"] == 6
    assert infos[1] == {"TimeLimit.truncated": False, "won": 1}
    assert env.reset_infos[1] == {"fresh": 8}


def test_infos_are_spread_by_their_masks() -> None:
    columns: dict[str, Any] = {
        "speed": np.array([0.5, 1.5, 2.5], np.float32),
        "cell": np.arange(3)[:, None],
        "path": np.arange(6).reshape(3, 2),
        "_path": np.array([True, False, True]),
        "never": np.zeros(3),
        "_never": np.zeros(3, bool),
        "shared": {"fps": 30, "names": ["a", "b", "c"], "_names": np.array([False, True, True])},
        "inner": {"x": np.array([7, 8, 9]), "_x": np.array([True, True, False])},
        "_inner": np.array([True, False, True]),
        "image": np.zeros((2, 2)),
    }
    rows: list[dict[str, Any]] = [{}, {}, {}]
    spread_infos(columns, rows, 3)
    image = columns["image"]
    assert_same(
        rows,
        [
            {
                "speed": 0.5,
                "cell": np.array([0]),
                "path": np.array([0, 1]),
                "shared": {"fps": 30},
                "inner": {"x": 7},
                "image": image,
            },
            {"speed": 1.5, "cell": np.array([1]), "shared": {"fps": 30, "names": "b"}, "image": image},
            {
                "speed": 2.5,
                "cell": np.array([2]),
                "path": np.array([4, 5]),
                "shared": {"fps": 30, "names": "c"},
                "inner": {},
                "image": image,
            },
        ],
    )
    assert type(rows[0]["speed"]) is float
    chosen: list[dict[str, Any]] = [{}]
    spread_infos(columns, chosen, 3, np.array([2]))
    assert_same(chosen, rows[2:])
    columns["path"][:] = columns["cell"][:] = -1
    assert rows[2]["path"].tolist() == [4, 5]
    assert rows[2]["cell"].tolist() == [2]


def test_statistics_of_gymnasium_reach_the_info_of_the_step() -> None:
    batch = RecordEpisodeStatistics(SyncVectorEnv(PENDULUM, autoreset_mode=AutoresetMode.SAME_STEP))
    env: Any = SB3VecEnv(batch)
    env.seed(0)
    env.reset()
    results = [env.step(np.zeros((3, 1), np.float32)) for _ in range(9)]
    expected = np.sum([rewards for _, rewards, _, _ in results], axis=0)
    assert [info["episode"]["l"] for info in results[-1][3]] == [9, 9, 9]
    assert np.allclose([info["episode"]["r"] for info in results[-1][3]], expected)
    assert not any("episode" in info for info in env.reset_infos)


# --- seeds, options, the two halves of a step -------------------------------------------------------------------------


def test_seeds_count_once_and_a_native_batch_has_the_first() -> None:
    native = Ruler()
    env: Any = SB3VecEnv(native)
    assert env.seed(7) == [7, 8, 9]
    env.reset()
    env.reset()
    assert native.resets == [(7, None), (None, None)]


def test_options_count_once_and_may_differ_in_a_list() -> None:
    env: Any = SB3VecEnv([Maze, Maze, Maze])
    env.reset()
    assert env.get_attr("options") == [None, None, None]
    env.set_options({"level": 1})
    env.reset()
    assert env.get_attr("options") == [{"level": 1}] * 3
    env.set_options([{"level": 1}, {"level": 2}, {}])
    env.seed(3)
    found = env.reset()
    assert env.get_attr("options") == [{"level": 1}, {"level": 2}, {}]
    expected: Any = DummyVecEnv([Maze, Maze, Maze])
    expected.seed(3)
    assert_same(found, expected.reset())
    assert_same(env.reset_infos, expected.reset_infos)
    env.reset()
    assert env.get_attr("options") == [None, None, None]


def test_a_step_that_was_not_started_cannot_end() -> None:
    env: Any = SB3VecEnv([Maze])
    env.reset()
    env.step(env.action_space.sample()[None])
    with pytest.raises(RuntimeError, match="without step_async"):
        env.step_wait()


@pytest.mark.parametrize("cls", [SyncVectorEnv, AsyncVectorEnv])
def test_a_reset_cancels_a_step_under_way(cls: Any) -> None:
    env: Any = SB3VecEnv(cls(PENDULUM, autoreset_mode=AutoresetMode.SAME_STEP))
    env.seed(1)
    expected = env.reset()
    env.step_async(np.zeros((3, 1), np.float32))
    env.seed(1)
    assert np.array_equal(env.reset(), expected)
    with pytest.raises(RuntimeError, match="without step_async"):
        env.step_wait()
    env.close()


# --- attributes and methods -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [SB3VecEnv, DummyVecEnv, lambda fns: SB3VecEnv(SyncVectorEnv(fns, autoreset_mode="SameStep"))]
)
def test_single_environments_are_reached_as_in_dummy_vec_env(make: Any) -> None:
    env = make([lambda: Maze(), lambda: Monitor(Maze()), lambda: Maze()])
    assert env.has_attr("offset")
    assert not env.has_attr("nothing")
    env.set_attr("offset", 10, indices=[0, -1])
    assert env.get_attr("offset") == [10, 0, 10]
    assert env.get_attr("offset", indices=1) == [0]
    assert env.env_method("plus", 1, times=2) == [22, 2, 22]
    assert env.env_method("plus", 1, indices=[2, 1]) == [11, 1]
    assert env.env_is_wrapped(Monitor) == [False, True, False]
    assert env.env_is_wrapped(Monitor, indices=[1]) == [True]
    env.set_attr("offset", 5)
    assert env.envs[1].offset == 5  # on the outermost wrapper
    assert env.envs[1].unwrapped.offset == 0
    with pytest.raises(AttributeError):
        env.get_attr("nothing")


def test_environments_in_workers_are_reached_and_survive_a_wrong_name() -> None:
    env: Any = SB3VecEnv(AsyncVectorEnv([Maze, Maze, Maze], autoreset_mode=AutoresetMode.SAME_STEP))
    assert not is_masking_supported(env)
    for call in (env.get_attr, env.env_method):
        with pytest.raises(AttributeError, match="'nothing'"):
            call("nothing")
    env.set_attr("offset", [1, 2, 3])
    assert env.get_attr("offset") == [[1, 2, 3]] * 3
    env.set_attr("offset", 10)
    env.set_attr("offset", 20, indices=[-1])
    assert env.get_attr("offset") == [10, 10, 20]
    assert env.get_attr("offset", indices=[2, 0]) == [20, 10]
    assert env.env_method("plus", 1, times=2) == [22, 22, 42]
    assert env.env_method("plus", 1, indices=2) == [21]
    assert env.env_is_wrapped(Monitor) == [False] * 3
    assert callable(env.get_attr("plus")[0])
    assert_same(rollout(env), rollout(DummyVecEnv([Maze, Maze, Maze])))
    env.close()


def test_a_native_batch_has_one_value_for_each_environment_or_one_for_all() -> None:
    native = Ruler()
    env: Any = SB3VecEnv(native)
    assert env.get_attr("weight") == [0, 1, 2]
    assert env.get_attr("weight", indices=[2, 0]) == [2, 0]
    assert env.get_attr("goal") == ["north"] * 3
    assert env.get_attr("goal", indices=1) == ["north"]
    assert env.get_attr("observation_space") == [native.single_observation_space] * 3
    assert env.has_attr("action_masks")
    assert not env.has_attr("nothing")
    assert env.env_method("weighted", 2) == [0, 2, 4]
    assert env.env_is_wrapped(Monitor) == [False] * 3
    env.set_attr("weight", 9, indices=[1])
    assert native.weight.tolist() == [0, 9, 2]
    env.set_attr("goal", "south")
    assert native.goal == "south"
    env.set_attr("new", 1)
    assert env.get_attr("new") == [1, 1, 1]
    with pytest.raises(ValueError, match=r"set_attr\('goal', …, indices=\[0\]\)"):
        env.set_attr("goal", "west", indices=[0])
    for call in (env.get_attr, env.env_method):
        with pytest.raises(AttributeError, match="'nothing'"):
            call("nothing")
    with pytest.raises(AttributeError, match="no environments in this process"):
        _ = env.envs


def test_a_native_batch_is_reached_through_its_wrappers() -> None:
    native = Ruler()
    env: Any = SB3VecEnv(RecordEpisodeStatistics(native))
    assert env.get_attr("weight") == [0, 1, 2]
    assert env.get_attr("episode_count") == [0, 0, 0]
    env.set_attr("goal", "east")
    assert native.goal == "east"
    assert env.env_method("weighted", 1, indices=[1]) == [1]


def test_compute_reward_is_never_divided_among_the_environments() -> None:
    env: Any = SB3VecEnv(Ruler())
    for size in (3, 5):  # 3 is the number of environments, too
        (rewards,) = env.env_method("compute_reward", np.arange(size), np.zeros(size), [{}] * size, indices=[0])
        assert rewards.tolist() == [-number for number in range(size)]


def test_masks_of_a_native_batch_are_rows() -> None:
    env: Any = SB3VecEnv(Ruler())
    env.reset()
    assert is_masking_supported(env)
    assert get_action_masks(env).tolist() == [[True, False, False, False]] * 3
    assert env.env_method("action_masks", indices=[1])[0].tolist() == [True, False, False, False]


# --- rendering, files -------------------------------------------------------------------------------------------------


def test_pictures_are_tiled() -> None:
    native = SB3VecEnv(Ruler(4))
    assert [image.max() for image in native.get_images()] == [0, 1, 2, 3]  # type: ignore[union-attr]
    picture = native.render()
    assert picture is not None
    assert picture.shape == (8, 10, 3)
    assert picture[::4, ::5, 0].tolist() == [[0, 1], [2, 3]]
    assert native.metadata["render_fps"] == 7
    single = SB3VecEnv([lambda: Maze("rgb_array")] * 2)
    assert single.render_mode == "rgb_array"
    assert single.render().shape == (4, 3, 3)  # type: ignore[union-attr]


def test_pictures_need_a_render_mode() -> None:
    env: Any = SB3VecEnv([Maze, Maze])
    assert env.render_mode is None
    with pytest.warns(UserWarning, match="render_mode='rgb_array'"):
        assert env.get_images() == [None, None]


def test_another_number_of_pictures_than_environments_is_refused() -> None:
    native = Ruler()
    native.render = lambda: (np.zeros((2, 2, 3)),)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="returned 1 pictures; 3 were expected"):
        SB3VecEnv(native).get_images()


@pytest.mark.parametrize("make", [lambda: SB3VecEnv(Ruler()), lambda: SB3VecEnv([Maze, Maze])])
def test_it_can_be_pickled(make: Callable[[], SB3VecEnv]) -> None:
    env = make()
    env.seed(0)
    env.reset()
    twin = pickle.loads(pickle.dumps(env))
    actions = np.array([env.action_space.sample() for _ in range(env.num_envs)])
    assert_same(list(twin.step(actions)), list(env.step(actions)))


def test_closing_closes_the_batch_once() -> None:
    native = Ruler()
    env: Any = SB3VecEnv(native)
    env.close()
    env.close()
    assert native.closed


# --- SB3 around it ----------------------------------------------------------------------------------------------------


def test_vec_monitor_keeps_the_statistics() -> None:
    env: Any = VecMonitor(SB3VecEnv(Ruler(limit=4)))
    env.reset()
    infos = [env.step(np.array([1, 2, 3]))[3] for _ in range(4)][-1]
    assert [(info["episode"]["r"], info["episode"]["l"]) for info in infos] == [(4, 4), (8, 4), (12, 4)]
    assert infos[0]["terminal_observation"].tolist() == [4, 4]


def test_make_vec_env_takes_it_as_class() -> None:
    found: Any = make_vec_env("CartPole-v1", 3, seed=4, vec_env_cls=SB3VecEnv)  # type: ignore[arg-type]
    expected = make_vec_env("CartPole-v1", 3, seed=4)
    assert type(found) is SB3VecEnv
    assert found.env_is_wrapped(Monitor) == [True] * 3
    assert_same(found.reset(), expected.reset())
    episodes = 0
    for step in range(80):
        actions = np.array([step % 2, 0, 1])
        result, wanted = found.step(actions), expected.step(actions)
        for info in (*result[3], *wanted[3]):
            info.get("episode", {}).pop("t", None)  # seconds
        assert_same(list(result), list(wanted))
        episodes += sum("episode" in info for info in result[3])
    assert episodes > 10


@pytest.mark.parametrize(
    "make",
    [
        lambda: PPO("MlpPolicy", SB3VecEnv(CARTPOLE), n_steps=16, batch_size=24, n_epochs=1, device="cpu"),
        lambda: PPO("MultiInputPolicy", SB3VecEnv(MAZE), n_steps=16, batch_size=24, n_epochs=1, device="cpu"),
        lambda: PPO("MlpPolicy", VecMonitor(SB3VecEnv(Ruler(limit=5))), n_steps=16, batch_size=24, n_epochs=1),
        lambda: DQN("MlpPolicy", SB3VecEnv(CARTPOLE), learning_starts=10, buffer_size=500, device="cpu"),
        lambda: DQN("MlpPolicy", VecMonitor(SB3VecEnv(Ruler(limit=5))), learning_starts=10, buffer_size=500),
    ],
    ids=["ppo", "ppo-dict", "ppo-native", "dqn", "dqn-native"],
)
def test_stock_algorithms_learn_without_a_warning(make: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = make()
        model.learn(60)
    assert model.num_timesteps >= 60
    if isinstance(model.env, VecMonitor):
        assert len(model.ep_info_buffer) > 0


def test_maskable_ppo_learns_from_a_native_batch_and_keeps_to_the_masks() -> None:
    class Strict(Ruler):
        def step(self, actions: np.ndarray) -> Any:
            assert self.action_masks()[np.arange(self.num_envs), actions].all()
            return super().step(actions)

    model = MaskablePPO("MlpPolicy", SB3VecEnv(Strict(limit=5)), n_steps=16, batch_size=24, n_epochs=1, device="cpu")
    model.learn(96)
    assert model.num_timesteps == 96


# --- bad input --------------------------------------------------------------------------------------------------------


def test_the_next_step_is_too_late_for_a_reset() -> None:
    for batch in (SyncVectorEnv(CARTPOLE), Ruler(mode=AutoresetMode.NEXT_STEP), Ruler(mode="NextStep")):
        with pytest.raises(ValueError, match=r"NEXT_STEP.*autoreset_mode=AutoresetMode.SAME_STEP"):
            SB3VecEnv(batch)


def test_the_same_step_is_to_be_had_where_gymnasiums_own_batch_is_native() -> None:
    with pytest.raises(ValueError, match=r"vectorization_mode='sync', vector_kwargs=\{'autoreset_mode'"):
        SB3VecEnv(gym.make_vec("CartPole-v1", 2))
    same_step = {"autoreset_mode": AutoresetMode.SAME_STEP}
    assert SB3VecEnv(gym.make_vec("CartPole-v1", 2, vectorization_mode="sync", vector_kwargs=same_step)).num_envs == 2


@pytest.mark.parametrize(("mode", "found"), [(None, "None"), ("sometimes", "'sometimes'")])
def test_a_batch_must_say_when_it_resets(mode: Any, found: str) -> None:
    with pytest.raises(ValueError, match=rf"metadata\['autoreset_mode'\] of .* is {found}"):
        SB3VecEnv(Ruler(mode=mode))


def test_the_mode_of_a_sync_vector_env_is_its_own() -> None:
    env_fns: EnvFns = [Maze]
    batch = SyncVectorEnv(env_fns, autoreset_mode=AutoresetMode.SAME_STEP)
    batch.metadata["autoreset_mode"] = AutoresetMode.NEXT_STEP  # as another batch of Maze does in Gymnasium 1.1
    assert SB3VecEnv(batch).num_envs == 1


@pytest.mark.parametrize(
    ("env", "error", "match"),
    [
        (gym.make("CartPole-v1"), TypeError, "single gymnasium.Env"),
        (DummyVecEnv([Maze]), TypeError, "VecEnv already"),
        ("CartPole-v1", TypeError, "'CartPole-v1' \\(str\\)"),
        (Maze, TypeError, "a list of functions"),
        ([Maze()], TypeError, r"env\[0\] is .*\(Maze\); a function"),
        ([Maze, lambda: 3], TypeError, r"env\[1\]\(\) returned 3 \(int\)"),
        ([], ValueError, "num_envs = 0"),
        (Ruler(0), ValueError, "num_envs of .* is 0"),
    ],
    ids=["env", "vec-env", "id", "class", "list-of-envs", "not-an-env", "empty", "no-rows"],
)
def test_anything_else_is_refused_with_a_remedy(env: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        SB3VecEnv(env)


def test_one_environment_cannot_be_two() -> None:
    env = Maze()
    with pytest.raises(ValueError, match="returned the same environment"):
        SB3VecEnv([lambda: env, lambda: env])


@pytest.mark.parametrize(
    ("space", "match"),
    [
        (spaces.Tuple([spaces.Discrete(2)]), "the observation space is Tuple"),
        (spaces.Dict({"a": spaces.Dict({"b": spaces.Discrete(2)})}), "the observation space at 'a' is Dict"),
    ],
)
def test_spaces_that_sb3_cannot_have_are_refused(space: spaces.Space[Any], match: str) -> None:
    native = Ruler()
    native.single_observation_space = space
    with pytest.raises(ValueError, match=match):
        SB3VecEnv(native)


@pytest.mark.parametrize(
    ("replacement", "match"),
    [
        ((np.zeros((3, 3)), np.zeros(3), np.zeros(3), np.zeros(3), {}), r"observations of shape \(3, 3\)"),
        ((np.zeros((3, 2)), np.zeros((3, 1)), np.zeros(3), np.zeros(3), {}), r"rewards of shape \(3, 1\)"),
        ((np.zeros((3, 2)), np.zeros(3), np.zeros(2), np.zeros(3), {}), r"terminations of shape \(2,\)"),
        ((np.zeros((3, 2)), np.zeros(3), np.zeros(3), np.zeros(4), {}), r"truncations of shape \(4,\)"),
        ((np.zeros((3, 2)), np.zeros(3), np.ones(3), np.zeros(3), {}), "has no observation of it"),
    ],
)
def test_a_batch_that_breaks_the_rules_is_named(replacement: Any, match: str) -> None:
    native = Ruler()
    env: Any = SB3VecEnv(native)
    env.reset()
    native.step = lambda actions: replacement  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=match):
        env.step(np.zeros(3, int))
