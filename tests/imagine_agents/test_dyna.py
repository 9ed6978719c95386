"""Dyna as an SB3 algorithm: real and imagined steps, every stock algorithm, files, exact resumption."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from dyna_parts import ACTIONS, Line, LineModel, Lock, LockModel, assert_same, line_model, lines, parameters, small
from gymnasium import spaces
from sb3_contrib import QRDQN, TQC, CrossQ
from stable_baselines3 import DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import Tensor
from trainer_parts import Corridor, Memory, Pictures

from imagine_agents import Dreamer, Dyna
from imagine_agents.common.bounded_features import BoundedFeatures
from imagine_agents.common.checkpoint import AtomicCheckpointCallback, checkpoints, load_checkpoint, save_checkpoint
from imagine_agents.dyna import dyna as module
from imagine_envs.storage import StorageError
from imagine_envs.world_models import Ensemble
from imagine_envs.world_models.families import FAMILIES


@pytest.fixture(autouse=True)
def _known_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world of this family can be loaded."""
    monkeypatch.setitem(FAMILIES, LineModel.family, LineModel)


CONTINUOUS = (SAC, TD3, DDPG, TQC, CrossQ)
DISCRETE = (DQN, QRDQN)


def on_line(algorithm: Any = SAC, **kwargs: Any) -> Dyna:
    """A small Dyna on the line, whose world it knows."""
    discrete = algorithm in DISCRETE
    world = line_model(spaces.Discrete(2) if discrete else ACTIONS)
    env = kwargs.pop("env", None) or lines(kwargs.pop("n_envs", 1), discrete=discrete)
    return small(env=env, algorithm=algorithm, **{"world_model": world, **kwargs})


class Stop(BaseCallback):
    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def _on_step(self) -> bool:
        return self.n_calls < self.calls


