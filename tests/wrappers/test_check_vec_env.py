"""check_vec_env passes what keeps SB3's rules, and catches every way to break one."""

from __future__ import annotations

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
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecCheckNan,
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from wrappers import SB3VecEnv, check_vec_env


class Forest(gym.Env):
    """A Dict observation with an image; only the fitting one of three actions is allowed in each step."""

    observation_space = spaces.Dict(
        {"view": spaces.Box(0, 255, (6, 5, 3), np.uint8), "depth": spaces.Discrete(9), "wind": spaces.Box(-1, 1, (2,))}
    )
    action_space = spaces.Discrete(3)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action: int) -> Any:
        assert self.action_masks()[action]
        self.steps += 1
        return self._observation(), float(self.np_random.random()), bool(self.np_random.random() < 0.05), False, {}

    def action_masks(self) -> np.ndarray:
        return np.arange(3) == self.steps % 3

    def render(self) -> np.ndarray:
        return np.zeros((6, 5, 3), np.uint8)

    def _observation(self) -> dict[str, Any]:
        view = self.np_random.integers(0, 256, (6, 5, 3), np.uint8)
        return {"view": view, "depth": self.np_random.integers(9), "wind": self.np_random.random(2, np.float32)}


def cartpole() -> gym.Env:
    return gym.make("CartPole-v1", max_episode_steps=15)


def forest() -> gym.Env:
    return TimeLimit(Forest("rgb_array"), 10)


def pendulum() -> gym.Env:
    return gym.make("Pendulum-v1")


def image() -> gym.Env:
    return gym.wrappers.TransformObservation(
        forest(), lambda observation: observation["view"], Forest.observation_space["view"]
    )


def wrapped(wrapper: Any, env_fn: Callable[[], gym.Env], **kwargs: Any) -> Callable[[], VecEnv]:
    return lambda: wrapper(DummyVecEnv([env_fn, env_fn]), **kwargs)


