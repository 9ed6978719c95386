"""The ImaginationTrainer with the constructor of a stock algorithm, for SB3's tests of that algorithm.

SB3's tests give an algorithm its own keywords; these go to the algorithm inside. Worlds and dreams are as small as can
be, for the tests are about the contract and not about how well anything is learned.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm

from imagine_agents import ImaginationTrainer

__all__ = ["ImaginationOfA2C", "ImaginationOfPPO", "ImaginationOfSAC"]

_OURS = set(inspect.signature(ImaginationTrainer.__init__).parameters)
# Words that mean imagined steps to the algorithm inside, and real steps to us.
_OF_THE_ALGORITHM = {"learning_starts", "train_freq"}
_SMALL = {
    "world_model_kwargs": {"hidden": [8], "arrival_hidden": [8], "members": 2, "elites": 1},
    "fit_kwargs": {"max_epochs": 1},
    "num_dreams": 4,
    "dream_timesteps": 32,
    "learning_starts": 40,
    "train_freq": 100,
}


class _StandIn(ImaginationTrainer):
    inner: ClassVar[type[BaseAlgorithm]]

    def __init__(self, policy: Any, env: Any, **kwargs: Any) -> None:
        ours = {name: value for name, value in kwargs.items() if name in _OURS - _OF_THE_ALGORITHM}
        rest = {name: value for name, value in kwargs.items() if name not in ours}
        super().__init__(policy, env, algorithm=self.inner, algorithm_kwargs=rest, **{**_SMALL, **ours})


class ImaginationOfPPO(_StandIn):
    """Trains PPO in its dreams."""

    inner = PPO


class ImaginationOfA2C(_StandIn):
    """Trains A2C in its dreams."""

    inner = A2C


class ImaginationOfSAC(_StandIn):
    """Trains SAC in its dreams."""

    inner = SAC