# --- every stock algorithm --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expansion", [0, 2])
@pytest.mark.parametrize("algorithm", [*CONTINUOUS, *DISCRETE])
def test_every_algorithm_learns_from_a_learned_world_and_is_loaded(
    algorithm: Any, expansion: int, tmp_path: Path
) -> None:
    env = lines(discrete=algorithm in DISCRETE)
    model = small(env=env, algorithm=algorithm, value_expansion=expansion).learn(30)
    assert isinstance(model, Dyna)
    assert isinstance(model, algorithm)
    assert model.num_timesteps == 30
    assert model._n_updates == 18
    assert model.dream_steps > 0
    model.save(tmp_path / "model")
    again = Dyna.load(tmp_path / "model")
    assert isinstance(again, algorithm)
    assert_same(parameters(model), parameters(again))
    seen = np.linspace(-5, 5, 7, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(
        model.predict(seen, deterministic=True)[0], again.predict(seen, deterministic=True)[0]
    )


@pytest.mark.parametrize("algorithm", [*CONTINUOUS, *DISCRETE])
def test_the_stock_algorithms_heed_the_discounts_of_a_batch(algorithm: Any) -> None:
    """What value expansion rests on: their ``train`` bootstraps by ``discounts`` where a batch has them."""

    def trained(discount: float | None) -> dict[str, Tensor]:
        model = on_line(algorithm, real_ratio=1.0, gamma=0.8, learning_starts=10).learn(11)
        sample = model.replay_buffer.sample  # type: ignore[union-attr]

        def sampled(size: int, env: Any = None) -> Any:
            batch = sample(size, env)
            batch = batch._replace(rewards=batch.rewards * 1e-3)  # the gradient of Huber's loss saturates
            return batch._replace(discounts=None if discount is None else torch.full_like(batch.rewards, discount))

        model.replay_buffer.sample = sampled  # type: ignore[union-attr, method-assign]
        model.train(2, 8)
        return parameters(model)

    plain, same, other = trained(None), trained(0.8), trained(0.3)
    assert_same(plain, same)
    assert [name for name in plain if not torch.equal(plain[name], other[name])]


def test_the_default_algorithm_follows_from_the_actions() -> None:
    assert isinstance(small(env="Pendulum-v1"), SAC)
    assert isinstance(small(env="CartPole-v1"), DQN)
    assert isinstance(small(env=lines(), algorithm="TQC"), TQC)
    assert isinstance(small(env=Line(discrete=True), algorithm="qrdqn"), QRDQN)


def test_a_subclass_of_a_stock_algorithm_will_do(tmp_path: Path) -> None:
    model = on_line(Patient).learn(20)
    assert isinstance(model, Patient)
    assert model.trained == 8
    model.save(tmp_path / "model")
    assert isinstance(Dyna.load(tmp_path / "model"), Patient)


class Patient(SAC):
    trained = 0

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        self.trained += 1
        super().train(gradient_steps, batch_size)


def test_flat_observations_are_scaled_by_their_bounds_unless_something_else_does_it() -> None:
    for env, given, expected in (
        (lines(), {}, BoundedFeatures),
        (lines(), {"features_extractor_class": FlattenExtractor}, FlattenExtractor),
        (VecNormalize(lines()), {}, FlattenExtractor),
        (VecNormalize(lines(), norm_obs=False), {}, BoundedFeatures),
    ):
        model = on_line(SAC, env=env, policy_kwargs=given)
        assert isinstance(model.actor.features_extractor, expected)


def test_settings_reach_the_algorithm() -> None:
    noise = NormalActionNoise(np.zeros(1), np.ones(1))
    model = on_line(
        TD3,
        algorithm_kwargs={"policy_delay": 7},
        gamma=0.7,
        tau=0.3,
        learning_rate=0.2,
        action_noise=noise,
        stats_window_size=3,
        gradient_steps=2,
        train_freq=(4, "step"),
    )
    assert (model.policy_delay, model.gamma, model.tau, model.learning_rate) == (7, 0.7, 0.3, 0.2)
    assert model.action_noise is noise
    assert (model._stats_window_size, model.gradient_steps, model.train_freq.frequency) == (3, 2, 4)
    assert on_line(DDPG, stats_window_size=5)._stats_window_size == 5
    assert on_line(gradient_steps=None, train_freq=None).gradient_steps == 20  # MBPO's
    assert on_line(DQN, algorithm_kwargs={"target_update_interval": 3}).target_update_interval == 3


# --- real steps, fits, branches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_envs", "train_freq", "fits", "rounds"),
    [
        (1, 1, [13, 33, 53], [13, 18, 23, 28, 33, 38, 43, 48, 53, 58]),
        (1, 4, [16, 36, 56], [16, 24, 32, 40, 48, 56]),
        (3, 1, [15, 36, 57], [15, 21, 27, 33, 39, 45, 51, 57]),
    ],
)
def test_fits_and_rounds_of_branches_take_their_turns(
    n_envs: int, train_freq: int, fits: list[int], rounds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[int] = []
    branched: list[int] = []
    for name, seen in (("_fit", fitted), ("_branch", branched)):
        method = getattr(Dyna, name)
        monkeypatch.setattr(
            Dyna, name, lambda self, method=method, seen=seen: (seen.append(self.num_timesteps), method(self))
        )
    model = on_line(DQN, n_envs=n_envs, train_freq=train_freq)
    model.learn(60)
    assert (fitted, branched) == (fits, rounds)
    assert model.num_timesteps == 60  # imagined steps do not count
    model.learn(30)
    assert fitted[len(fits)] == branched[len(rounds)] == fits[0]  # the count begins anew, and so do the fits


@pytest.mark.parametrize(
    ("n_envs", "train_freq"), [(1, 1), (1, 7), (3, 1), (1, (1, "episode"))], ids=["1", "7", "3 envs", "episode"]
)
def test_every_real_step_has_its_branches_whenever_the_rounds_are(n_envs: int, train_freq: Any) -> None:
    model = on_line(n_envs=n_envs, train_freq=train_freq, rollout_freq=2, rollouts_per_step=3, horizon=1)
    begun: list[int] = []
    branch = model._branch

    def noted() -> None:
        branch()
        begun.append(model.num_timesteps)

    model._branch = noted  # type: ignore[method-assign]
    model.learn(60)
    assert len(begun) > 1
    assert model.dream_steps == 3 * (2 + begun[-1] - begun[0])  # the first round is of `rollout_freq` steps


def test_branches_are_as_many_and_as_long_as_was_asked_for() -> None:
    world = line_model(end=np.inf)
    model = on_line(
        world_model=world, env=lines(end=np.inf), horizon=(0.5, 1.0, 1, 4), rollouts_per_step=3, rollout_freq=5
    )
    made: list[int] = []
    branch = model._branch

    def counted() -> None:
        before = model.dream_steps
        branch()
        made.append(model.dream_steps - before)
        assert model.replay_buffer is not None
        assert model.replay_buffer.imagined.capacity == 3 * 20 * made[-1] // 15

    model._branch = counted  # type: ignore[method-assign]
    model.learn(60)
    # After 13, 18, … 58 real steps of 60: 1 + ⌊3 (t − 30) / 30⌋ from the 30th on.
    assert [count // 15 for count in made] == [1, 1, 1, 1, 1, 1, 2, 2, 3, 3]
    assert all(count % 15 == 0 for count in made)
    assert len(model.replay_buffer.imagined) == min(sum(made), 3 * 20 * 3)  # type: ignore[union-attr]


def test_branches_start_in_real_states_that_an_episode_went_on_from(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[Tensor] = []
    original = module.branches

    def noted(dream: Any, state: Any, observation: Any, act: Any, length: int) -> Any:
        starts.append(observation)
        assert torch.equal(state.model["place"], observation)
        return original(dream, state, observation, act, length)

    monkeypatch.setattr(module, "branches", noted)
    env = lines(2)
    model = on_line(env=env).learn(60)
    assert model.dream_steps
    real = {float(place) for line in env.envs for place in line.unwrapped.seen}
    found = {float(place) for batch in starts for place in batch}
    assert found <= real
    assert len(found) > len(real) / 2


def test_actions_of_branches_are_the_environments_own() -> None:
    env = lines()
    model = on_line(env=env, learning_starts=10).learn(60)
    buffer = model.replay_buffer
    assert buffer is not None
    told = np.concatenate([np.ravel(action) for action in env.envs[0].unwrapped.actions])
    np.testing.assert_array_equal(buffer.replay.transitions().action[:, 1, 0].numpy(), told)
    imagined = buffer.imagined.rows()
    assert imagined.action.min() < -1
    assert imagined.action.max() > 1
    batch = buffer.sample(300)
    assert batch.actions.min() >= -1
    assert batch.actions.max() <= 1
    real_unit = (batch.actions + 1) / 2 * 8 - 2
    # o' − o = a in real steps and in imagined ones: nothing is paired with the first observation after a reset.
    torch.testing.assert_close(batch.next_observations - batch.observations, real_unit, rtol=1e-4, atol=1e-4)  # type: ignore[operator]


def test_time_limits_are_bootstrapped_and_ends_are_not() -> None:
    model = on_line(learning_starts=90, rollouts_per_step=20, horizon=4).learn(92)
    buffer = model.replay_buffer
    assert buffer is not None
    steps = buffer.replay.transitions()
    assert steps.truncated[:, 1].sum() > 1 < steps.terminated[:, 1].sum()
    for rows in (buffer.sample(400), on_line_rows(buffer)):
        assert torch.equal(rows.dones[:, 0] == 1, rows.next_observations[:, 0] >= 20)
        assert 0 < rows.dones.mean() < 1


def on_line_rows(buffer: Any) -> Any:
    buffer.real_ratio = 0.0
    return buffer.sample(400)


@pytest.mark.parametrize("algorithm", [DQN, TD3, SAC])
def test_the_policy_that_acts_in_branches_is_the_one_that_is_trained(algorithm: Any, tmp_path: Path) -> None:
    model = on_line(algorithm, rollout_noise=0.0).learn(20)
    model.save(tmp_path / "model")
    for one in (model, Dyna.load(tmp_path / "model", lines(discrete=algorithm is DQN))):
        seen = torch.linspace(-3, 3, 9)[:, None]
        for _ in range(2):
            torch.manual_seed(0)
            imagined = one._explore(seen)
            torch.manual_seed(0)
            acted, _ = one.policy.predict(seen.numpy(), deterministic=algorithm is DQN)
            np.testing.assert_allclose(imagined.detach().numpy(), acted, rtol=1e-6)
            before = imagined
            with torch.no_grad():  # as an update would
                for weights in one.policy.parameters():
                    weights.add_(torch.randn_like(weights))
        if algorithm is not DQN:  # whose best of two actions may stay the same
            assert not torch.equal(before, one._explore(seen))


def test_exploration_in_branches_is_row_by_row() -> None:
    model = on_line(DQN, rollout_noise=0.4)
    torch.manual_seed(0)
    seen = torch.zeros(20_000, 1)
    share = float((model._explore(seen) != model._explore(seen)).float().mean())
    assert share == pytest.approx(2 * 0.2 * 0.8, abs=0.02)  # half of the random ones are the best one by chance
    noisy = on_line(TD3, rollout_noise=0.1)._explore(seen)
    assert float(noisy.detach().std()) == pytest.approx(0.1 * 4, rel=0.1)  # of half the range
    assert ACTIONS.low[0] <= noisy.min() <= noisy.max() <= ACTIONS.high[0]


def test_uncertain_branches_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = {}
    for cut in (None, 0.5):
        model = on_line(dream_kwargs={"truncate_uncertainty": cut}, horizon=5, learning_starts=30).learn(33)
        rows = model.replay_buffer.imagined.rows()  # type: ignore[union-attr]
        lengths[cut] = len(rows)
        if cut is not None:
            limit = model.world.uncertainty_quantile(cut)  # type: ignore[union-attr]
            beyond = rows.next_observation.abs() > limit  # type: ignore[union-attr]
            assert beyond.any()
            assert not (rows.terminated & (rows.next_observation[:, 0] < 20)).any()  # type: ignore[index]
    assert lengths[0.5] < lengths[None]


@pytest.mark.parametrize("expansion", [0, 2])
def test_until_there_is_a_world_all_steps_are_real(expansion: int) -> None:
    model = small(env=lines(), algorithm="SAC", learning_starts=1, real_ratio=0.0, value_expansion=expansion).learn(8)
    assert model._n_updates == 7
    assert model.world is None
    model.learn(12, reset_num_timesteps=False)
    assert model.world is not None
    assert model.dream_steps


def test_a_world_that_was_loaded_without_its_experience_is_kept_until_there_is_some(tmp_path: Path) -> None:
    model = small(env=lines(), algorithm="SAC", model_train_freq=20).learn(40)
    model.save(tmp_path / "model")
    again = Dyna.load(tmp_path / "model", lines())
    assert model.world is not None
    assert again.learn(19).world.digest == model.world.digest  # type: ignore[union-attr]
    assert again.dream_steps > model.dream_steps  # what it knows is dreamed at once
    assert again.learn(5, reset_num_timesteps=False).world.digest != model.world.digest  # type: ignore[union-attr]


def test_gsde_explores_every_branch_in_its_own_way_after_some_have_ended() -> None:
    model = on_line(algorithm_kwargs={"use_sde": True})
    for rows in (50, 49, 3):
        with torch.no_grad():
            assert len(set(model._explore(torch.ones(rows, 1)).flatten().tolist())) == rows


def test_a_real_ratio_of_one_imagines_nothing_and_fits_nothing() -> None:
    model = small(env=lines(), algorithm="SAC", real_ratio=1.0).learn(30)
    assert model.world is None
    assert model.dream_steps == 0


def test_it_is_the_stock_algorithm_where_nothing_is_imagined() -> None:
    """Fed the same batches, the updates are SB3's own."""
    settings: dict[str, Any] = {"learning_starts": 20, "batch_size": 8, "seed": 0, "device": "cpu"}
    settings["policy_kwargs"] = {"net_arch": [8], "features_extractor_class": FlattenExtractor}
    ours = on_line(SAC, real_ratio=1.0, **settings).learn(20)
    theirs = SAC("MlpPolicy", lines(), **settings).learn(20)
    theirs.replay_buffer = ours.replay_buffer  # type: ignore[assignment]
    theirs.policy.load_state_dict(ours.policy.state_dict())
    for model in (ours, theirs):
        torch.manual_seed(3)
        model.train(3, 8)
    for one, other in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_is_logged() -> None:
    model = small(env=lines(), algorithm="SAC")
    logged: dict[str, Any] = {}

    class Read(BaseCallback):
        def _on_step(self) -> bool:
            logged.update(self.logger.name_to_value)
            return True

    model.learn(40, Read())
    for key in (
        "imagine/horizon",
        "imagine/total_timesteps",
        "imagine/buffer_size",
        "world_model/holdout_error",
        "train/critic_loss",
        "train/n_updates",
    ):
        assert key in logged, key
    assert logged["imagine/horizon"] == 2
    assert logged["imagine/total_timesteps"] == model.dream_steps


def test_a_step_that_a_callback_stops_at_is_not_lost() -> None:
    env = lines()
    model = on_line(env=env)
    model.learn(40, Stop(17))
    assert model.num_timesteps == 17
    model.learn(20, reset_num_timesteps=False)
    steps = model.replay_buffer.replay.transitions()  # type: ignore[union-attr]
    assert len(steps.reward) == 37
    np.testing.assert_allclose(steps.observation[:, 1] - steps.observation[:, 0], steps.action[:, 1], atol=1e-5)  # type: ignore[index, operator]


# --- it learns --------------------------------------------------------------------------------------------------------


def test_a_perfect_model_saves_real_steps() -> None:
    """Each wrong number ends the episode: who learns from real steps alone has to try them one by one."""
    numbers, choices = (3, 0, 5, 1, 4), 6
    settings: dict[str, Any] = {
        "algorithm": "DQN",
        "algorithm_kwargs": {"exploration_fraction": 1.0},
        "policy_kwargs": {"net_arch": [32]},
        "learning_rate": 5e-3,
        "batch_size": 64,
        "gradient_steps": 4,
        "learning_starts": 20,
        "rollouts_per_step": 20,
        "rollout_noise": 1.0,
        "horizon": 1,
        "retain_steps": 40,
        "gamma": 0.9,
    }
    returns = {}
    for ratio in (1.0, 0.05):
        lock = Lock(numbers, choices)
        model = small(env=lock, world_model=LockModel(lock), real_ratio=ratio, **settings).learn(150)
        returns[ratio] = float(evaluate_policy(model, Lock(numbers, choices), 1, warn=False)[0])
    assert returns[0.05] == len(numbers)
    assert returns[1.0] < len(numbers)


# --- observations of every kind ---------------------------------------------------------------------------------------


def test_images_are_learned_from_as_the_policy_sees_them() -> None:
    env = DummyVecEnv([lambda: Corridor(image=True)])
    model = small(
        "CnnPolicy",
        env,
        world_model=Pictures(env.observation_space, env.action_space),
        policy_kwargs={},
        horizon=1,
        batch_size=2,
    ).learn(16)
    buffer = model.replay_buffer
    assert buffer is not None
    assert buffer.replay.observation_space.shape == (36, 37, 3)
    assert buffer.imagined.rows().observation.shape[1:] == (36, 37, 3)  # type: ignore[union-attr]
    batch = buffer.sample(8)
    assert batch.observations.shape == (8, 3, 36, 37)  # type: ignore[union-attr]
    assert model._last_obs is not None
    last = buffer.layout.to_policy(buffer.replay.transitions(slice(-1, None)).observation[:, 1], None)  # type: ignore[index]
    np.testing.assert_array_equal(last.numpy(), model._last_obs)  # type: ignore[union-attr]


class Two(gym.Env):
    """A Dict of a place and of what kind of place it is."""

    observation_space = spaces.Dict({"place": spaces.Box(-9, 9, (2,), np.float32), "kind": spaces.Box(0, 1, (1,))})
    action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), float(action), bool(self.np_random.random() < 0.2), False, {}


def test_dicts() -> None:
    model = small("MultiInputPolicy", Two(), world_model="copy", value_expansion=1).learn(30)
    batch: Any = model.replay_buffer.sample(6)  # type: ignore[union-attr]
    assert {key: value.shape for key, value in batch.observations.items()} == {"place": (6, 2), "kind": (6, 1)}
    assert model.dream_steps


def test_a_maze_and_its_perfect_model() -> None:
    model = small(env="Imagine/DynaMaze-v0", world_model="perfect", value_expansion=1).learn(30)
    assert model.world is not None
    assert model.world.spec.env_id == "Imagine/DynaMaze-v0"
    batch: Any = model.replay_buffer.sample(6)  # type: ignore[union-attr]
    assert batch.observations.shape == (6, 1)


class Remembered(Memory):
    """Shows the place that it believes in: the sum of what it saw."""

    can_decode = True

    def decode(self, state: Any) -> Any:
        return state["memory"]


def test_a_world_that_remembers_filters_what_was_real(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[Any] = []
    monkeypatch.setattr(
        module, "branches", lambda dream, state, observation, *rest: (states.append((state.model, observation)), stop())
    )

    class Enough(Exception):
        pass

    def stop() -> None:
        raise Enough

    env = Corridor(length=30)
    model = small(env=env, world_model=Remembered(env.observation_space, env.action_space), learning_starts=70)
    with pytest.raises(Enough):
        model.learn(80)
    (state, seen), last_ones = states[0], 16
    # `Memory` counts the records of the episode that it was shown, and sums the places.
    for row in range(len(seen)):
        step, episode = int(seen[row, 1]), int(seen[row, 2])
        assert state["memory"][row, 0] == min(step + 1, last_ones)
        places = {
            int(o[1]): float(o[0])
            for window in model.replay_buffer.replay.transitions().observation  # type: ignore[union-attr]
            for o in window
            if int(o[2]) == episode
        }
        assert state["memory"][row, 1] == sum(places[n] for n in range(max(0, step + 1 - last_ones), step + 1))
    assert max(int(o[1]) for o in seen) > last_ones


def test_a_recurrent_world_fills_the_imagined_buffer() -> None:
    tiny = {"deter": 16, "hidden": 8, "stoch": 4, "classes": 4, "units": 8, "blocks": 2, "depth": 2}
    model = small(
        env="CartPole-v1",
        world_model="rssm",
        world_model_kwargs={"sequence_length": 4, "architecture": tiny},
        fit_kwargs={"max_epochs": 1, "batch_size": 8},
        learning_starts=60,
    ).learn(66)
    assert model.dream_steps
    seen = model.replay_buffer.imagined.rows().next_observation  # type: ignore[union-attr]
    assert seen.shape[1:] == (4,)  # type: ignore[union-attr]


def test_normalised_environments() -> None:
    env = VecNormalize(lines(2))
    model = on_line(env=env).learn(40)
    buffer = model.replay_buffer
    assert buffer is not None
    raw = buffer.imagined.rows()
    torch.testing.assert_close(raw.next_observation - raw.observation, raw.action)  # type: ignore[operator]
    batch = buffer.sample(50, env)
    assert batch.rewards.abs().max() <= env.clip_reward
    assert batch.observations.abs().max() < 5 < raw.observation.abs().max()  # type: ignore[union-attr]
    before = model._explore(raw.observation[:1])  # type: ignore[index]
    assert before.shape == (1, 1)


# --- bad input --------------------------------------------------------------------------------------------------------


class Blind(Pictures):
    family = "blind"
    can_decode = False


def image_env() -> Any:
    return DummyVecEnv([lambda: Corridor(image=True)])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"algorithm": "A3C"}, "unknown algorithm 'A3C'"),
        ({"algorithm": "PPO"}, "PPO does not learn from replayed steps.*DQN, QRDQN, SAC"),
        ({"algorithm": PPO}, "an off-policy one was expected"),
        ({"algorithm": Dreamer}, "Dreamer is none of"),
        ({"env": None}, "env is None"),
        ({"world_model": "dream"}, "unknown world model family"),
        ({"world_model": line_model(), "env": "Pendulum-v1"}, "the world model's observation_space is"),
        ({"world_model": line_model(), "world_model_kwargs": {"end": 3}}, "came too late"),
        ({"world_model": line_model(spaces.Discrete(2))}, "the world model's action_space is"),
        ({"real_ratio": -0.1}, "real_ratio=-0.1"),
        ({"real_ratio": 1.5}, "between 0 and 1"),
        ({"real_ratio": float("nan")}, "between 0 and 1"),
        ({"value_expansion": -1}, "value_expansion=-1"),
        ({"model_train_freq": 0}, "model_train_freq=0"),
        ({"rollouts_per_step": 0}, "rollouts_per_step=0"),
        ({"rollout_freq": 0}, "rollout_freq=0"),
        ({"rollout_freq": 50, "retain_steps": 49}, "retain_steps=49 is less than rollout_freq=50"),
        ({"rollout_noise": -1.0}, "rollout_noise"),
        ({"rollout_noise": 1.5, "env": lines(discrete=True)}, "rollout_noise=1.5 must be at most 1"),
        ({"rollouts_per_step": 2.5}, "rollouts_per_step=2.5 must be a whole number of at least 1"),
        ({"value_expansion": 1.5}, "value_expansion=1.5 must be a whole number of at least 0"),
        ({"model_train_freq": float("nan")}, "model_train_freq=nan must be a whole number"),
        ({"horizon": 0}, "horizon=0"),
        ({"horizon": (5, 2, 1, 3)}, "start ≤ end"),
        ({"fit_kwargs": {"epochs": 3}}, "fit_kwargs has epochs"),
        ({"dream_kwargs": {"penalty": 3}}, "dream_kwargs has penalty"),
        ({"dream_kwargs": {"horizon": 3}}, "dream_kwargs has horizon"),
        ({"algorithm_kwargs": {"replay_buffer_class": ReplayBuffer}}, "algorithm_kwargs has replay_buffer_class"),
        ({"algorithm_kwargs": {"n_steps": 3}}, "value_expansion looks ahead"),
        ({"algorithm_kwargs": {"gamma": 0.5}, "gamma": 0.9}, "algorithm_kwargs has gamma, which Dyna was given too"),
        ({"algorithm_kwargs": {"exploration_fraction": 0.5}}, "exploration_fraction cannot be given to SAC"),
        ({"algorithm": "DQN", "env": lines(discrete=True), "action_noise": NormalActionNoise(np.zeros(1), np.ones(1))},
         "action_noise cannot be given to DQN"),
        ({"algorithm_kwargs": {"seed": 3}}, "seed cannot be given"),
        ({"world_model": "copy", "dream_kwargs": {"truncate_uncertainty": 0.9}}, "truncate_uncertainty, which needs"),
        ({"world_model": "rssm", "env": "CartPole-v1", "value_expansion": 2}, "remembers more"),
        ({"policy": "CnnPolicies"}, "Policy CnnPolicies unknown"),
        ({"policy": "CnnPolicy", "env": VecNormalize(image_env(), norm_obs=False), "world_model": "copy"},
         "images through VecNormalize"),
        ({"policy": "CnnPolicy", "env": image_env(),
          "world_model": Blind(Corridor(image=True).observation_space, spaces.Discrete(2))}, "cannot decode"),
        ({"env": gym.Env()}, "Box or Discrete was expected"),
    ],
)  # fmt: skip
def test_one_clear_error(kwargs: dict[str, Any], message: str) -> None:
    settings = {"policy": "MlpPolicy", "env": lines(), **kwargs}
    if isinstance(settings["env"], gym.Env):
        settings["env"].observation_space, settings["env"].action_space = spaces.Discrete(2), spaces.MultiBinary(2)
    with pytest.raises(ValueError, match=message):
        Dyna(settings.pop("policy"), settings.pop("env"), device="cpu", **settings)


