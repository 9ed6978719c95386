"""Small Dreamers, and environments that know what was done to them, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from imagine_agents import Dreamer
from imagine_agents.common.sequence_buffer import SequenceReplayBuffer
from imagine_envs.experience import Batch

TINY = {"deter": 16, "hidden": 8, "stoch": 4, "classes": 4, "units": 8, "blocks": 2, "depth": 2}
TINY_V1 = {"deter": 16, "hidden": 8, "stoch": 4, "units": 8, "depth": 2}


def tiny(env: Any = "CartPole-v1", policy: Any = "MlpPolicy", **kwargs: Any) -> Dreamer:
    """A Dreamer that makes an update in a hundredth of a second."""
    architecture = TINY_V1 if kwargs.get("preset") == "v1" else TINY
    settings: dict[str, Any] = {
        "policy_kwargs": {"architecture": dict(architecture)},
        "batch_size": 4,
        "batch_length": 8,
        "horizon": 3,
        "learning_starts": 10,
        "buffer_size": 1000,
        "train_ratio": 32,
        "seed": 0,
        "device": "cpu",
    }
    return Dreamer(policy, env, **{**settings, **kwargs})


@dataclass
class Log:
    """What an environment showed and was told: the records, as the environment itself knows them."""

    observation: list[Any] = field(default_factory=list)
    action: list[Any] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)
    first: list[bool] = field(default_factory=list)

    def add(self, observation: Any, action: Any, reward: float, terminated: bool, truncated: bool, first: bool) -> None:
        for name, value in (
            ("observation", observation),
            ("action", action),
            ("reward", reward),
            ("terminated", terminated),
            ("truncated", truncated),
            ("first", first),
        ):
            getattr(self, name).append(value)


class Diary(gym.Env):
    """Observes (environment, episode, step, last action), each reward is another; episodes end in turn by termination,
    by truncation, or by both at once.

    Args:
        number: Of the environment.
        action_space: Discrete or Box.
        kind: "vector", "dict", "image" (channels last) or "planes" (channels first).
        lengths: Steps of the episodes in turn.
    """

    def __init__(
        self,
        number: int = 0,
        action_space: spaces.Space[Any] | None = None,
        kind: str = "vector",
        lengths: tuple[int, ...] = (3, 5, 1, 4),
    ) -> None:
        self.action_space = action_space or spaces.Discrete(3, start=2)
        self.number, self.kind, self.lengths = number, kind, lengths
        vector = spaces.Box(-1000, 1000, (4,), np.float32)
        shape = (8, 10, 3) if kind == "image" else (3, 8, 10)
        image = spaces.Box(0, 255, shape, np.uint8)
        self.observation_space: spaces.Space[Any] = {
            "vector": vector,
            "dict": spaces.Dict({"vector": vector, "image": image, "count": spaces.Discrete(50)}),
        }.get(kind, image)
        self.log = Log()
        self.episode, self.step_number, self.last = -1, 0, 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.step_number, self.last = self.episode + 1, 0, 0.0
        nothing = np.zeros(self.action_space.shape, self.action_space.dtype)
        self.log.add(self._see(), nothing, 0.0, False, False, True)
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.step_number += 1
        self.last = float(np.sum(action))
        ends = self.step_number >= self.lengths[self.episode % len(self.lengths)]
        terminated, truncated = ends and self.episode % 3 != 1, ends and self.episode % 3 != 0
        reward = 0.25 * len(self.log.reward) + self.number
        self.log.add(self._see(), action, reward, terminated, truncated and not terminated, False)
        return self._see(), reward, terminated, truncated, {}

    def _see(self) -> Any:
        vector = np.array([self.number, self.episode, self.step_number, self.last], np.float32)
        image = np.zeros((3, 8, 10), np.uint8)
        image[:, 0, 0] = (self.number, self.episode, self.step_number)
        if self.kind == "dict":
            return {"vector": vector, "image": image, "count": np.int64(self.step_number)}
        if self.kind == "vector":
            return vector
        return image.transpose(1, 2, 0) if self.kind == "image" else image


def diaries(count: int, **kwargs: Any) -> DummyVecEnv:
    """Diaries whose episodes end at different times."""
    shift = [(3, 5, 1, 4), (4, 2), (1, 6, 3)]
    return DummyVecEnv([lambda i=i: Diary(i, **{"lengths": shift[i % 3], **kwargs}) for i in range(count)])


def stream(buffer: SequenceReplayBuffer, env: int) -> Batch:
    """Everything that is alive of one environment, ``[1, T, …]``."""
    numbers = np.sort(buffer.replay.scalars()["index"])
    own = numbers[numbers % buffer.n_envs == env]
    return buffer.replay.windows([own[0]], len(own))


def assert_is_the_log(records: Batch, log: Log, space: spaces.Space[Any], see: Any = np.asarray) -> None:
    """``see`` is what wrappers do to an observation."""
    length = records.shape[1]
    # The environment was reset after its last step; that record is added with the step after it.
    assert length == len(log.first) - (log.terminated[-1] or log.truncated[-1] or log.first[-1])
    for name in ("reward", "terminated", "truncated", "first"):
        assert getattr(records, name)[0].tolist() == getattr(log, name)[:length], name
    action = np.stack(log.action[:length]).astype(records.action.numpy().dtype)  # doubles become floats
    np.testing.assert_array_equal(records.action[0].numpy(), action)
    if isinstance(records.observation, dict):
        for key in records.observation:
            expected = np.stack([see(observation[key]) for observation in log.observation[:length]])
            np.testing.assert_array_equal(records.observation[key][0].numpy(), expected, key)
    else:
        expected = np.stack([see(observation) for observation in log.observation[:length]])
        np.testing.assert_array_equal(records.observation[0].numpy(), expected)


class Choices(gym.Env):
    """Shows one of some cues; a right action goes on to the next cue, a wrong one ends the episode.

    Args:
        right: The right action of each cue.
        chain: Whether the cues come one after another and only the last right action pays (1); otherwise an episode
            is one step, of a cue at random, and pays.
        escape: What the wrong action of the first cue of a chain pays.
    """

    def __init__(self, right: tuple[int, ...], *, chain: bool = False, escape: float = 0.0) -> None:
        self.right, self.chain, self.escape = right, chain, escape
        self.observation_space = spaces.Box(0, 1, (len(right),), np.float32)
        self.action_space = spaces.Discrete(max(right) + 1)
        self.cue = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.cue = 0 if self.chain else int(self.np_random.integers(len(self.right)))
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        good = int(action) == self.right[self.cue]
        if not self.chain:
            return self._see(), float(good), True, False, {}
        if not good:
            return self._see(), self.escape if self.cue == 0 else 0.0, True, False, {}
        if self.cue == len(self.right) - 1:
            return self._see(), 1.0, True, False, {}
        self.cue += 1
        return self._see(), 0.0, False, False, {}

    def _see(self) -> Any:
        return np.eye(len(self.right), dtype=np.float32)[self.cue]
