"""Small Dynas, and a line on which everything can be computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from imagine_agents import Dyna
from imagine_envs.world_models import Prediction, WorldModel

SMALL_WORLD = {"hidden": [8], "arrival_hidden": [8], "members": 3, "elites": 2}
SMALL: dict[str, Any] = {
    "model_train_freq": 20,
    "rollouts_per_step": 3,
    "rollout_freq": 5,
    "retain_steps": 20,
    "horizon": 2,
    "real_ratio": 0.25,
    "learning_starts": 12,
    "buffer_size": 500,
    "batch_size": 8,
    "train_freq": 1,
    "gradient_steps": 1,
    "seed": 0,
    "device": "cpu",
}

ACTIONS = spaces.Box(np.array([-2.0], np.float32), np.array([6.0], np.float32))
"""Far from [−1, 1], and not symmetric."""

_EVERYWHERE = spaces.Box(-1000, 1000, (1,), np.float32)


def small(policy: Any = "MlpPolicy", env: Any = "CartPole-v1", **kwargs: Any) -> Dyna:
    """A Dyna that makes a real step with its updates in a few milliseconds."""
    settings: dict[str, Any] = {**SMALL, "policy_kwargs": {"net_arch": [8]}}
    if kwargs.get("world_model", "ensemble") == "ensemble":
        settings.update(world_model_kwargs=SMALL_WORLD, fit_kwargs={"max_epochs": 1})
    return Dyna(policy, env, **{**settings, **kwargs})


def parameters(model: Any) -> dict[str, Tensor]:
    """All of ``get_parameters``, optimizer states included, copied."""
    flat: dict[str, Tensor] = {}

    def visit(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                visit(f"{name}/{key}", item)
        elif isinstance(value, list):
            for key, item in enumerate(value):
                visit(f"{name}/{key}", item)
        elif isinstance(value, torch.Tensor):
            flat[name] = value.clone()

    visit("", model.get_parameters())
    return flat


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]


def moved(action: float, discrete: bool) -> float:
    """How far an action goes on the line."""
    return 2 * action - 1 if discrete else action


class Line(gym.Env):
    """o' = o + a (a Discrete action goes −1 or +1), r = 10 o + a; ends where o' reaches ``end``.

    Args:
        discrete: Whether the actions are two, or :data:`ACTIONS`.
        end: Where an episode ends.
    """

    def __init__(self, *, discrete: bool = False, end: float = 20.0) -> None:
        self.observation_space = _EVERYWHERE
        self.action_space: spaces.Space[Any] = spaces.Discrete(2) if discrete else ACTIONS
        self.end = end
        self.place = 0.0
        self.actions: list[Any] = []
        self.seen: list[float] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = float(np.float32(self.np_random.uniform(-1, 1)))
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.actions.append(np.copy(action))
        self.seen.append(self.place)  # an episode goes on from here
        by = moved(float(np.sum(action)), isinstance(self.action_space, spaces.Discrete))
        reward = 10 * self.place + by
        self.place = float(np.float32(self.place + by))
        return self._see(), reward, self.place >= self.end, False, {}

    def _see(self) -> Any:
        return np.array([self.place], np.float32)


def lines(count: int = 1, *, limit: int = 7, **kwargs: Any) -> DummyVecEnv:
    """Several lines with a step limit."""
    # Looked up each time: rl_zoo3, once imported, puts its own class there, and the old one cannot be pickled any more.
    return DummyVecEnv([lambda: gym.wrappers.TimeLimit(Line(**kwargs), limit) for _ in range(count)])


class LineModel(WorldModel):
    """The line itself as a world model; its uncertainty is |o'|.

    Args:
        observation_space: Of the line.
        action_space: Of the line.
        end: Where an episode ends.
    """

    family: ClassVar[str] = "line"
    markov = True
    can_learn = False
    has_uncertainty = True

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], end: float) -> None:
        super().__init__(observation_space, action_space)
        self.end = end

    def hyperparameters(self) -> dict[str, Any]:
        return {"end": self.end}

    def initial(self, batch_size: int) -> dict[str, Tensor]:
        return {"place": torch.zeros(batch_size, 1)}

    def observe(self, state, action, observation, first, *, sample=True, generator=None):
        return {"place": observation}

    def imagine(self, state, action, *, temperature=1.0, uncertainty=False, generator=None):
        by = moved(action.float(), isinstance(self.action_space, spaces.Discrete)).reshape(-1)  # type: ignore[arg-type]
        place = state["place"][:, 0] + by
        reward = 10 * state["place"][:, 0] + by
        prediction = Prediction(reward, (place >= self.end).float(), place.abs() if uncertainty else None)
        return {"place": place[:, None]}, prediction

    def features(self, state):
        return state["place"]

    def decode(self, state):
        return state["place"]


def line_model(action_space: spaces.Space[Any] = ACTIONS, end: float = 20.0) -> LineModel:
    """A model of the line with these actions."""
    return LineModel(_EVERYWHERE, action_space, end)


class Lock(gym.Env):
    """Shows which of the numbers of a lock is asked for; a right one pays 1 and goes on, a wrong one ends the episode.

    Args:
        numbers: The right numbers.
        choices: How many numbers there are.
    """

    def __init__(self, numbers: Sequence[int], choices: int) -> None:
        self.numbers = tuple(numbers)
        self.observation_space = spaces.Box(0, 1, (len(numbers),), np.float32)
        self.action_space = spaces.Discrete(choices)
        self.at = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        good = int(action) == self.numbers[self.at]
        over = not good or self.at == len(self.numbers) - 1
        self.at += not over
        return self._see(), float(good), over, False, {}

    def _see(self) -> Any:
        return np.eye(len(self.numbers), dtype=np.float32)[self.at]


class LockModel(WorldModel):
    """The lock itself as a world model."""

    family: ClassVar[str] = "lock"
    markov = True
    can_learn = False

    def __init__(self, lock: Lock) -> None:
        super().__init__(lock.observation_space, lock.action_space)
        self.numbers = torch.tensor(lock.numbers)

    def initial(self, batch_size: int) -> dict[str, Tensor]:
        return {"at": torch.zeros(batch_size, dtype=torch.int64)}

    def observe(self, state, action, observation, first, *, sample=True, generator=None):
        return {"at": observation.argmax(1)}

    def imagine(self, state, action, *, temperature=1.0, uncertainty=False, generator=None):
        good = action == self.numbers[state["at"]]
        over = ~good | (state["at"] == len(self.numbers) - 1)
        return {"at": state["at"] + ~over}, Prediction(good.float(), over.float())

    def features(self, state):
        return torch.nn.functional.one_hot(state["at"], len(self.numbers)).float()

    def decode(self, state):
        return self.features(state)