def test_a_file_of_another_algorithm_is_refused(tmp_path: Path) -> None:
    SAC("MlpPolicy", lines(), buffer_size=10, policy_kwargs={"net_arch": [2]}).save(tmp_path / "sac")
    with pytest.raises(ValueError, match="a file that Dyna saved was expected"):
        Dyna.load(tmp_path / "sac")


# --- files ------------------------------------------------------------------------------------------------------------


def test_the_same_seed_learns_the_same() -> None:
    one, other, another = (small(env=lines(), algorithm="SAC", seed=seed).learn(40) for seed in (1, 1, 2))
    assert_same(parameters(one), parameters(other))
    names = [name for name, value in parameters(one).items() if "policy" in name and value.is_floating_point()]
    assert any(not torch.equal(parameters(one)[name], parameters(another)[name]) for name in names)
    without: Callable[[], Dyna] = lambda: small(env=lines(), algorithm="SAC", seed=None).learn(20)  # noqa: E731
    assert without().num_timesteps == 20


def test_experience_is_saved_and_loaded(tmp_path: Path) -> None:
    model = on_line(DQN).learn(40)
    buffer = model.replay_buffer
    assert buffer is not None
    model.save_replay_buffer(tmp_path / "experience")
    other = on_line(DQN)
    other.load_replay_buffer(tmp_path / "experience")
    assert other.replay_buffer is not None
    for name, tensor in buffer.imagined.rows().tensors().items():
        assert torch.equal(tensor, other.replay_buffer.imagined.rows().tensors()[name]), name
    assert torch.equal(buffer.replay.transitions().reward, other.replay_buffer.replay.transitions().reward)
    fresh = on_line(DQN)
    fresh.save_replay_buffer(tmp_path / "nothing")
    other.load_replay_buffer(tmp_path / "nothing")
    assert len(other.replay_buffer.imagined) == other.replay_buffer.size() == 0
    with pytest.raises(StorageError, match="missing"):
        other.load_replay_buffer(tmp_path / "nowhere")


