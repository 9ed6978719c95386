"""Small settings, environments and worlds for tests of the ImaginationTrainer."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from imagine_agents import ImaginationTrainer
from imagine_envs.world_models import Prediction, WorldModel

SMALL_WORLD = {"hidden": [8], "arrival_hidden": [8], "members": 3, "elites": 2}
OFF_POLICY = {"buffer_size": 500, "batch_size": 8}
SMALL_POLICY = {"net_arch": [8]}


def small(policy: Any = "MlpPolicy", env: Any = "CartPole-v1", **kwargs: Any) -> ImaginationTrainer:
    """A trainer that learns in a tenth of a second: two fits, of 20 and of 40 real steps."""
    settings: dict[str, Any] = {
        "world_model_kwargs": SMALL_WORLD,
        "fit_kwargs": {"max_epochs": 2},
        "num_dreams": 4,
        "dream_timesteps": 64,
        "learning_starts": 20,
        "train_freq": 20,
        "seed": 0,
        "device": "cpu",
    }
    if isinstance(kwargs.get("world_model"), WorldModel) or kwargs.get("world_model") not in (None, "ensemble"):
        settings["world_model_kwargs"] = None
    return ImaginationTrainer(policy, env, **{**settings, **kwargs})


def parameters(model: Any) -> dict[str, Any]:
    """All of ``get_parameters``, optimizer states included, as flat lists."""
    flat: dict[str, Any] = {}

    def visit(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                visit(f"{name}/{key}", item)
        elif isinstance(value, list):
            for key, item in enumerate(value):
                visit(f"{name}/{key}", item)
        else:
            flat[name] = value.tolist() if isinstance(value, torch.Tensor) else value

    visit("", model.get_parameters())
    return flat


class Corridor(gym.Env):
    """Observes (place, step in the episode, number of the episode); ends after ``length`` steps.

    Args:
        length: Steps of an episode.
        masked: Whether it says which of the two actions are valid: left only in even places, right only in odd ones.
        image: Whether the observation is an image ``[H, W, C]`` of these numbers.
    """

    def __init__(self, length: int = 7, *, masked: bool = False, image: bool = False) -> None:
        self.action_space = spaces.Discrete(2)
        self.observation_space: spaces.Space[Any] = spaces.Box(-100, 100, (3,), np.float32)
        if image:
            self.observation_space = spaces.Box(0, 255, (36, 37, 3), np.uint8)
        self.length, self.image = length, image
        self.place, self.step_number, self.episode = 0, 0, -1
        self.actions: list[int] = []
        self.seeds: list[int | None] = []
        if masked:
            self.action_masks = lambda: np.array([self.place % 2 == 0, self.place % 2 == 1])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.place, self.step_number = 0, 0
        self.episode += 1
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if hasattr(self, "action_masks"):
            assert self.action_masks()[action], "an invalid action"
        self.actions.append(int(action))
        self.place += 1 if action else -1
        self.step_number += 1
        # Constant steps and rewards would leave the world nothing to learn.
        return self._observation(), float(self.place), self.step_number >= self.length, False, {}

    def _observation(self) -> Any:
        numbers = np.array([self.place, self.step_number, self.episode], dtype=np.float32)
        if self.image:
            image = np.zeros((36, 37, 3), np.uint8)
            image[0, 0] = np.clip(numbers + 100, 0, 255)
            return image
        return numbers


class Memory(WorldModel):
    """Cannot decode; its features are what a filter was told since the reset: records, sum of places, last action."""

    family: ClassVar[str] = "memory"
    can_decode = False
    can_learn = False

    def initial(self, batch_size: int) -> dict[str, torch.Tensor]:
        return {"memory": torch.zeros(batch_size, 3)}

    def observe(self, state, action, observation, first, *, sample=True, generator=None):
        before = torch.where(first[:, None], 0.0, state["memory"])
        last = torch.where(first, -1.0, action.float())
        return {"memory": torch.stack([before[:, 0] + 1, before[:, 1] + observation[:, 0], last], 1)}

    def imagine(self, state, action, *, temperature=1.0, uncertainty=False, generator=None):
        memory = state["memory"] + torch.tensor([1.0, 0.0, 0.0])
        return {"memory": memory}, Prediction(action.float(), torch.zeros(len(action)))

    def features(self, state):
        return state["memory"]


class Pictures(WorldModel):
    """Dreams that stand still, of images with the channels last."""

    family: ClassVar[str] = "pictures"
    markov = True
    can_learn = False

    def initial(self, batch_size: int) -> dict[str, torch.Tensor]:
        return {"image": torch.zeros(batch_size, *self.observation_space.shape, dtype=torch.uint8)}

    def observe(self, state, action, observation, first, *, sample=True, generator=None):
        return {"image": observation}

    def imagine(self, state, action, *, temperature=1.0, uncertainty=False, generator=None):
        return state, Prediction(action.float(), torch.zeros(len(action)))

    def features(self, state):
        return state["image"].flatten(1).float()

    def decode(self, state):
        return state["image"]