@pytest.mark.parametrize("cls", [DummyVecEnv, SB3VecEnv])
@pytest.mark.parametrize("env_fn", [cartpole, pendulum, forest, image, lambda: Monitor(cartpole())])
@pytest.mark.parametrize("num_envs", [1, 3])
def test_sb3s_own_and_ours_pass(cls: Any, env_fn: Callable[[], gym.Env], num_envs: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_vec_env(cls([env_fn] * num_envs))


@pytest.mark.parametrize(
    "make",
    [
        wrapped(VecMonitor, cartpole),
        wrapped(VecMonitor, forest),
        wrapped(VecFrameStack, cartpole, n_stack=3),
        wrapped(VecFrameStack, pendulum, n_stack=3),
        wrapped(VecFrameStack, image, n_stack=2),
        wrapped(VecNormalize, cartpole),
        wrapped(VecNormalize, cartpole, training=False),
        wrapped(VecNormalize, forest, norm_obs_keys=["wind"]),
        wrapped(VecCheckNan, pendulum),
        wrapped(VecTransposeImage, image),
        wrapped(VecTransposeImage, forest),
        lambda: VecMonitor(VecFrameStack(SB3VecEnv([cartpole, cartpole]), 2)),
        lambda: SB3VecEnv(SyncVectorEnv([forest, forest], autoreset_mode=AutoresetMode.DISABLED)),
        lambda: SB3VecEnv(SyncVectorEnv([cartpole], copy=False, autoreset_mode=AutoresetMode.SAME_STEP)),
        lambda: SB3VecEnv(AsyncVectorEnv([forest, forest], autoreset_mode=AutoresetMode.SAME_STEP)),
        lambda: SB3VecEnv(AsyncVectorEnv([cartpole, cartpole], autoreset_mode=AutoresetMode.DISABLED)),
    ],
)
def test_wrappers_and_adapted_batches_pass(make: Callable[[], VecEnv]) -> None:
    env = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_vec_env(env)
    env.close()


def test_subproc_vec_env_passes_but_for_the_type_of_its_rewards() -> None:
    env = SubprocVecEnv([cartpole, cartpole], start_method="fork")
    with pytest.warns(UserWarning, match="float64") as found:
        check_vec_env(env)
    assert len(found) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_vec_env(env, warn=False)
    env.close()


def test_the_random_state_of_the_action_space_is_left_alone() -> None:
    env = DummyVecEnv([cartpole])
    env.action_space.seed(3)
    expected = deepcopy(env.action_space)
    check_vec_env(env)
    assert [env.action_space.sample() for _ in range(20)] == [expected.sample() for _ in range(20)]


# --- one defect each --------------------------------------------------------------------------------------------------


class Sound(DummyVecEnv):
    """Keeps the rules; each of the classes below breaks one."""

    def __init__(self, env_fn: Callable[[], gym.Env] = cartpole, num_envs: int = 2) -> None:
        super().__init__([env_fn] * num_envs)

    def reset(self) -> Any:
        return super().reset()

    def step_wait(self) -> Any:
        return super().step_wait()


DEFECTS: list[Any] = []


def defect(match: str) -> Callable[[Any], Any]:
    """Registers a broken class with what the error must say of it."""

    def register(cls: Any) -> Any:
        DEFECTS.append(pytest.param(cls, match, id=cls.__name__))
        return cls

    return register


@defect(r"reset\(\) returned a tuple")
class ResetReturnsInfosToo(Sound):
    def reset(self) -> Any:
        return super().reset(), self.reset_infos


@defect(r"what reset\(\) returned has the type float64; float32")
class ResetHasAnotherType(Sound):
    def reset(self) -> Any:
        return super().reset().astype(np.float64)


@defect(r"what reset\(\) returned has the shape \(1, 4\); \(2, 4\)")
class ResetReturnsOneRow(Sound):
    def reset(self) -> Any:
        return super().reset()[:1]


@defect(r"what reset\(\) returned is a Tensor; a numpy array")
class ResetReturnsATensor(Sound):
    def reset(self) -> Any:
        return torch.as_tensor(super().reset())


@defect(r"what reset\(\) returned has the keys \['depth', 'wind'\]")
class ResetForgetsAKey(Sound):
    def __init__(self) -> None:
        super().__init__(forest)

    def reset(self) -> Any:
        return {key: value for key, value in super().reset().items() if key != "view"}


@defect(r"what reset\(\) returned\['view'\] has the type float32; uint8")
class ResetReturnsAFloatImage(Sound):
    def __init__(self) -> None:
        super().__init__(forest)

    def reset(self) -> Any:
        return {key: value.astype(np.float32) if key == "view" else value for key, value in super().reset().items()}


@defect("what reset.. returned is a ndarray; a dict was expected")
class ResetReturnsAnArrayForADict(Sound):
    def __init__(self) -> None:
        super().__init__(forest)

    def reset(self) -> Any:
        return super().reset()["wind"]


@defect(r"what reset\(\) returned is not in the observation space")
class ResetIsOutOfBounds(Sound):
    def reset(self) -> Any:
        return super().reset() + 100


@defect(r"what step\(\) returned is not in the observation space .* from nan to nan")
class StepReturnsNan(Sound):
    def step_wait(self) -> Any:
        obs, *rest = super().step_wait()
        return np.full_like(obs, np.nan), *rest


@defect(r"reset_infos: 1 items were found; 2 were expected")
class OneResetInfo(Sound):
    def reset(self) -> Any:
        obs = super().reset()
        self.reset_infos = [{}]
        return obs


@defect(r"step\(\) returned 5 values")
class StepReturnsFiveValues(Sound):
    def step_wait(self) -> Any:
        obs, rewards, dones, infos = super().step_wait()
        return obs, rewards, dones, dones, infos


@defect(r"what step\(\) returned has the type float64; float32")
class StepHasAnotherType(Sound):
    def step_wait(self) -> Any:
        obs, *rest = super().step_wait()
        return obs.astype(np.float64), *rest


@defect(r"the rewards of step\(\) have the type int64; float32")
class WholeRewards(Sound):
    def step_wait(self) -> Any:
        obs, rewards, dones, infos = super().step_wait()
        return obs, rewards.astype(int), dones, infos


@defect(r"the rewards of step\(\) have the shape \(2, 1\); \(2,\)")
class RewardsAreAColumn(Sound):
    def step_wait(self) -> Any:
        obs, rewards, dones, infos = super().step_wait()
        return obs, rewards[:, None], dones, infos


@defect(r"the rewards of step\(\) are a list")
class RewardsAreAList(Sound):
    def step_wait(self) -> Any:
        obs, rewards, dones, infos = super().step_wait()
        return obs, rewards.tolist(), dones, infos


@defect(r"the rewards of step\(\) are a read-only array")
class ReadOnlyRewards(Sound):
    def step_wait(self) -> Any:
        result = super().step_wait()
        result[1].flags.writeable = False
        return result


@defect(r"what step\(\) returned is a read-only array")
class ReadOnlyObservations(Sound):
    def step_wait(self) -> Any:
        result: Any = super().step_wait()
        result[0].flags.writeable = False
        return result


@defect(r"the dones of step\(\) have the type float32; bool")
class DonesAreNumbers(Sound):
    def step_wait(self) -> Any:
        obs, rewards, dones, infos = super().step_wait()
        return obs, rewards, dones.astype(np.float32), infos


@defect(r"the infos of step\(\): a dict was found; a list of dicts")
class InfosAreVectorised(Sound):
    def step_wait(self) -> Any:
        return *super().step_wait()[:3], {}


@defect(r"the infos of step\(\): a NoneType was found in it")
class InfosAreNone(Sound):
    def step_wait(self) -> Any:
        return *super().step_wait()[:3], [None] * self.num_envs


@defect(r"the infos of step\(\): environments share one dict")
class InfosAreOneDict(Sound):
    def step_wait(self) -> Any:
        return *super().step_wait()[:3], [{}] * self.num_envs


@defect("without terminal_observation")
class NoTerminalObservation(Sound):
    def step_wait(self) -> Any:
        result = super().step_wait()
        for info in result[3]:
            info.pop("terminal_observation", None)
        return result


@defect("terminal_observation has the type float64; float32")
class TerminalObservationHasAnotherType(Sound):
    def step_wait(self) -> Any:
        result = super().step_wait()
        for info in result[3]:
            if "terminal_observation" in info:
                info["terminal_observation"] = info["terminal_observation"].astype(np.float64)
        return result


@defect(r"terminal_observation has the shape \(1, 4\); \(4,\)")
class TerminalObservationIsABatch(Sound):
    def step_wait(self) -> Any:
        result = super().step_wait()
        for info in result[3]:
            if "terminal_observation" in info:
                info["terminal_observation"] = info["terminal_observation"][None]
        return result


@defect("terminal_observation is a view of the observations")
class TerminalObservationIsAView(Sound):
    def step_wait(self) -> Any:
        obs, rewards, dones, infos = super().step_wait()
        for row, info in enumerate(infos):
            if dones[row]:
                info["terminal_observation"] = obs[row]
        return obs, rewards, dones, infos


@defect("has terminal_observation though the episode goes on")
class TerminalObservationInEveryStep(Sound):
    def step_wait(self) -> Any:
        obs, rewards, dones, infos = super().step_wait()
        for row, info in enumerate(infos):
            info["terminal_observation"] = obs[row].copy()
        return obs, rewards, dones, infos


@defect(r"a terminal_observation changed after")
class OneTerminalBuffer(Sound):
    buffer = np.zeros(4, np.float32)

    def step_wait(self) -> Any:
        result = super().step_wait()
        self.buffer += 1e-3
        for info in result[3]:
            if "terminal_observation" in info:
                info["terminal_observation"] = self.buffer
        return result


@defect(r"info\['TimeLimit.truncated'\] = None")
class NoTruncatedFlag(Sound):
    def step_wait(self) -> Any:
        result = super().step_wait()
        for info in result[3]:
            del info["TimeLimit.truncated"]
        return result


@defect(r"info\['TimeLimit.truncated'\] = 1\b")
class TruncatedFlagIsANumber(Sound):
    def step_wait(self) -> Any:
        result = super().step_wait()
        for info in result[3]:
            info["TimeLimit.truncated"] = 1
        return result


class OneBuffer(Sound):
    """Returns the same array in every step."""

    index: int

    def step_wait(self) -> Any:
        result = list(super().step_wait())
        if not hasattr(self, "buffer"):
            self.buffer = result[self.index]
        self.buffer[...] = result[self.index]
        result[self.index] = self.buffer
        return tuple(result)


@defect(r"the observations of step\(\) share their memory")
class OneObservationBuffer(OneBuffer):
    index = 0


@defect(r"the rewards of step\(\) share their memory")
class OneRewardBuffer(OneBuffer):
    index = 1


@defect(r"the dones of step\(\) share their memory")
class OneDoneBuffer(OneBuffer):
    index = 2


@defect(r"the observations of reset\(\) share their memory")
class ResetAndStepShareABuffer(Sound):
    def reset(self) -> Any:
        super().reset()
        return self.buf_obs[None]  # type: ignore[index]

    def step_wait(self) -> Any:
        _, *rest = super().step_wait()
        return self.buf_obs[None], *rest  # type: ignore[index]


@defect(r"the observations of step\(\) share their memory")
class TwoBuffersInTurn(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.buffers = [np.zeros((2, 4), np.float32) for _ in range(2)]

    def step_wait(self) -> Any:
        obs, *rest = super().step_wait()
        self.buffers.reverse()
        self.buffers[0][...] = obs
        return self.buffers[0], *rest


@defect(r"the observations of step\(\) changed after")
class WritesIntoWhatItReturned(Sound):
    last: Any = None

    def step_wait(self) -> Any:
        result = super().step_wait()
        if self.last is not None:
            self.last += 1
        self.last = result[0]
        return result


@defect(r"seed\(\) returned None; a list of 2")
class SeedReturnsNothing(Sound):
    def seed(self, seed: int | None = None) -> Any:
        super().seed(seed)


@defect(r"set_attr\(\) returned \[None, None\]; None")
class SetAttrReturnsAList(Sound):
    def set_attr(self, *args: Any, **kwargs: Any) -> Any:
        super().set_attr(*args, **kwargs)
        return [None, None]


@defect(r"get_attr\(\) returned \[1, 0\] after set_attr")
class SetAttrReachesTheFirstAlone(Sound):
    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        super().set_attr(attr_name, 0)
        super().set_attr(attr_name, value, indices=0)


@defect(r"get_attr\(\) returned 1 after set_attr")
class GetAttrReturnsOneValue(Sound):
    def get_attr(self, attr_name: str, indices: Any = None) -> Any:
        found = super().get_attr(attr_name, indices)
        return found if attr_name == "render_mode" else found[0]


@defect(r"get_attr\(\) with indices=1 returned \[1, 1\]; a list of 1")
class GetAttrKnowsNoIndices(Sound):
    def get_attr(self, attr_name: str, indices: Any = None) -> Any:
        return super().get_attr(attr_name)


@defect(r"env_is_wrapped\(\) with indices=None returned True; a list of 2")
class EnvIsWrappedReturnsABool(Sound):
    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> Any:
        return True


@defect(r"env_method\(\) with indices=1 returned .*; a list of 1")
class EnvMethodKnowsNoIndices(Sound):
    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        return super().env_method(method_name, *args, **kwargs)


@defect(r"has_attr\(\) is true for an attribute that no environment has")
class HasEveryAttr(Sound):
    def has_attr(self, attr_name: str) -> bool:
        return attr_name not in ("action_masks", "get_wrapper_attr")


@defect(r"has_attr\(\) is false for an attribute that get_attr\(\) returns")
class HasNoAttr(Sound):
    def has_attr(self, attr_name: str) -> bool:
        return False


@defect(r"has_attr\('action_masks'\) is true, but env_method\('action_masks'\) raised AttributeError")
class PromisesMasks(Sound):
    def has_attr(self, attr_name: str) -> bool:
        return attr_name == "action_masks" or super().has_attr(attr_name)


@defect("the VecEnv has no attribute 'render_mode'")
class NoRenderMode(Sound):
    def __init__(self) -> None:
        super().__init__()
        del self.render_mode


@defect(r"num_envs is None; an int")
class NoNumberOfEnvs(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.num_envs = None  # type: ignore[assignment]


@defect("observation_space contains Tuple")
class TupleSpace(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Tuple([spaces.Discrete(2)])


@defect("action_space is Tuple")
class BatchedActionSpace(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = spaces.Tuple([self.action_space, self.action_space])


@defect(r"get_images\(\) returned a list; a list of 2 pictures")
class OneImage(Sound):
    def __init__(self) -> None:
        super().__init__(forest)

    def get_images(self) -> Any:
        return super().get_images()[:1]


@defect(r"get_images\(\) returned None among its pictures")
class ImagesAreNone(Sound):
    def __init__(self) -> None:
        super().__init__(forest)

    def get_images(self) -> Any:
        return [None, None]


@defect(r"render\(\) returned a NoneType")
class RenderReturnsNothing(Sound):
    def __init__(self) -> None:
        super().__init__(forest)

    def render(self, mode: str | None = None) -> Any:
        return None


@defect(r"what step\(\) returned has the shape \(4,\)")
class StepWaitForgetsTheBatch(Sound):
    """Only the two halves of a step are wrong, step() is not."""

    def step(self, actions: np.ndarray) -> Any:
        self.step_async(actions)
        return super().step_wait()

    def step_wait(self) -> Any:
        obs, *rest = super().step_wait()
        return obs[0], *rest


@pytest.mark.parametrize(("cls", "match"), DEFECTS)
def test_a_broken_rule_is_named(cls: Callable[[], VecEnv], match: str) -> None:
    env = cls()
    with pytest.raises(AssertionError, match=match):
        check_vec_env(env)


def test_the_sound_one_passes() -> None:
    for env_fn in (cartpole, forest):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_vec_env(Sound(env_fn))


# --- doubts -----------------------------------------------------------------------------------------------------------


class Float64Rewards(Sound):
    def step_wait(self) -> Any:
        obs, rewards, dones, infos = super().step_wait()
        return obs, rewards.astype(np.float64), dones, infos


class SeedIsIgnored(Sound):
    def seed(self, seed: int | None = None) -> Any:
        return [None] * self.num_envs


class RewardsIgnoreTheSeed(Sound):
    def step_wait(self) -> Any:
        obs, rewards, dones, infos = super().step_wait()
        self.calls = getattr(self, "calls", 0) + 1
        return obs, rewards + np.float32(self.calls), dones, infos


class ReturnsTheTerminalObservation(Sound):
    def step_wait(self) -> Any:
        obs, rewards, dones, infos = super().step_wait()
        for row, info in enumerate(infos):
            if dones[row]:
                obs[row] = info["terminal_observation"]
        return obs, rewards, dones, infos


@pytest.mark.parametrize(
    ("env", "match"),
    [
        (Float64Rewards, "rewards of step.. have the type float64"),
        (SeedIsIgnored, r"seed\(0\) was called twice, but reset\(\)"),
        (RewardsIgnoreTheSeed, r"seed\(0\) was called twice, but step 1 of the same actions"),
        (ReturnsTheTerminalObservation, "returned terminal_observation itself"),
        (partial(Sound, lambda: gym.make("Pendulum-v1", max_episode_steps=300)), "no episode ended within 250 steps"),
    ],
)
def test_what_is_doubtful_warns_once_if_at_all(env: Callable[[], VecEnv], match: str) -> None:
    with pytest.warns(UserWarning, match=match) as found:
        check_vec_env(env())
    assert len(found) == 1
    assert found[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_vec_env(env(), warn=False)


def test_more_steps_find_the_end_of_a_long_episode() -> None:
    class LateDefect(NoTerminalObservation):
        def __init__(self) -> None:
            super().__init__(lambda: gym.make("Pendulum-v1", max_episode_steps=300))

    check_vec_env(LateDefect(), warn=False)
    with pytest.raises(AssertionError, match="without terminal_observation"):
        check_vec_env(LateDefect(), steps=300)


def test_anything_but_a_vec_env_is_refused() -> None:
    with pytest.raises(TypeError, match=r"SB3VecEnv\(env\) is one"):
        check_vec_env(SyncVectorEnv([cartpole]))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="env is a Forest; an SB3 VecEnv was expected"):
        check_vec_env(Forest())  # type: ignore[arg-type]
