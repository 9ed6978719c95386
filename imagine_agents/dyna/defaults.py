"""Settings that suit stock algorithms which learn from imagined steps too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium import spaces
from sb3_contrib import QRDQN, TQC, CrossQ
from stable_baselines3 import DDPG, DQN, SAC, TD3
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from imagine_agents.common.dream_defaults import algorithm_class

__all__ = ["dyna_defaults", "off_policy_algorithm"]

# SB3's defaults suit millions of real steps. Imagined ones allow many updates for each real one (MBPO: 20 to 40 of
# SAC), and the target network of DQN, which SB3 times by real steps, must keep up.
_CONTINUOUS = {"train_freq": 1, "gradient_steps": 20}
_DISCRETE = {
    "learning_rate": 1e-3,
    "batch_size": 256,
    "train_freq": 1,
    "gradient_steps": 10,
    "target_update_interval": 20,
    "exploration_fraction": 0.2,
}
_DEFAULTS: dict[type[OffPolicyAlgorithm], dict[str, Any]] = {
    DQN: _DISCRETE,
    QRDQN: _DISCRETE,
    SAC: _CONTINUOUS,
    TD3: _CONTINUOUS,
    DDPG: _CONTINUOUS,
    TQC: _CONTINUOUS,
    CrossQ: _CONTINUOUS,
}


def dyna_defaults(algorithm: type[OffPolicyAlgorithm]) -> Mapping[str, Any]:
    """Constructor arguments for an algorithm; for a subclass, those of its nearest base."""
    return next(settings for base in algorithm.__mro__ if (settings := _DEFAULTS.get(base)) is not None)


def off_policy_algorithm(algorithm: Any, action_space: spaces.Space[Any]) -> type[OffPolicyAlgorithm]:
    """An algorithm that learns from a replay buffer of transitions.

    Args:
        algorithm: Its class or its name; None is SAC for Box actions and DQN for Discrete ones.
        action_space: What it acts in.

    Raises:
        ValueError: If there is no such algorithm, or it learns from something else.
    """
    if algorithm is None:
        if isinstance(action_space, spaces.Box):
            return SAC
        if isinstance(action_space, spaces.Discrete):
            return DQN
        raise ValueError(f"action_space is {action_space}; Box or Discrete was expected")
    found = algorithm_class(algorithm)
    names = ", ".join(stock.__name__ for stock in _DEFAULTS)
    if not issubclass(found, OffPolicyAlgorithm):
        raise ValueError(
            f"algorithm {found.__name__} does not learn from replayed steps; an off-policy one was expected: {names}"
        )
    if not issubclass(found, tuple(_DEFAULTS)):
        raise ValueError(f"algorithm {found.__name__} is none of {names}, and no subclass of them")
    return found
