"""Our algorithms with the constructor of a stock one, for SB3's tests of that algorithm.

SB3's tests give an algorithm its own keywords; those of an algorithm inside go there, and what Dreamer has no word for
is left out. Worlds and dreams are as small as can be, for the tests are about the contract and not about how well
anything is learned.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import gymnasium as gym
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from typing_extensions import Self

from imagine_agents import Dreamer, Dyna, DynaQ, ImaginationTrainer

__all__ = [
    "DreamerAsDQN",
    "DreamerAsSAC",
    "DynaAsDQN",
    "DynaAsSAC",
    "DynaQAsDQN",
    "ImaginationOfA2C",
    "ImaginationOfPPO",
    "ImaginationOfSAC",
]

_OURS = set(inspect.signature(ImaginationTrainer.__init__).parameters)
# Words that mean imagined steps to the algorithm inside, and real steps to us.
_OF_THE_ALGORITHM = {"learning_starts", "train_freq"}
_SIZES = {"deter": 16, "hidden": 8, "stoch": 4, "classes": 4, "units": 8, "blocks": 2, "depth": 1}
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


class _Planning(Dyna):
    inner: ClassVar[type[OffPolicyAlgorithm]]

    def __init__(self, policy: Any, env: Any, **kwargs: Any) -> None:
        known = set(inspect.signature(Dyna.__init__).parameters)
        ours = {name: value for name, value in kwargs.items() if name in known}
        rest = {name: value for name, value in kwargs.items() if name not in known}
        small = {
            "gradient_steps": 2,
            "model_train_freq": 100,
            "rollout_freq": 20,
            "rollouts_per_step": 2,
            "real_ratio": 0.5,
            **_world_of(env),
        }
        if "buffer_size" in ours:  # one step at least
            ours["buffer_size"] = max(ours["buffer_size"], 16)
        super().__init__(policy, env, algorithm=self.inner, algorithm_kwargs=rest, **{**small, **ours})

    def learn(self, *args: Any, tb_log_name: str | None = None, **kwargs: Any) -> Self:
        """A run is called after the algorithm."""
        return super().learn(*args, tb_log_name=tb_log_name or self.inner.__name__, **kwargs)


def _world_of(env: Any) -> dict[str, Any]:
    """What is learned of flat Boxes, of what has something discrete in it, and (a mere copy) of all else.

    A recurrent world tells nothing of discrete states that are drawn at random: all steps are real then.
    """
    made = gym.make(env) if isinstance(env, str) else env
    seen, done = getattr(made, "observation_space", None), getattr(made, "action_space", None)
    parts = seen.spaces.values() if isinstance(seen, spaces.Dict) else (seen,)
    if any(isinstance(part, spaces.Discrete) for part in parts):
        recurrent = {"architecture": dict(_SIZES), "sequence_length": 8}
        alone = {"real_ratio": 1.0} if len(parts) == 1 else {"fit_kwargs": {"max_epochs": 1}}
        return {"world_model": "rssm", "world_model_kwargs": recurrent, **alone}
    flat = isinstance(seen, spaces.Box) and len(seen.shape) == 1 and len(done.shape or ()) < 2
    if seen is None or flat:
        small = {"hidden": [64, 64], "arrival_hidden": [8], "members": 2, "elites": 1}
        return {"world_model_kwargs": small, "fit_kwargs": {"max_epochs": 60}}
    return {"world_model": "copy"}


class DynaAsDQN(_Planning):
    """Dyna around DQN."""

    inner = DQN


class DynaAsSAC(_Planning):
    """Dyna around SAC."""

    inner = SAC


class _Dreaming(Dreamer):
    theirs: ClassVar[str]

    def __init__(self, policy: Any, env: Any, policy_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        known = set(inspect.signature(Dreamer.__init__).parameters)
        ours = {name: value for name, value in kwargs.items() if name in known}
        small = {"learning_starts": 20, "batch_length": 8, "horizon": 3, "train_ratio": 1.0}
        if "buffer_size" in ours:  # one sequence at least
            ours["buffer_size"] = max(ours["buffer_size"], 64)
        super().__init__(policy, env, policy_kwargs={"architecture": dict(_SIZES)}, **{**small, **ours})

    def learn(self, total_timesteps: int, *args: Any, tb_log_name: str | None = None, **kwargs: Any) -> Self:
        """Some tests learn from fewer steps than SB3's algorithms have as learning starts; nothing is learned then."""
        self.learning_starts = min(self.learning_starts, total_timesteps - 1)
        return super().learn(total_timesteps, *args, tb_log_name=tb_log_name or self.theirs, **kwargs)


class DreamerAsSAC(_Dreaming):
    """Dreamer with SAC's words."""

    theirs = "SAC"


class DreamerAsDQN(_Dreaming):
    """Dreamer with DQN's words."""

    theirs = "DQN"


class DynaQAsDQN(DynaQ):
    """Dyna-Q with DQN's words; a Box is seen through a coarse grid."""

    def __init__(self, policy: Any, env: Any, policy_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        known = set(inspect.signature(DynaQ.__init__).parameters)
        super().__init__("TabularPolicy", env, **{name: value for name, value in kwargs.items() if name in known})

    def _setup_model(self) -> None:
        if isinstance(self.observation_space, spaces.Box):
            self.discretizer = {"bins": 4, "low": -3, "high": 3}
        super()._setup_model()

    def learn(self, total_timesteps: int, *args: Any, tb_log_name: str | None = None, **kwargs: Any) -> Self:
        """As DQN names its runs."""
        return super().learn(total_timesteps, *args, tb_log_name=tb_log_name or "DQN", **kwargs)
