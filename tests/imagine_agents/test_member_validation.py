"""ME-TRPO's stop rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger

from imagine_agents.imagination_trainer import MemberValidation
from imagine_agents.imagination_trainer import validation as module
from imagine_envs.dreams import DreamVectorEnv
from imagine_envs.world_models import World
from wrappers import SB3VecEnv


def trained(world: World, rule: MemberValidation, steps: int = 400) -> PPO:
    env = SB3VecEnv(DreamVectorEnv(world, 4))
    model = PPO("MlpPolicy", env, n_steps=5, batch_size=20, n_epochs=1, seed=0, policy_kwargs={"net_arch": [8]})
    return model.learn(steps, callback=rule)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The validation dreams that were played, whose mean returns are scripted: see ``script``."""
    calls: list[dict[str, Any]] = []

    def dream_returns(world: World, policy: Any, **kwargs: Any) -> tuple[list[float], list[int]]:
        validation, member = divmod(len(calls), 4)
        calls.append({"world": world, "policy": policy, **kwargs})
        return [SCRIPT[min(validation, len(SCRIPT) - 1)][member]] * 2, [1, 1]

    monkeypatch.setattr(module, "dream_returns", dream_returns)
    return calls


SCRIPT: list[list[float]] = []


def script(*validations: list[float]) -> None:
    """What each of four members says at each validation, the one before training first."""
    SCRIPT[:] = validations


def test_it_goes_on_while_enough_members_report_improvement(
    cartpole_world: World, played: list[dict[str, Any]]
) -> None:
    # From 20 imagined steps on an update follows every 20; a validation is due 50 steps after the last.
    script([0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 0, 1], [3, 3, 0, 1])
    rule = MemberValidation(cartpole_world, threshold=0.75, every=50)
    model = trained(cartpole_world, rule)
    assert model.num_timesteps == 52 * 3
    assert rule.ratio == 0.5
    assert len(played) == 4 * 4


def test_each_validation_compares_with_the_last_one(cartpole_world: World, played: list[dict[str, Any]]) -> None:
    script([0, 0, 0, 0], [9, 9, 9, 9], [8, 8, 8, 8])
    assert trained(cartpole_world, MemberValidation(cartpole_world, every=50)).num_timesteps == 52 * 2


@pytest.mark.parametrize(("threshold", "steps"), [(0.75, 400), (0.76, 52)])
def test_the_threshold_itself_is_enough(
    threshold: float, steps: int, cartpole_world: World, played: list[dict[str, Any]]
) -> None:
    script(*([i, i, i, 0] for i in range(20)))
    assert (
        trained(cartpole_world, MemberValidation(cartpole_world, threshold=threshold, every=50)).num_timesteps == steps
    )


def test_a_return_that_stays_the_same_is_no_improvement(cartpole_world: World, played: list[dict[str, Any]]) -> None:
    script([1, 1, 1, 1])
    assert trained(cartpole_world, MemberValidation(cartpole_world, every=50)).num_timesteps == 52


def test_a_policy_without_an_update_is_not_judged(cartpole_world: World, played: list[dict[str, Any]]) -> None:
    script([1, 1, 1, 1])
    # Due after 4 steps; but until 20 steps the policy is the old one.
    assert trained(cartpole_world, MemberValidation(cartpole_world, every=4)).num_timesteps == 24


def test_members_are_played_alone_with_the_same_random_numbers(
    cartpole_world: World, played: list[dict[str, Any]]
) -> None:
    script(*([i] * 4 for i in range(20)))
    trained(cartpole_world, MemberValidation(cartpole_world, every=50, num_dreams=7, horizon=9, seed=5), steps=60)
    assert len(played) == 8
    for index, call in enumerate(played):
        assert (call["dreams"], call["horizon"], call["seed"]) == (7, 9, 5)
        assert call["policy"].deterministic
        assert call["world"].model.members == 1
        ours, theirs = call["world"].model.dynamics.weights[0], cartpole_world.model.dynamics.weights[0]
        assert (ours[0] == theirs[index % 4]).all()
    assert MemberValidation(cartpole_world)._horizon == 500


def test_real_dreams_are_repeatable_and_logged(cartpole_world: World) -> None:
    rule = MemberValidation(cartpole_world, threshold=0.01, every=20, num_dreams=3, horizon=12)
    model = trained(cartpole_world, rule, steps=0)
    rule.init_callback(model)
    returns = rule._returns()
    assert returns.shape == (4,)
    np.testing.assert_array_equal(rule._returns(), returns)
    records: dict[str, Any] = {}

    class Noted(Logger):
        def record(self, key: str, value: Any, exclude: Any = None) -> None:
            records[key] = value

    model.set_logger(Noted(None, []))
    model.learn(60, callback=rule)
    assert 0 <= records["validation/improved_members"] <= 1
    assert 1 <= records["validation/ep_rew_mean"] <= 12


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"threshold": 0.0}, "threshold=0.0 must be a fraction"),
        ({"threshold": 1.1}, "threshold=1.1 must be a fraction"),
        ({"every": 0}, "every=0 must be a whole number of at least 1"),
        ({"num_dreams": 0}, "num_dreams=0 must be a whole number of at least 1"),
        ({"horizon": 0}, "horizon=0 must be a whole number of at least 1"),
    ],
)
def test_bad_numbers(kwargs: dict[str, Any], message: str, cartpole_world: World) -> None:
    with pytest.raises(ValueError, match=message):
        MemberValidation(cartpole_world, **kwargs)


def test_a_world_without_members_is_refused(perfect_cartpole: World) -> None:
    with pytest.raises(ValueError, match="a world of family 'perfect' has no members"):
        MemberValidation(perfect_cartpole)
