"""Settings that suit stock algorithms in batched dreams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sb3_contrib
import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

__all__ = ["algorithm_class", "dream_defaults", "dreams_of"]

ON_POLICY_DREAMS = 1024
OFF_POLICY_DREAMS = 64

# SB3's defaults suit a handful of environments: minibatches of 64 would cut a rollout of 1,024 dreams × 32 steps into
# 512 gradient steps an epoch (zoo/benchmarks measures the cost). Whatever the user sets himself wins.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "PPO": {"n_steps": 32, "batch_size": 4096, "n_epochs": 10, "learning_rate": 1e-3},
    "MaskablePPO": {"n_steps": 32, "batch_size": 4096, "n_epochs": 10, "learning_rate": 1e-3},
    "RecurrentPPO": {"n_steps": 32, "batch_size": 4096, "n_epochs": 4, "learning_rate": 1e-3},
    "A2C": {"n_steps": 8},
    "TRPO": {"n_steps": 32, "batch_size": 4096},
    "DQN": {
        "learning_starts": 0,
        "train_freq": 1,
        "gradient_steps": 4,
        "batch_size": 256,
        "target_update_interval": 2048,
    },
    "QRDQN": {
        "learning_starts": 0,
        "train_freq": 1,
        "gradient_steps": 4,
        "batch_size": 256,
        "target_update_interval": 2048,
    },
    "SAC": {"learning_starts": 0, "gradient_steps": 4},
    "TD3": {"learning_starts": 0, "gradient_steps": 4},
    "DDPG": {"learning_starts": 0, "gradient_steps": 4},
    "TQC": {"learning_starts": 0, "gradient_steps": 4},
    "CrossQ": {"learning_starts": 0, "gradient_steps": 4},
    "ARS": {},
}


def algorithm_class(algorithm: str | type[BaseAlgorithm]) -> type[BaseAlgorithm]:
    """An SB3 or sb3-contrib algorithm by class or by name, in any case ("ppo", "PPO").

    Raises:
        ValueError: If there is none of that name.
        TypeError: If it is no SB3 algorithm.
    """
    if isinstance(algorithm, str):
        named = {name.lower(): name for module in (stable_baselines3, sb3_contrib) for name in module.__all__}
        for module in (stable_baselines3, sb3_contrib):
            found = getattr(module, named.get(algorithm.lower(), ""), None)
            if isinstance(found, type) and issubclass(found, BaseAlgorithm):
                return found
        raise ValueError(f"unknown algorithm {algorithm!r}; expected a class, or one of {', '.join(sorted(_DEFAULTS))}")
    if not (isinstance(algorithm, type) and issubclass(algorithm, BaseAlgorithm)):
        raise TypeError(f"algorithm must be a Stable-Baselines3 algorithm class or its name, not {algorithm!r}")
    return algorithm


def dream_defaults(
    algorithm: type[BaseAlgorithm], num_dreams: int | None = None, given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Constructor arguments for an algorithm in batched dreams; for a subclass, those of its nearest base.

    Args:
        algorithm: The class.
        num_dreams: Dreams side by side; None is as many as :func:`dreams_of` says. A minibatch is no larger than the
            rollout of all of them, and a target network is not updated more often than once in a step of all of them.
        given: What the user has set, which wins.
    """
    given = given or {}
    count = num_dreams or dreams_of(algorithm)
    for base in algorithm.__mro__:
        if base.__name__ in _DEFAULTS:
            settings = {**_DEFAULTS[base.__name__], **given}
            if "n_steps" in settings and "batch_size" in settings:
                settings["batch_size"] = min(settings["batch_size"], settings["n_steps"] * count)
            if "target_update_interval" in settings:
                settings["target_update_interval"] = max(settings["target_update_interval"], count)
            return {**settings, **given}
    return dict(given)


def dreams_of(algorithm: type[BaseAlgorithm]) -> int:
    """How many dreams to run side by side: many for rollouts, fewer where every step pays gradient steps.

    ARS plays its candidates one after the other, one episode each, and would throw away all dreams but one.
    """
    if issubclass(algorithm, sb3_contrib.ARS):
        return 1
    return OFF_POLICY_DREAMS if issubclass(algorithm, OffPolicyAlgorithm) else ON_POLICY_DREAMS