def test_sb3s_checkpoints_hold_the_experience_too(tmp_path: Path) -> None:
    callback = CheckpointCallback(20, str(tmp_path), save_replay_buffer=True)
    on_line(DQN).learn(40, callback)
    again = Dyna.load(tmp_path / "rl_model_40_steps.zip", lines(discrete=True))
    again.load_replay_buffer(tmp_path / "rl_model_replay_buffer_40_steps.pkl")
    assert again.replay_buffer is not None
    assert again.replay_buffer.replay.num_transitions == 39  # SB3 saves between a step and its storage
    assert len(again.replay_buffer.imagined)


def test_sb3s_checkpoints_replace_those_of_another_run(tmp_path: Path) -> None:
    for steps in (20, 30):
        model = on_line(DQN, learning_starts=10).learn(steps, CheckpointCallback(20, str(tmp_path), "a", True))
        model.save_replay_buffer(tmp_path / "again")
        model.save_replay_buffer(tmp_path / "again")
        model.load_replay_buffer(tmp_path / "again")
        assert model.replay_buffer is not None
        assert model.replay_buffer.replay.num_transitions == steps
    (tmp_path / "again" / "real" / "index.json").write_text("{}")
    with pytest.raises(StorageError):  # no replay: who knows what it is
        model.save_replay_buffer(tmp_path / "again")


