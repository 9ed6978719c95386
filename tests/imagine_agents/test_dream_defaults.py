"""Settings of stock algorithms in batched dreams."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import sb3_contrib
import stable_baselines3
from sb3_contrib import ARS, QRDQN, MaskablePPO
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm

from imagine_agents.common.dream_defaults import algorithm_class, dream_defaults, dreams_of

STOCK = [
    found
    for module in (stable_baselines3, sb3_contrib)
    for name in module.__all__
    if isinstance(found := getattr(module, name), type) and issubclass(found, BaseAlgorithm)
]


@pytest.mark.parametrize("algorithm", STOCK)
def test_every_stock_algorithm_has_settings_that_its_constructor_takes(algorithm: type[BaseAlgorithm]) -> None:
    settings = dream_defaults(algorithm)
    assert settings or algorithm is ARS
    assert set(settings) <= set(inspect.signature(algorithm).parameters)
    assert algorithm_class(algorithm.__name__) is algorithm_class(algorithm.__name__.lower()) is algorithm
    assert algorithm_class(algorithm) is algorithm


@pytest.mark.parametrize("algorithm", [PPO, MaskablePPO])
@pytest.mark.parametrize("given", [{}, {"n_steps": 8}])
@pytest.mark.parametrize("num_dreams", [4, 1024])
def test_a_minibatch_is_no_larger_than_the_rollout(
    algorithm: type[BaseAlgorithm], given: dict[str, Any], num_dreams: int
) -> None:
    usual = dream_defaults(algorithm)["batch_size"]
    settings = dream_defaults(algorithm, num_dreams, given)
    assert settings["batch_size"] == min(usual, settings["n_steps"] * num_dreams)
    assert settings["n_steps"] == given.get("n_steps", dream_defaults(algorithm)["n_steps"])


@pytest.mark.parametrize("algorithm", [DQN, QRDQN])
def test_a_target_network_is_updated_at_most_once_in_a_step_of_all_dreams(algorithm: type[BaseAlgorithm]) -> None:
    usual = dream_defaults(algorithm)["target_update_interval"]
    assert usual >= dreams_of(algorithm)
    assert dream_defaults(algorithm, 10**6)["target_update_interval"] == 10**6
    assert dream_defaults(algorithm, 1)["target_update_interval"] == usual


def test_what_the_user_sets_wins_and_nothing_is_shared() -> None:
    given = {"batch_size": 10**6, "target_update_interval": 1, "gamma": 0.5}
    settings = dream_defaults(PPO, 4, given)
    assert {key: settings[key] for key in given} == given
    settings["n_steps"] = -1
    assert dream_defaults(PPO)["n_steps"] > 0
    assert given == {"batch_size": 10**6, "target_update_interval": 1, "gamma": 0.5}


def test_a_subclass_has_the_settings_of_its_base_and_a_stranger_none() -> None:
    class Mine(SAC):
        pass

    class Stranger(BaseAlgorithm):
        pass

    assert dream_defaults(Mine) == dream_defaults(SAC)
    assert dream_defaults(Stranger, given={"gamma": 0.5}) == {"gamma": 0.5}
    assert algorithm_class(Mine) is Mine


def test_many_dreams_for_rollouts_fewer_for_replays_one_for_ars() -> None:
    assert [dreams_of(algorithm) for algorithm in (PPO, A2C, SAC, ARS)] == [1024, 1024, 64, 1]


@pytest.mark.parametrize("name", ["", "PP0", "HerReplayBuffer", "get_system_info", "BaseAlgorithm"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown algorithm '{name}'; expected a class, or one of A2C, ARS, .*, TRPO"):
        algorithm_class(name)


@pytest.mark.parametrize("found", [None, 3, dict, PPO.__init__])
def test_what_is_no_algorithm(found: Any) -> None:
    with pytest.raises(TypeError, match="algorithm must be a Stable-Baselines3 algorithm class or its name"):
        algorithm_class(found)