def test_a_file_takes_the_settings_that_it_was_trained_with(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "algorithm": "sac",
        "algorithm_kwargs": {"ent_coef": 0.5},
        "world_model": "ensemble",
        "world_model_kwargs": {"hidden": (8,)},
        "horizon": (10, 20, 1, 3),
        "real_ratio": 0.25,
        "learning_rate": 0.01,
    }
    small(env=lines(), **settings, fit_kwargs={"max_epochs": 1}).learn(20).save(tmp_path / "model")
    model = Dyna.load(tmp_path / "model", lines(), **settings).learn(20)
    assert (model.horizon, model.ent_coef, model.learning_rate) == ((10, 20, 1, 3), 0.5, 0.01)  # type: ignore[attr-defined]
    model.save(tmp_path / "model")
    other = {**settings, "horizon": 2, "real_ratio": 1.0, "algorithm_kwargs": {"ent_coef": 0.1}}
    model = Dyna.load(tmp_path / "model", lines(), **other).learn(15)
    assert (model.horizon, model.ent_coef) == ((0, 0, 2, 2), 0.1)  # type: ignore[attr-defined]
    assert model.replay_buffer.real_ratio == 1.0  # type: ignore[union-attr]
    assert isinstance(model, SAC)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"algorithm": "td3"}, "algorithm='td3' was given; the file is of SAC"),
        ({"algorithm_kwargs": {"policy_delay": 2}}, "policy_delay cannot be given to SAC"),
        ({"world_model": "copy"}, "world_model='copy' was given; the file's is of family 'ensemble'"),
        ({"world_model": line_model()}, "the file has its own"),
        ({"world_model_kwargs": {"hidden": [9]}}, r"world_model_kwargs has hidden=\[9\]; the file's world has"),
        ({"real_ratio": 7.0}, "real_ratio=7.0 must lie between 0 and 1"),
        ({"horizon": 0}, "horizon=0"),
        ({"dream_kwargs": {"penalty": 1}}, "dream_kwargs has penalty"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_file_refuses_what_it_cannot_be(kwargs: dict[str, Any], message: str, tmp_path: Path) -> None:
    small(env=lines(), algorithm=SAC).save(tmp_path / "model")
    with pytest.raises(ValueError, match=message):
        Dyna.load(tmp_path / "model", lines(), **kwargs)


def test_an_environment_that_is_set_after_loading_is_known_to_the_world(tmp_path: Path) -> None:
    small("MlpPolicy", "CartPole-v1").save(tmp_path / "model")
    model = Dyna.load(tmp_path / "model")
    model.set_env(gym.make("CartPole-v1"))
    model.learn(25)
    assert model.world is not None
    assert (model.world.spec.env_id, model.world.spec.max_episode_steps) == ("CartPole-v1", 500)


def test_a_loaded_world_is_the_one_that_was_saved(tmp_path: Path) -> None:
    model = small(env=lines(), algorithm="SAC", model_train_freq=10).learn(40)
    model.save(tmp_path / "model")
    again = Dyna.load(tmp_path / "model")
    assert model.world is not None
    assert again.world is not None
    assert again.world.digest == model.world.digest
    assert again.world.uncertainty_quantile(0.5) == model.world.uncertainty_quantile(0.5)
    assert torch.equal(again.world.contexts.observation, model.world.contexts.observation)  # type: ignore[arg-type]
    again.set_parameters(small(env=lines(), algorithm="SAC", seed=5).get_parameters())
    assert again.world.digest != model.world.digest


def test_a_model_goes_on_in_another_number_of_environments(tmp_path: Path) -> None:
    small(env=lines(), algorithm="SAC").learn(30).save(tmp_path / "model")
    again = Dyna.load(tmp_path / "model", lines(3))
    again.learn(30, reset_num_timesteps=False)
    assert again.num_timesteps == 60
    assert again.replay_buffer is not None
    assert again.replay_buffer.n_envs == 3


@pytest.mark.parametrize(
    ("algorithm", "n_envs", "expansion", "before", "further"),
    [
        (SAC, 1, 0, 24, {}),
        (DQN, 1, 2, 37, {}),
        (SAC, 2, 1, 40, {}),
        (CrossQ, 1, 0, 31, {}),
        (TD3, 1, 0, 8, {}),
        (SAC, 1, 0, 24, {"algorithm_kwargs": {"use_sde": True}, "train_freq": 4}),
        (TD3, 2, 0, 24, {"action_noise": OrnsteinUhlenbeckActionNoise(np.zeros(1), np.ones(1))}),
        (SAC, 2, 1, 40, {"wrapper": VecNormalize}),
    ],
    ids=["SAC", "DQN", "SAC, 2 environments", "CrossQ", "TD3", "gSDE", "Ornstein-Uhlenbeck", "normalised"],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    algorithm: Any, n_envs: int, expansion: int, before: int, further: dict[str, Any], tmp_path: Path
) -> None:
    def made() -> Dyna:
        settings = copy.deepcopy(further)
        env = lines(n_envs, discrete=algorithm is DQN)
        return small(
            env=settings.pop("wrapper", lambda env: env)(env),
            algorithm=algorithm,
            value_expansion=expansion,
            **settings,
            horizon=(20, 50, 1, 3),
            retain_steps=7,  # the ring is full soon, and changes its size
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        whole = made().learn(70)
        half = made()
        half.learn(70, AtomicCheckpointCallback(before // n_envs, tmp_path, keep=9))
        assert_same(parameters(whole), parameters(half))
        (path,) = (path for path in checkpoints(tmp_path) if f"_{before}_steps" in path.name)
        torch.manual_seed(99)
        np.random.seed(99)  # noqa: NPY002
        resumed = load_checkpoint(Dyna, path)
        assert resumed.num_timesteps == before
        resumed.learn(70 - before, reset_num_timesteps=False)
    assert_same(parameters(whole), parameters(resumed))
    assert resumed.dream_steps == whole.dream_steps
    for model in (whole, resumed):
        assert model.replay_buffer is not None
    one, other = (model.replay_buffer.imagined.rows().tensors() for model in (whole, resumed))  # type: ignore[union-attr]
    assert_same(one, other)


@pytest.mark.parametrize("norm_obs", [True, False])
def test_a_normalised_run_can_be_resumed(tmp_path: Path, norm_obs: bool) -> None:
    model = on_line(env=VecNormalize(lines(), norm_obs=norm_obs)).learn(30)
    save_checkpoint(model, tmp_path / "checkpoint")
    again = load_checkpoint(Dyna, tmp_path / "checkpoint", VecNormalize(lines(), norm_obs=norm_obs))
    before, after = model.get_vec_normalize_env(), again.get_vec_normalize_env()
    assert before is not None
    assert after is not None
    assert (after.ret_rms.var, after.ret_rms.count) == (before.ret_rms.var, before.ret_rms.count)
    again.learn(20, reset_num_timesteps=False)
    assert again.num_timesteps == 50


def test_set_env_begins_a_new_episode_and_keeps_the_experience() -> None:
    model = on_line().learn(30)
    model.set_env(lines())
    model.learn(10, reset_num_timesteps=False)
    buffer = model.replay_buffer
    assert buffer is not None
    assert buffer.replay.num_transitions == 40
    steps = buffer.replay.transitions()
    np.testing.assert_allclose(steps.observation[:, 1] - steps.observation[:, 0], steps.action[:, 1], atol=1e-5)  # type: ignore[index, operator]


def test_a_given_model_is_the_one_that_learns() -> None:
    env = lines()
    given = Ensemble(env.observation_space, env.action_space, members=2, elites=1, hidden=[8], arrival_hidden=[8])
    model = small(env=env, algorithm="SAC", world_model=given, fit_kwargs={"max_epochs": 1}).learn(20)
    assert model.world_model is given
    assert model.world is not None
    assert model.world.model is given
