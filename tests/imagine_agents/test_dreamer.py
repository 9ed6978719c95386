"""Dreamer as an SB3 algorithm: acting, collecting, learning, saving and resuming."""

from __future__ import annotations

import copy
import math
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium as gym
import numpy as np
import pytest
import torch
from dreamer_parts import TINY, TINY_V1, Choices, Diary, assert_is_the_log, diaries, stream, tiny
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize, VecTransposeImage
from torch import Tensor

from imagine_agents import Dreamer
from imagine_agents.common.checkpoint import AtomicCheckpointCallback, checkpoints, load_checkpoint, save_checkpoint
from imagine_agents.dreamer import DreamerPolicy
from imagine_agents.dreamer.behaviour import critic_loss, imagine, replay_value_loss
from imagine_envs.experience import Batch
from imagine_envs.spaces import to_tensor
from imagine_envs.world_models.rssm.heads import TwoHotHead


def tensors(model: Dreamer) -> dict[str, Tensor]:
    """Parameters, buffers and the optimizer's state, copied."""
    flat = {f"policy.{name}": value.clone() for name, value in model.policy.state_dict().items()}
    for number, state in model.policy.optimizer.state_dict()["state"].items():
        flat.update({f"optimizer.{number}.{name}": torch.as_tensor(value).clone() for name, value in state.items()})
    return flat


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different


def differ(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    """The parts of the policy in which two models differ."""
    return {name.split(".")[1] for name in one if name.startswith("policy") and not torch.equal(one[name], other[name])}


class Recorder(BaseCallback):
    """What the agent saw, did and remembered in each real step, before that is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.observations: list[Any] = []
        self.actions: list[np.ndarray] = []
        self.dones: list[np.ndarray] = []
        self.remembered: list[tuple[np.ndarray, ...]] = []
        self.updates: list[int] = []

    def _on_step(self) -> bool:
        model: Any = self.model
        self.observations.append(copy.deepcopy(model._last_obs))
        self.actions.append(np.copy(self.locals["actions"]))
        self.dones.append(np.copy(self.locals["dones"]))
        self.remembered.append(tuple(np.copy(part) for part in model._remembered))
        self.updates.append(model._n_updates)
        return True


class StopAt(BaseCallback):
    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def _on_step(self) -> bool:
        return self.n_calls < self.steps


def without_noise(policy: DreamerPolicy) -> None:
    """Every distribution draws the same noise, always."""
    for part, value in ((policy.world.latent, 0.5), (policy.actions, 0.3)):
        noise = part.noise
        part.noise = lambda *args, noise=noise, value=value: torch.full_like(noise(*args), value)  # type: ignore


def without_updates(model: Dreamer) -> list[Batch]:
    """Updates are counted, not made; their batches."""
    batches: list[Batch] = []
    model._update = lambda batch: batches.append(batch) or {"loss": torch.zeros(())}  # type: ignore
    return batches


# --- acting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["v3", "v1"])
def test_the_acting_policy_shares_the_trained_world(preset: str) -> None:
    model = tiny(preset=preset, learning_rate=1e-2).learn(12)
    policy, world = model.policy, model.policy.world
    learned = [p for group in policy.optimizer.param_groups for p in group["params"]]
    for part in (world, policy.actor, policy.critic):
        for p in part.parameters():
            assert any(p is q for q in learned)
    observation = np.array([0.1, -0.2, 0.05, 0.3], np.float32)
    _, before = model.predict(observation, deterministic=True)
    model.train(3)
    assert model.policy is policy
    assert policy.world is world
    _, after = model.predict(observation, deterministic=True)
    assert not np.array_equal(before[0], after[0])  # the deterministic state: the world's own work


def predictor(env: Any = "CartPole-v1", **kwargs: Any) -> Dreamer:
    """A model that says different things of different states."""
    model = tiny(env, **kwargs)
    torch.manual_seed(1)
    with torch.no_grad():
        model.policy.actor.out.weight.normal_()
        for p in model.policy.world.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model


def walk(model: Dreamer, observations: np.ndarray, state: Any = None) -> Any:
    for observation in observations:
        _, state = model.predict(observation, state, deterministic=True)
    return state


def test_without_a_state_an_episode_begins() -> None:
    model = predictor()
    seen = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    state = walk(model, seen[:4])
    assert [part.shape for part in state] == [(3, 16), (3, 16), (3, 2)]
    fresh = model.predict(seen[4], None, deterministic=True)
    again = model.predict(seen[4], state, np.ones(3, dtype=bool), deterministic=True)
    going_on = model.predict(seen[4], state, deterministic=True)
    for one, other in zip((fresh[0], *fresh[1]), (again[0], *again[1]), strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(fresh[1][0], going_on[1][0])


def test_rows_that_begin_are_reset_and_no_others() -> None:
    model = predictor()
    seen = np.random.default_rng(0).normal(size=(4, 3, 4)).astype(np.float32)
    state = walk(model, seen[:3])
    kept = [np.copy(part) for part in state]
    action, mixed = model.predict(seen[3], state, np.array([False, True, False]), deterministic=True)
    assert all(np.array_equal(part, copied) for part, copied in zip(state, kept, strict=True))  # not in place
    going_on = model.predict(seen[3], state, np.zeros(3, dtype=bool), deterministic=True)
    fresh = model.predict(seen[3], None, deterministic=True)
    for row, expected in ((0, going_on), (1, fresh), (2, going_on)):
        assert action[row] == expected[0][row]
        for part, other in zip(mixed, expected[1], strict=True):
            np.testing.assert_allclose(part[row], other[row], atol=1e-6)


def test_single_and_batched_observations() -> None:
    model = predictor()
    seen = np.random.default_rng(0).normal(size=(4, 2, 4)).astype(np.float32)
    state = one_state = None
    for observation in seen:
        actions, state = model.predict(observation, state, deterministic=True)
        action, one_state = model.predict(observation[1], one_state, deterministic=True)
        assert actions.shape == (2,)
        assert np.shape(action) == ()
        assert action == actions[1]
        for part, one in zip(state, one_state, strict=True):
            np.testing.assert_allclose(one[0], part[1], atol=1e-6)


def test_deterministic_predictions_are_the_same_twice_others_follow_torch() -> None:
    model = predictor("Pendulum-v1")
    seen = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)
    runs = []
    for deterministic, seed in ((True, 0), (True, 1), (False, 0), (False, 0), (False, 1)):
        torch.manual_seed(seed)
        state, actions = None, []
        for observation in seen:
            action, state = model.predict(observation, state, deterministic=deterministic)
            actions.append(action)
        runs.append(np.stack(actions))
    assert np.array_equal(runs[0], runs[1])
    assert np.array_equal(runs[2], runs[3])
    assert not np.array_equal(runs[3], runs[4])
    assert not np.array_equal(runs[0], runs[2])


def test_predicting_does_not_disturb_learning() -> None:
    """As an evaluation does, whose draws are torch's own."""
    plain, disturbed = tiny(), tiny()
    plain.learn(20)
    disturbed.learn(20, callback=lambda *_: disturbed.predict(np.zeros((3, 4), np.float32))[0].size > 0)
    assert_same(tensors(plain), tensors(disturbed))
    assert torch.equal(stream(plain.replay_buffer, 0).action, stream(disturbed.replay_buffer, 0).action)


def test_the_remembered_action_matters() -> None:
    """An observation is filtered with the action that led to it."""
    model = predictor()
    seen = np.random.default_rng(0).normal(size=(2, 1, 4)).astype(np.float32)
    _, (deter, stoch, action) = model.predict(seen[0], deterministic=True)
    _, state = model.predict(seen[1], (deter, stoch, action), deterministic=True)
    _, other = model.predict(seen[1], (deter, stoch, 1 - action), deterministic=True)
    assert not np.array_equal(state[0], other[0])


@pytest.mark.parametrize("preset", ["v3", "v1"])
@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=-1),
        spaces.Discrete(2, start=5),
        spaces.Box(np.array([-3, 0.1], np.float32), np.array([1, 7.7], np.float32)),
        spaces.Box(-0.3, 0.1, (2, 3), np.float64),
        spaces.Box(-1, 6, (2,), np.int64),
    ],
    ids=["discrete from -1", "discrete from 5", "odd bounds", "matrix of doubles", "integers"],
)
def test_actions_are_the_spaces_own(preset: str, space: spaces.Space[Any]) -> None:
    model = tiny(diaries(2, action_space=space), preset=preset)  # a Diary asserts that its space contains the action
    model.policy.actor.out.weight.data *= 1000  # far beyond any bounds
    model.learn(26)
    seen = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32) * 100
    for deterministic in (True, False):
        actions, _ = model.predict(seen, deterministic=deterministic)
        assert actions.dtype == space.dtype
        assert actions.shape == (20, *space.shape)
        assert all(space.contains(action if space.shape else space.dtype.type(action)) for action in actions)
        action, _ = model.predict(seen[0], deterministic=deterministic)
        assert np.shape(action) == space.shape
    for i, diary in enumerate(model.env.envs):
        assert_is_the_log(stream(model.replay_buffer, i), diary.unwrapped.log, diary.observation_space)


def test_every_integer_of_a_box_can_be_chosen() -> None:
    policy = tiny(Diary(action_space=spaces.Box(-3, 46, (1,), np.int64))).policy
    numbers = np.arange(-3, 47)[:, None]
    encoded = policy.world.actions(to_tensor(numbers, policy.action_space, "cpu"))
    assert np.array_equal(policy.to_env(encoded), numbers)


# --- collecting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "count"), [("v3", 1), ("v3", 3), ("v1", 3)])
def test_filtering_while_learning_is_that_of_predict(preset: str, count: int) -> None:
    """The same stream of observations and resets leads to the same states and actions, in every step."""
    recorder = Recorder()
    model = predictor(
        diaries(count), preset=preset, learning_starts=0, train_ratio=1e-9, exploration_noise=0.0, batch_length=2
    )
    without_noise(model.policy)
    model.learn(25 * count, callback=recorder)
    states: dict[str, list[Any]] = {"right": [], "early": [], "late": []}
    begins = [observation[:, 2] == 0 for observation in recorder.observations]  # as the environments say themselves
    for name, shift in (("right", 0), ("early", 1), ("late", -1)):
        state: Any = None
        for t, observation in enumerate(recorder.observations):
            start = begins[(t + shift) % len(begins)]
            action, state = model.predict(observation, state, start, deterministic=False)
            if name == "right":
                assert np.array_equal(action, recorder.actions[t])
                assert all(np.array_equal(a, b) for a, b in zip(state, recorder.remembered[t], strict=True))
            states[name].append(state[0])
    for name in ("early", "late"):
        assert not np.array_equal(states[name][-1], states["right"][-1])
    assert sum(start.sum() for start in begins) > 5 * count
    assert len({tuple(action) for action in recorder.actions}) > 1


@pytest.mark.parametrize("settings", [{}, {"preset": "v1", "exploration_noise": 0.5}])
@pytest.mark.parametrize(
    "action_space",
    [spaces.Discrete(3, start=2), spaces.Box(-2, 1, (2,), np.float32), spaces.Box(-1, 6, (2,), np.int64)],
)
def test_what_is_remembered_is_the_action_that_was_taken(settings: Any, action_space: Any) -> None:
    recorder = Recorder()
    model = tiny(diaries(2, action_space=action_space), learning_starts=20, train_ratio=1e-9, **settings)
    model.learn(60, callback=recorder)
    for taken, remembered in zip(recorder.actions, recorder.remembered, strict=True):
        encoded = model.policy.world.actions(to_tensor(taken, action_space, "cpu"))
        np.testing.assert_allclose(remembered[-1], encoded.numpy(), atol=1e-6)
    for i, diary in enumerate(model.env.envs):
        assert_is_the_log(stream(model.replay_buffer, i), diary.unwrapped.log, diary.observation_space)


def test_the_first_actions_are_random() -> None:
    recorder = Recorder()
    model = tiny("Pendulum-v1", learning_starts=15, train_ratio=1e-9)
    space = copy.deepcopy(model.action_space)
    model.learn(20, callback=recorder)
    expected = [space.sample() for _ in range(20)]
    np.testing.assert_allclose(np.concatenate(recorder.actions[:15]), np.stack(expected[:15]), atol=1e-6)
    assert not np.allclose(np.concatenate(recorder.actions[15:]), np.stack(expected[15:]))


@pytest.mark.parametrize("action_space", [spaces.Discrete(3, start=2), spaces.Box(-2, 1, (2,), np.float32)])
def test_random_actions_are_repeated_within_their_episodes(action_space: Any) -> None:
    recorder, lengths = Recorder(), (9, 12)
    env = DummyVecEnv([lambda i=i: Diary(i, action_space, lengths=lengths) for i in range(2)])
    model = tiny(env, learning_starts=600, random_repeat=0.75, train_ratio=1e-9)
    model.learn(602, callback=recorder)
    taken = np.stack([a.reshape(2, -1) for a in recorder.actions[:300]])
    same = (taken[1:] == taken[:-1]).all(-1)
    begins = np.stack(recorder.dones[:299])
    others = 1 / 3 if isinstance(action_space, spaces.Discrete) else 0.0  # chance that another one is the same
    assert same[~begins].mean() == pytest.approx(0.75 + 0.25 * others, abs=0.05)
    assert same[begins].mean() == pytest.approx(others, abs=0.15)
    assert (same[:, 0] != same[:, 1]).any()
    for i, diary in enumerate(model.env.envs):
        assert_is_the_log(stream(model.replay_buffer, i), diary.log, diary.observation_space)


def test_random_actions_are_not_the_numbers_that_the_environment_draws() -> None:
    """SB3 seeds the action space as the environment: each random action would follow from what the latter drew."""
    model = tiny(Choices((2, 0, 1)), learning_starts=59, seed=2).learn(60)
    records = stream(model.replay_buffer, 0)
    arrived = ~records.first[0]
    cues = records.observation[0, arrived].argmax(-1).tolist()
    assert len(set(zip(cues, records.action[0, arrived].tolist(), strict=True))) == 9


@pytest.mark.parametrize("preset", ["v3", "v1"])
def test_exploration_noise_is_added_after_the_random_steps_where_the_preset_has_it(preset: str) -> None:
    def actions(**settings: Any) -> Any:
        recorder = Recorder()
        tiny("Pendulum-v1", preset=preset, train_ratio=1e-9, **settings).learn(30, callback=recorder)
        return np.concatenate(recorder.actions)

    own, without, with_it = actions(), actions(exploration_noise=0.0), actions(exploration_noise=0.5)
    assert np.array_equal(own, without) == (preset == "v3")
    assert np.array_equal(without[:10], with_it[:10])
    assert not np.isclose(without[10:], with_it[10:]).all(-1).any() or preset == "v1"
    assert not np.allclose(without[10:], with_it[10:])


@pytest.mark.parametrize("discrete", [True, False])
def test_exploration_noise(discrete: bool) -> None:
    model = tiny("CartPole-v1" if discrete else "Pendulum-v1", exploration_noise=0.3)
    if discrete:
        action = torch.eye(2)[torch.zeros(4000, dtype=torch.int64)]
        explored = model._explore(action)
        assert torch.equal(explored.sum(-1), torch.ones(4000))
        assert float(explored[:, 1].mean()) == pytest.approx(0.15, abs=0.03)  # half of the random ones are the same
    else:
        explored = model._explore(torch.full((4000, 1), 0.5))
        assert float(explored.abs().max()) == 1.0
        inside = explored[explored < 1]
        assert float((explored == 1).float().mean()) == pytest.approx(0.048, abs=0.015)  # P(0.5 + 0.3 ε > 1)
        assert float(inside.median()) == pytest.approx(0.48, abs=0.03)
        assert not torch.equal(explored[0], explored[1])


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize(("ratio", "per_step"), [(24, 0.75), (80, 2.5), (4, 0.125)])
def test_the_train_ratio(count: int, ratio: float, per_step: float) -> None:
    """Replayed records per real step: ratio / (4 windows · 8 records) updates, from ``learning_starts`` on."""
    env = DummyVecEnv([lambda: Choices((1, 1), chain=True)] * count)
    model, recorder = tiny(env, learning_starts=40, train_ratio=ratio), Recorder()
    batches = without_updates(model)
    model.learn(100, callback=recorder)
    expected = [math.floor(max(count * t - 40, 0) * per_step) for t in range(100 // count)]
    assert recorder.updates == expected  # before each step
    assert model._n_updates == len(batches) == math.floor(60 * per_step)
    assert {batch.shape for batch in batches} <= {(4, 8)}
    model.learn(20, reset_num_timesteps=False)
    assert model._n_updates == math.floor(80 * per_step)  # what was left over counts


def test_updates_of_ones_own_are_not_counted_against_the_ratio() -> None:
    model = tiny(train_ratio=32).learn(12)
    batches = without_updates(model)
    model.train(gradient_steps=5)
    assert [batch.shape for batch in batches] == [(4, 8)] * 5
    model.train(gradient_steps=1, batch_size=3)
    assert batches[-1].shape == (3, 8)
    before = model._n_updates
    model.learn(10, reset_num_timesteps=False)
    assert model._n_updates - before == 10


def test_there_is_no_update_before_there_is_a_sequence() -> None:
    recorder = Recorder()
    model = tiny(diaries(4), learning_starts=4, train_ratio=32, batch_length=8)
    without_updates(model)
    model.learn(60, callback=recorder)
    first_update = recorder.updates.index(next(n for n in recorder.updates if n))
    # Environment 0: 3 steps, 5 steps: its 8th record is that of its 6th step (2 of them are resets)
    assert first_update == 6


def test_a_step_that_a_callback_stops_at_is_not_lost() -> None:
    env = diaries(2)
    model = tiny(env, train_ratio=1e-9, learning_starts=5)
    for steps in (9, 1, 4, 3):  # the ends of episodes among them
        model.learn(1000, callback=StopAt(steps), reset_num_timesteps=False)
    model.learn(20, callback=StopTrainingOnMaxEpisodes(1), reset_num_timesteps=False)
    model.learn(10, reset_num_timesteps=False)
    assert model.num_timesteps == model.replay_buffer.replay.num_steps
    for i, diary in enumerate(env.envs):
        assert_is_the_log(stream(model.replay_buffer, i), diary.unwrapped.log, diary.observation_space)


def test_learning_again_begins_anew_with_everything() -> None:
    env = diaries(1, lengths=(7, 9))
    recorder = Recorder()
    model = predictor(env, learning_starts=0, train_ratio=1e-9)
    without_noise(model.policy)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "nothing was learned")
        model.learn(5)
    model.learn(5, callback=recorder)
    assert_is_the_log(stream(model.replay_buffer, 0), env.envs[0].unwrapped.log, env.observation_space)
    _, fresh = model.predict(recorder.observations[0])
    assert np.array_equal(recorder.remembered[0][0], fresh[0])
    other = diaries(1)
    model.set_env(other)
    model.learn(5, callback=(another := Recorder()), reset_num_timesteps=False)
    assert another.observations[0][0, 2] == 0
    _, fresh = model.predict(another.observations[0])
    assert np.array_equal(another.remembered[0][0], fresh[0])
    assert stream(model.replay_buffer, 0).first[0].nonzero().flatten().tolist() == [0, 6, 12, 16]


def test_a_replay_that_is_loaded_while_learning_is_followed_by_a_reset(tmp_path: Path) -> None:
    env = diaries(1, lengths=(50,))
    model = tiny(env, train_ratio=1e-9).learn(15)
    model.save_replay_buffer(tmp_path / "replay")
    model.learn(5, reset_num_timesteps=False)
    model.load_replay_buffer(tmp_path / "replay")
    model.learn(5, reset_num_timesteps=False)
    records = stream(model.replay_buffer, 0)
    assert records.observation[0, :, 2].tolist() == [*range(16), *range(20, 26)]
    assert records.first[0].nonzero().flatten().tolist() == [0, 16]


# --- learning ---------------------------------------------------------------------------------------------------------


def test_the_same_seed_learns_the_same() -> None:
    one, same, other = (tensors(tiny(diaries(2), seed=seed).learn(30)) for seed in (3, 3, 4))
    assert_same(one, same)
    assert differ(one, other) >= {"world", "actor", "critic"}
    assert len({name.split(".")[2] for name in one if name.startswith("optimizer")}) == 2


def test_a_seed_can_be_set_later() -> None:
    model = tiny().learn(12)
    before, results = copy.deepcopy(model.get_parameters()), []
    for seed in (5, 5, 6):
        model.set_parameters(copy.deepcopy(before))
        model.set_random_seed(seed)
        model.train(1)
        results.append(tensors(model))
    assert_same(results[0], results[1])
    assert differ(results[0], results[2]) >= {"world", "actor", "critic"}


@pytest.mark.parametrize("preset", ["v3", "v1"])
def test_rates_follow_the_schedule_and_the_presets_proportions(preset: str) -> None:
    model = tiny(preset=preset, learning_rate=lambda left: 1e-3 * left, train_ratio=32)
    rates: list[list[float]] = []

    def update(batch: Batch) -> dict[str, Tensor]:
        rates.append([group["lr"] for group in model.policy.optimizer.param_groups])
        return {"loss": torch.zeros(())}

    model._update = update  # type: ignore
    model.learn(30)
    assert len(rates) == 20
    scale = 8e-5 / 6e-4 if preset == "v1" else 1.0
    for step, (world, actor, critic) in zip(range(11, 31), rates, strict=True):
        left = 1e-3 * (1 - step / 30)
        assert (world, actor, critic) == pytest.approx((left, scale * left, scale * left), abs=1e-12)
    assert tiny(preset=preset).learning_rate == {"v3": 4e-5, "v1": 6e-4}[preset]


def handmade(action_space: Any) -> Batch:
    """Two windows of six records of three numbers, with resets, an end and a cut."""
    numbers = torch.arange(36.0).reshape(2, 6, 3)
    first = torch.tensor([[1, 0, 0, 0, 1, 0], [0, 0, 1, 0, 0, 0]], dtype=torch.bool)
    terminated = torch.tensor([[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]], dtype=torch.bool)
    truncated = torch.tensor([[0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]], dtype=torch.bool)
    action = torch.tensor([[0, 1, 2, 0, 0, 1], [2, 2, 0, 1, 1, 0]])
    if isinstance(action_space, spaces.Box):
        action = torch.sin(torch.arange(24.0)).reshape(2, 6, 2)
    reward = (2 * torch.cos(numbers[..., 0])).masked_fill(first, 0.0)
    return Batch(torch.sin(numbers), action, reward, terminated, truncated, first, torch.zeros(2, 6, dtype=torch.int64))


class Nowhere(gym.Env):
    """Spaces alone."""

    def __init__(self, action_space: Any, observation_space: Any = None) -> None:
        self.action_space = action_space
        self.observation_space = observation_space or spaces.Box(-1, 1, (3,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 0.0, False, False, {}


BOX, DISCRETE = spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(3)


def formula(preset: str, action_space: Any, **kwargs: Any) -> Dreamer:
    """A model whose weights come from a formula, so that nothing depends on how weights are drawn."""
    architecture = {**(TINY_V1 if preset == "v1" else TINY), "free_nats": 0.1}  # so that every KL counts
    settings = {"batch_length": 6, "gamma": 0.9, "gae_lambda": 0.8, "policy_kwargs": {"architecture": architecture}}
    model = tiny(Nowhere(action_space), preset=preset, **settings, **kwargs)
    policy = model.policy
    with torch.no_grad():
        for p in policy.parameters():
            if p.dim() > 1:
                wild = torch.sin(12.9898 * torch.arange(1, p.numel() + 1, dtype=torch.float64)) * 43758.5453
                p.copy_(((wild - wild.floor()) * 2 - 1).reshape(p.shape) * math.sqrt(6 / p.shape[-1]))
        if preset == "v3":  # two-hot heads whose numbers are small
            for head in (policy.world.reward, policy.critic, policy.slow_critic):
                head.out.bias.copy_(-0.05 * (torch.arange(255.0) - 130).square())
            policy.slow_critic.out.bias.copy_(policy.slow_critic.out.bias.roll(1))
            for head in (policy.world.reward, policy.critic, policy.slow_critic):  # by bins, from the least on
                for p in (head.out.weight, head.out.bias):
                    p[head.columns] = p.clone()
    return model


def norms(model: Dreamer) -> dict[str, float]:
    parts = {"world": model.policy.world, "actor": model.policy.actor, "critic": model.policy.critic}
    return {
        name: math.sqrt(sum(float(p.grad.double().square().sum()) for p in part.parameters() if p.grad is not None))
        for name, part in parts.items()
    }


GOLDEN: dict[tuple[str, str], dict[str, float]] = {
    ("v3", "discrete"): {
        "world_model/kl": 1.1049579,
        "world_model/dynamics": 1.1049579,
        "world_model/representation": 0.1104958,
        "world_model/observation": 3.5623891,
        "world_model/reward": 4.6945782,
        "world_model/termination": 0.69221199,
        "train/replay_value_loss": 4.4835043,
        "train/actor_loss": 0.21845485,
        "train/critic_loss": 2.1101155,
        "train/entropy": 0.84194636,
        "imagine/return": 1.5662515,
        "imagine/reward": 0.86128706,
        "imagine/return_scale": 1,
        "gradient of the world": 33.448661,
        "gradient of the actor": 0.13937638,
        "gradient of the critic": 2.4881767,
    },
    ("v3", "box"): {
        "world_model/kl": 1.16825,
        "world_model/dynamics": 1.16825,
        "world_model/representation": 0.116825,
        "world_model/observation": 3.3198986,
        "world_model/reward": 4.8722515,
        "world_model/termination": 0.73403817,
        "train/replay_value_loss": 4.5837636,
        "train/actor_loss": 0.69514042,
        "train/critic_loss": 2.1292133,
        "train/entropy": 2.659636,
        "imagine/return": 1.600198,
        "imagine/reward": 0.88098294,
        "imagine/return_scale": 1,
        "gradient of the world": 31.955049,
        "gradient of the actor": 0.1576035,
        "gradient of the critic": 2.3850425,
    },
    ("v1", "discrete"): {
        "world_model/kl": 14.745296,
        "world_model/dynamics": 14.745296,
        "world_model/representation": 14.745296,
        "world_model/observation": 1.7010518,
        "world_model/reward": 2.2601733,
        "world_model/termination": 0.78067553,
        "train/actor_loss": 0.79714018,
        "train/critic_loss": 1.3032984,
        "imagine/return": -1.3358473,
        "imagine/reward": -0.57600731,
        "gradient of the world": 97.210523,
        "gradient of the actor": 0.79709957,
        "gradient of the critic": 2.2966799,
    },
    ("v1", "box"): {
        "world_model/kl": 21.212954,
        "world_model/dynamics": 21.212954,
        "world_model/representation": 21.212954,
        "world_model/observation": 1.7573978,
        "world_model/reward": 1.4872462,
        "world_model/termination": 0.67090446,
        "train/actor_loss": 0.8960976,
        "train/critic_loss": 1.0792403,
        "imagine/return": -1.8021312,
        "imagine/reward": -0.87803257,
        "gradient of the world": 132.52054,
        "gradient of the actor": 1.4263231,
        "gradient of the critic": 2.2826578,
    },
}


@pytest.mark.parametrize(("preset", "kind"), [("v3", "discrete"), ("v3", "box"), ("v1", "discrete"), ("v1", "box")])
def test_golden_numbers_of_one_update(preset: str, kind: str) -> None:
    action_space = DISCRETE if kind == "discrete" else BOX
    model = formula(preset, action_space, max_grad_norm=1e9)
    values = {name: float(value) for name, value in model._update(handmade(action_space)).items()}
    values.update({f"gradient of the {name}": norm for name, norm in norms(model).items()})
    expected = GOLDEN[preset, kind]
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize(("preset", "kind"), [("v3", "discrete"), ("v3", "box"), ("v1", "discrete"), ("v1", "box")])
def test_lower_precision_reaches_the_same_parameters(preset: str, kind: str) -> None:
    """As on a GPU. Some versions of torch lose the gradients of weights that were used without gradients before."""
    action_space = DISCRETE if kind == "discrete" else BOX
    sizes = []
    for lower in (False, True):
        model = formula(preset, action_space)
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            total, of_actor, _ = model._losses(handmade(action_space))
        actor = list(model.policy.actor.parameters())
        of_actor.backward(inputs=actor)
        total.backward(inputs=[p for n, p in model.policy.named_parameters() if n.startswith(("world", "critic"))])
        sizes.append({n: float(p.grad.norm()) for n, p in model.policy.named_parameters() if p.grad is not None})
    assert sizes[0].keys() == sizes[1].keys()
    for name, size in sizes[0].items():
        assert sizes[1][name] == pytest.approx(size, rel=0.5, abs=1e-6), name


@pytest.mark.parametrize("preset", ["v3", "v1"])
def test_what_returns_are_made_of_is_not_rounded_where_precision_is_lower(preset: str) -> None:
    model = formula(preset, DISCRETE)
    policy = model.policy
    with torch.autocast("cpu", torch.bfloat16):
        start = {name: tensor.expand(5, -1) for name, tensor in policy.world.initial(1).items()}
        dreamed = imagine(policy, start, torch.zeros(5, dtype=torch.bool), 3, 0.9, 0.95, model._learning)
    assert dreamed.reward.dtype == dreamed.value.dtype == dreamed.returns.dtype == torch.float32
    head = policy.critic
    if isinstance(head, TwoHotHead):
        parameters = torch.full((1, 255), -50.0)
        parameters[0, head.columns[200]], parameters[0, head.columns[201]] = 3.0, 2.5
        exact = head.mean(parameters)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(head.mean(parameters.bfloat16()), exact)
        assert exact != exact.bfloat16()
    else:
        assert dreamed.features.dtype == torch.float32
        assert not torch.equal(dreamed.features, dreamed.features.bfloat16().float())


@pytest.mark.parametrize("preset", ["v3", "v1"])
def test_only_the_last_records_are_dreamed_from(preset: str) -> None:
    whole, part = (formula(preset, DISCRETE, imag_last=last) for last in (None, 2))
    batch = handmade(DISCRETE)
    seen: list[Any] = []

    def spied(policy: Any, starts: Any, ended: Any, *args: Any) -> Any:
        seen.append((starts, ended))
        return imagine(policy, starts, ended, *args)

    with mock.patch("imagine_agents.dreamer.dreamer.imagine", spied):
        metrics = [model._losses(batch)[2] for model in (whole, part)]
    (starts, ended), (fewer, fewer_ended) = seen
    for name, tensor in fewer.items():
        assert torch.equal(tensor, starts[name].unflatten(0, batch.shape)[:, -2:].flatten(0, 1))
    assert torch.equal(fewer_ended, ended.unflatten(0, batch.shape)[:, -2:].flatten())
    for name in ("observation", "reward", "termination", "kl"):  # the world learns from all of them
        assert metrics[0][f"world_model/{name}"] == metrics[1][f"world_model/{name}"]
    if preset == "v3":
        # One pair of records a window: what the first of it led to, and the imagined return from there.
        model, rng = part.policy, formula(preset, DISCRETE)._learning
        states = model.world.loss(batch, generator=rng).states
        last = batch.map(lambda tensor: tensor[:, -2:])
        imagined = imagine(model, fewer, fewer_ended, 3, 0.9, 0.8, rng)
        features = model.world.features(states)[:, -2:]
        expected = replay_value_loss(model, features, last, imagined, 0.9, 0.8)
        torch.testing.assert_close(metrics[1]["train/replay_value_loss"], expected.detach())


@pytest.mark.parametrize(("preset", "kind"), [("v3", "discrete"), ("v3", "box"), ("v1", "discrete"), ("v1", "box")])
def test_one_update_gives_each_part_its_own_gradient(preset: str, kind: str) -> None:
    """World: its loss and that of values on real sequences. Critic: its losses. No more."""
    action_space = DISCRETE if kind == "discrete" else BOX
    model = formula(preset, action_space, max_grad_norm=1e9)
    policy, batch = model.policy, handmade(action_space)
    policy.optimizer.step = policy.follow = lambda: None  # type: ignore
    generator = torch.Generator()
    generator.set_state(model._learning.get_state())
    model._update(batch)
    found = {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}
    assert not any(name.startswith("slow_critic") for name in found)

    loss = policy.world.loss(batch, generator=generator)
    starts = {name: state.detach().flatten(0, 1) for name, state in loss.states.items()}
    imagined = imagine(policy, starts, batch.terminated.flatten(), 3, 0.9, 0.8, generator)
    of_critic = critic_loss(policy, imagined)
    if preset == "v3":
        features = policy.world.features(loss.states)
        of_critic = of_critic + 0.3 * replay_value_loss(policy, features, batch, imagined, 0.9, 0.8)
    parts = [(n, p) for n, p in policy.named_parameters() if n.startswith(("world", "critic"))]
    expected = torch.autograd.grad(loss.total + of_critic, [p for _, p in parts])
    assert {n for n, _ in parts} == {n for n in found if not n.startswith("actor")}
    for (name, _), gradient in zip(parts, expected, strict=True):
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    assert max(float(found[name].abs().max()) for name in found if name.startswith("actor")) > 0


def test_gradients_of_v1_are_clipped_part_by_part() -> None:
    model = formula("v1", BOX, max_grad_norm=1e-5)
    model._update(handmade(BOX))
    assert norms(model) == pytest.approx({"world": 1e-5, "actor": 1e-5, "critic": 1e-5}, rel=1e-2)


@pytest.mark.parametrize("preset", ["v3", "v1"])
def test_an_update_moves_everything_and_the_slow_critic_a_little(preset: str) -> None:
    model = formula(preset, DISCRETE, learning_rate=1e-2)
    before = tensors(model)
    model._update(handmade(DISCRETE))
    after = tensors(model)
    parts = {"world", "actor", "critic"} | ({"slow_critic", "return_range"} if preset == "v3" else set())
    assert differ({n: before[n] for n in before if n.startswith("policy")}, after) == parts
    if preset == "v3":
        for name in before:
            if name.startswith("policy.slow_critic"):
                fast = after[name.replace("slow_critic", "critic")]
                torch.testing.assert_close(after[name], before[name] + 0.02 * (fast - before[name]))


def test_another_optimizer(tmp_path: Path) -> None:
    architecture = tiny().policy_kwargs["architecture"]
    model = tiny(policy_kwargs={"architecture": architecture, "optimizer_kwargs": {"warmup": 7}})
    assert [group["warmup"] for group in model.policy.optimizer.param_groups] == [7, 7, 7]
    kwargs = {"architecture": architecture, "optimizer_class": torch.optim.SGD, "optimizer_kwargs": {"momentum": 0.5}}
    model = tiny(policy_kwargs=kwargs).learn(12)
    model.save(tmp_path / "model")
    for each in (model, Dreamer.load(tmp_path / "model", device="cpu")):
        assert type(each.policy.optimizer) is torch.optim.SGD
        assert [group["momentum"] for group in each.policy.optimizer.param_groups] == [0.5, 0.5, 0.5]
        assert len(each.policy.optimizer.state) > 10
    v1 = tiny(preset="v1").policy.optimizer
    assert (type(v1), v1.param_groups[0]["eps"]) == (torch.optim.Adam, 1e-7)


def test_what_is_logged() -> None:
    model = tiny(train_ratio=32).learn(15)
    logged = model.logger.name_to_value
    assert {
        "train/learning_rate",
        "train/n_updates",
        "train/actor_loss",
        "train/critic_loss",
        "train/replay_value_loss",
        "train/entropy",
        "world_model/kl",
        "world_model/dynamics",
        "world_model/representation",
        "world_model/observation",
        "world_model/reward",
        "world_model/termination",
        "imagine/return",
        "imagine/reward",
        "imagine/return_scale",
    } <= set(logged)
    assert logged["train/n_updates"] == model._n_updates == 5
    assert model.num_timesteps == 15  # imagined steps do not count
    assert logged["train/entropy"] == pytest.approx(math.log(2), abs=1e-3)  # nothing was learned yet


def solver(env: gym.Env, preset: str, **kwargs: Any) -> Dreamer:
    architecture = {"deter": 32, "hidden": 16, "stoch": 4, "units": 32, "depth": 2}
    architecture.update({"classes": 4, "blocks": 2} if preset == "v3" else {})
    settings = {"learning_starts": 200, "batch_size": 8, "policy_kwargs": {"architecture": architecture}}
    return tiny(env, preset=preset, **settings, **kwargs)


def test_v3_solves_a_chain() -> None:
    """The right action is another one in each state, and only the last one pays; the first state offers a way out."""
    env = Choices((1, 0, 1), chain=True, escape=0.3)
    model = solver(env, "v3", learning_rate=2e-2, ent_coef=0.01, train_ratio=512).learn(262)
    assert model._n_updates == 496
    rewards, lengths = evaluate_policy(model, model.get_env(), 5, return_episode_rewards=True)
    assert (rewards, lengths) == ([1.0] * 5, [3] * 5)


def test_v1_solves_a_riddle() -> None:
    """Every cue has another right action: what is seen, what is done and what it pays must be put together."""
    model = solver(Choices((2, 0, 1)), "v1", learning_rate=3e-3, train_ratio=256, horizon=1).learn(270)
    assert model._n_updates == 280
    right, _ = model.predict(np.eye(3, dtype=np.float32), deterministic=True)
    assert right.tolist() == [2, 0, 1]


def test_the_first_batch_says_what_the_units_are(tmp_path: Path) -> None:
    model = tiny(diaries(1, lengths=(50,)), learning_starts=20, train_ratio=1e-9).learn(40)
    batches = without_updates(model)
    standard = model.policy.world.encoder.standard
    everything = torch.as_tensor(np.stack([model.replay_buffer.replay.sequences(1).observation])).flatten(0, -2)
    assert torch.equal(standard("", everything), everything)
    model.train(2)
    first, second = (batch.observation.flatten(0, 1) for batch in batches)
    unit = torch.where(first.std(0, correction=0) > 0, 1.0, 0.0)
    torch.testing.assert_close(standard("", first).std(0, correction=0), unit)
    assert not torch.allclose(standard("", second).mean(0), torch.zeros(4), atol=1e-3)
    model.train(1)  # no later one does
    torch.testing.assert_close(standard("", first).std(0, correction=0), unit)
    model.save(tmp_path / "model")
    loaded = Dreamer.load(tmp_path / "model").policy.world
    for part in (loaded.encoder.standard, loaded.decoder.standard):
        assert torch.equal(part("", second), standard("", second))


# --- what can be seen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["v3", "v1"])
@pytest.mark.parametrize(
    ("kind", "policy"), [("dict", "MultiInputPolicy"), ("image", "CnnPolicy"), ("planes", "CnnPolicy")]
)
def test_dicts_and_images(preset: str, kind: str, policy: str) -> None:
    env = diaries(2, kind=kind)
    model = tiny(env, policy, preset=preset, batch_length=4).learn(16)
    assert model._n_updates > 0
    assert isinstance(model.env, VecTransposeImage) == (kind == "image")
    observation = env.reset()
    action, state = model.predict(observation, deterministic=True)
    assert action.shape == (2,)
    one = {key: part[1] for key, part in observation.items()} if kind == "dict" else observation[1]
    single, _ = model.predict(one, deterministic=True)
    assert single == action[1]
    if kind == "image":  # as the environment shows it, and with the channels first
        _, other = model.predict(observation.transpose(0, 3, 1, 2), deterministic=True)
        assert np.array_equal(state[0], other[0])
    brighter = copy.deepcopy(observation)
    image = brighter["image"] if kind == "dict" else brighter
    image += 100
    one, other = (
        model.policy.world.encoder(to_tensor(model.policy.obs_to_tensor(seen)[0], model.observation_space, "cpu"))
        for seen in (observation, brighter)
    )
    assert (one != other).any(-1).all()


@pytest.mark.parametrize("representation", ["reward", "contrastive"])
def test_other_representations(representation: str) -> None:
    model = tiny(representation=representation).learn(14)
    assert not hasattr(model.policy.world, "decoder")
    assert model._n_updates == 4


def test_normalised_environments() -> None:
    env = VecNormalize(diaries(2), gamma=0.99)
    model = tiny(env)
    batches = without_updates(model)
    raw: list[Batch] = []
    replay = model.replay_buffer.replay
    sample = replay.sample
    replay.sample = lambda *args: raw.append(sample(*args)) or raw[-1]  # type: ignore
    model.learn(40)
    assert len(batches) == 30
    seen, stored = batches[-1], raw[-1]
    np.testing.assert_allclose(seen.observation, env.normalize_obs(stored.observation.numpy()), rtol=1e-5)
    np.testing.assert_allclose(seen.reward, env.normalize_reward(stored.reward.numpy()), rtol=1e-5)
    assert not torch.equal(seen.observation, stored.observation)
    assert not torch.equal(seen.reward, stored.reward)
    inner = env.venv.envs
    for i, diary in enumerate(inner):
        records = stream(model.replay_buffer, i)
        np.testing.assert_allclose(
            records.observation[0].numpy(), np.stack(diary.unwrapped.log.observation[: records.shape[1]]), atol=1e-3
        )


def test_evaluation_by_sb3() -> None:
    model = tiny(Choices((1, 0, 1), chain=True)).learn(20)
    env = DummyVecEnv([lambda: Choices((1, 0, 1), chain=True)] * 2)
    rewards, lengths = evaluate_policy(model, env, n_eval_episodes=4, return_episode_rewards=True, warn=False)
    assert len(rewards) == len(lengths) == 4


# --- what is refused --------------------------------------------------------------------------------------------------

SEEN = spaces.Box(-1, 1, (3,), np.float32)


@pytest.mark.parametrize(
    ("error", "message", "build"),
    [
        (ValueError, "preset='v2' must be one of 'v1', 'v3'|preset='v2' must be one of 'v3', 'v1'", {"preset": "v2"}),
        (ValueError, "size='2m' must be one of '1m'", {"size": "2m"}),
        (ValueError, "size='1m' was given, but preset='v1' brings its own sizes", {"size": "1m", "preset": "v1"}),
        (ValueError, "representation='pixels' must be one of", {"representation": "pixels"}),
        (ValueError, "batch_length=1 must be a whole number of at least 2", {"batch_length": 1}),
        (ValueError, "batch_size=0 must be a whole number of at least 1", {"batch_size": 0}),
        (ValueError, "horizon=0 must be a whole number of at least 1", {"horizon": 0}),
        (ValueError, "horizon=3.0 must be a whole number of at least 1", {"horizon": 3.0}),
        (ValueError, "learning_starts=-1 must be a whole number of at least 0", {"learning_starts": -1}),
        (ValueError, "gamma=2.0 must lie between 0 and 1", {"gamma": 2.0}),
        (ValueError, "gae_lambda=1.5 must lie between 0 and 1", {"gae_lambda": 1.5}),
        (ValueError, "ent_coef='auto' must be a number", {"ent_coef": "auto"}),
        (ValueError, "exploration_noise=-1 must be a number, and not negative", {"exploration_noise": -1}),
        (ValueError, "max_grad_norm=-1 must be positive", {"max_grad_norm": -1, "preset": "v1"}),
        (ValueError, "sequence_length, which batch_length says", {"replay_buffer_kwargs": {"sequence_length": 6}}),
        (ValueError, "train_ratio=0 must be positive", {"train_ratio": 0}),
        (ValueError, "train_ratio=nan must be positive", {"train_ratio": math.nan}),
        (ValueError, "an RSSM has no 'depths'", {"policy_kwargs": {"architecture": {"depths": 3}}}),
        (ValueError, "buffer_size=7 leaves 7 records .* needs buffer_size=8", {"buffer_size": 7}),
        (AssertionError, "finite", {"env": Nowhere(spaces.Box(-np.inf, 1, (2,), np.float32), SEEN)}),
        (AssertionError, "only supports", {"env": Nowhere(spaces.MultiDiscrete([2, 2]), SEEN)}),
        (ValueError, "imag_last=1 must lie between 2 and batch_length=8", {"imag_last": 1}),
        (ValueError, "imag_last=9 must lie between 2 and batch_length=8", {"imag_last": 9}),
        (ValueError, "random_repeat=1.5 must lie between 0 and 1", {"random_repeat": 1.5}),
        (ValueError, "an RSSM needs observations of Box", {"env": Nowhere(DISCRETE, spaces.MultiBinary(3))}),
        (NotImplementedError, "not supported", {"env": Nowhere(DISCRETE, spaces.Tuple((SEEN, SEEN)))}),
        (ValueError, "images of 6 × 6 pixels", {"env": Nowhere(DISCRETE, spaces.Box(0, 255, (6, 6, 3), np.uint8))}),
        (ValueError, "Policy Mlp unknown", {"policy": "Mlp"}),
    ],
)
def test_one_clear_error(error: Any, message: str, build: dict[str, Any]) -> None:
    with pytest.raises(error, match=message):
        tiny(**build)


def test_what_learned_nothing_says_so() -> None:
    model = tiny(diaries(4, lengths=(50,)), batch_length=8)
    with pytest.warns(UserWarning, match="no environment has made batch_length=8 records yet, in 24 real steps of 4"):
        model.learn(24)
    assert model._n_updates == 0


def test_a_file_takes_the_settings_that_it_was_trained_with(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"preset": "v3", "size": None, "batch_length": 8, "gamma": 0.9, "learning_rate": 0.01}
    tiny(**settings).learn(12).save(tmp_path / "model")
    again = Dreamer.load(tmp_path / "model", gym.make("CartPole-v1"), **{**settings, "batch_length": 4, "horizon": 2})
    again.learn(12)
    assert (again.horizon, again.replay_buffer.sequence_length) == (2, 4)  # type: ignore[union-attr]
    for changed, message in (
        ({"size": "12m"}, "size='12m' was given; the networks of the file are of None"),
        ({"representation": "reward"}, "the networks of the file are of 'reconstruction'"),
        ({"gamma": 2}, "gamma=2 must lie between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Dreamer.load(tmp_path / "model", **changed)


def test_learning_must_start_within_the_budget() -> None:
    env = diaries(1)
    model = tiny(env, learning_starts=50)
    with pytest.raises(ValueError, match="learning_starts=50 is not reached within total_timesteps=50"):
        model.learn(50)
    assert not env.envs[0].unwrapped.log.first  # nothing was touched
    model.learn(51)
    with pytest.raises(ValueError, match="learning_starts=50 is not reached within total_timesteps=20"):
        model.learn(20)
    model.learn(5, reset_num_timesteps=False)
    assert model.num_timesteps == 56
    assert_is_the_log(stream(model.replay_buffer, 0), env.envs[0].unwrapped.log, env.observation_space)


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    model = tiny()
    model.policy.world.reward.out.bias.data[3] = math.nan
    with pytest.raises(
        FloatingPointError, match=r"world_model/reward is nan in update 1 after 11 real steps; no check"
    ):
        model.learn(20)


def test_the_first_loss_that_is_not_finite_is_the_one_that_is_named() -> None:
    model = tiny().learn(12)  # two updates
    losses = iter([{"a": 1.0, "b": 2.0}, {"a": 1.0, "b": -math.inf}, {"a": math.nan, "b": math.nan}])
    model._update = lambda batch: {name: torch.tensor(x) for name, x in next(losses).items()}  # type: ignore
    with pytest.raises(FloatingPointError, match="b is -inf in update 4 after 12 real steps"):
        model.train(3)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """The losses of an update that spoils the weights are still good."""
    model = tiny(train_ratio=4)  # an update every few steps: a checkpoint lies between two
    update = model._update

    def spoiling(batch: Batch) -> Any:
        metrics = update(batch)
        if model.num_timesteps > 20:
            next(model.policy.parameters()).data[0] = math.nan
        return metrics

    model._update = spoiling  # type: ignore[method-assign]
    with pytest.raises(FloatingPointError, match="the norm of all weights is nan in update") as caught:
        model.learn(60, callback=AtomicCheckpointCallback(1, tmp_path))
    last = checkpoints(tmp_path)[0]
    assert f"the last good checkpoint is {last}" in str(caught.value)
    good = Dreamer.load(last / "model.zip")
    assert good.num_timesteps > 18
    assert all(parameter.isfinite().all() for parameter in good.policy.parameters())


def test_a_run_that_was_stopped_leaves_its_last_good_checkpoint(tmp_path: Path) -> None:
    class Explosive(Diary):
        def step(self, action: Any) -> Any:
            observation, reward, *rest = super().step(action)
            return observation, 1e30 if len(self.log.reward) > 35 else reward, *rest

    model = tiny(Explosive(), preset="v1", train_ratio=64)
    with pytest.raises(FloatingPointError) as caught:
        model.learn(60, callback=AtomicCheckpointCallback(10, tmp_path))
    last = checkpoints(tmp_path)[0]
    assert last.name == "rl_model_20_steps"
    assert "world_model/reward is inf" in str(caught.value)
    assert f"the last good checkpoint is {last}" in str(caught.value)
    good = load_checkpoint(Dreamer, last, Diary())
    assert all(torch.isfinite(value).all() for value in tensors(good).values())
    good.learn(5, reset_num_timesteps=False)


# --- saving -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["v3", "v1"])
def test_a_saved_model_predicts_and_learns_the_same(preset: str, tmp_path: Path) -> None:
    model = tiny("Pendulum-v1", preset=preset, learning_rate=1e-2).learn(30)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "replay")
    loaded = Dreamer.load(tmp_path / "model", device="cpu")
    assert_same(tensors(loaded), tensors(model))
    assert (loaded.preset, loaded.num_timesteps, loaded._n_updates) == (preset, 30, 20)
    seen = np.random.default_rng(0).normal(size=(3, 2, 3)).astype(np.float32)
    states: list[Any] = [None, None]
    for observation in seen:
        actions = []
        for i, each in enumerate((model, loaded)):
            action, states[i] = each.predict(observation, states[i], deterministic=True)
            actions.append(action)
        assert np.array_equal(*actions)
    loaded.load_replay_buffer(tmp_path / "replay")
    loaded.set_logger(model.logger)
    for each in (model, loaded):
        each.train(3)
    assert_same(tensors(loaded), tensors(model))
    loaded.set_env(gym.make("Pendulum-v1"))
    loaded.learn(5, reset_num_timesteps=False)
    assert loaded.num_timesteps == 35


def test_a_model_goes_on_in_another_number_of_environments(tmp_path: Path) -> None:
    tiny(diaries(2)).learn(16).save(tmp_path / "model")
    env = diaries(3)
    loaded = Dreamer.load(tmp_path / "model", env=env, device="cpu")
    loaded.learn(30, reset_num_timesteps=False)
    assert loaded.num_timesteps == 46
    for i, diary in enumerate(env.envs):
        assert_is_the_log(stream(loaded.replay_buffer, i), diary.unwrapped.log, diary.observation_space)


def test_what_sb3_loads_with_weights_only_is_floats() -> None:
    for name, value in tiny().get_parameters()["policy"].items():
        assert torch.rand_like(value).shape == value.shape, name


def test_a_policy_can_be_saved_by_itself(tmp_path: Path) -> None:
    policy = tiny().policy
    policy.save(str(tmp_path / "policy"))
    loaded = DreamerPolicy.load(str(tmp_path / "policy"), device="cpu")
    observation = np.ones((2, 4), np.float32)
    for one, other in zip(
        policy.predict(observation, deterministic=True)[1], loaded.predict(observation)[1], strict=True
    ):
        assert one.shape == other.shape
    for name, value in policy.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_random_streams_of_another_kind_of_device_are_not_taken() -> None:
    model = tiny()
    model._streams = {
        "device": "cuda",
        "acting": [0] * 16,
        "learning": [0] * 16,
        "choosing": np.random.default_rng(77).bit_generator.state,
    }
    model._setup_model()
    assert model._choosing.integers(10**9) == np.random.default_rng(77).integers(10**9)


@pytest.mark.parametrize("before", [8, 23])
@pytest.mark.parametrize("count", [1, 2])
def test_a_resumed_run_is_the_uninterrupted_one(before: int, count: int, tmp_path: Path) -> None:
    """Interrupted among random actions, and among updates in the middle of an episode."""

    def build() -> Dreamer:
        env = DummyVecEnv([lambda: gym.make("CartPole-v1")] * count)
        return tiny(env, learning_starts=14, train_ratio=24, learning_rate=1e-2)

    whole = build().learn(40)
    part = build()
    part.learn(40, callback=StopAfter(before // count, tmp_path / "checkpoint"))
    resumed = load_checkpoint(Dreamer, tmp_path / "checkpoint", device="cpu")
    assert resumed.num_timesteps == before // count * count
    assert resumed.env is not None
    resumed.learn(40 - resumed.num_timesteps, reset_num_timesteps=False)
    assert resumed.num_timesteps == whole.num_timesteps == 40
    assert resumed._n_updates == whole._n_updates > 10
    assert_same(tensors(resumed), tensors(whole))
    for env in range(count):
        one, other = stream(resumed.replay_buffer, env), stream(whole.replay_buffer, env)
        for name in ("observation", "action", "reward", "terminated", "truncated", "first"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
    for part_, other_ in zip(resumed._remembered, whole._remembered, strict=True):
        assert np.array_equal(part_, other_)


class StopAfter(BaseCallback):
    """Saves a checkpoint when everything of so many steps has been learned from, and stops."""

    def __init__(self, steps: int, path: Path) -> None:
        super().__init__()
        self.steps, self.path = steps, path

    def _on_rollout_start(self) -> None:
        if self.n_calls == self.steps:
            save_checkpoint(self.model, self.path)

    def _on_step(self) -> bool:
        return self.n_calls <= self.steps


def test_a_run_on_images_is_resumed_in_the_middle_of_its_episode(tmp_path: Path) -> None:
    """SB3 wraps images whose channels are last; its wrappers cannot be pickled as they are."""
    model = tiny(diaries(2, kind="image", lengths=(50,)), train_ratio=1e-9).learn(16)
    assert isinstance(model.env, VecTransposeImage)
    save_checkpoint(model, tmp_path / "checkpoint")
    resumed = load_checkpoint(Dreamer, tmp_path / "checkpoint", device="cpu")
    assert isinstance(resumed.env, VecTransposeImage)
    assert resumed.env.class_attributes.keys() == model.env.class_attributes.keys()
    resumed.learn(10, reset_num_timesteps=False)
    assert [diary.unwrapped.step_number for diary in resumed.env.unwrapped.envs] == [13, 13]
    assert stream(resumed.replay_buffer, 0).first[0].nonzero().flatten().tolist() == [0]


def test_an_environment_that_is_given_is_reset(tmp_path: Path) -> None:
    model = tiny(diaries(1, lengths=(50,)), train_ratio=1e-9).learn(15)
    save_checkpoint(model, tmp_path / "checkpoint")
    resumed = load_checkpoint(Dreamer, tmp_path / "checkpoint", diaries(1, lengths=(50,)), device="cpu")
    resumed.learn(5, reset_num_timesteps=False)
    records = stream(resumed.replay_buffer, 0)
    assert records.observation[0, :, 2].tolist() == [*range(16), *range(6)]
    assert records.first[0].nonzero().flatten().tolist() == [0, 16]


def test_a_normalised_run_can_be_resumed(tmp_path: Path) -> None:
    model = tiny(VecNormalize(diaries(1)), train_ratio=1e-9).learn(15)
    save_checkpoint(model, tmp_path / "checkpoint")
    resumed = load_checkpoint(Dreamer, tmp_path / "checkpoint", VecNormalize(diaries(1)), device="cpu")
    assert resumed.get_vec_normalize_env().obs_rms.count == model.get_vec_normalize_env().obs_rms.count
    resumed.learn(5, reset_num_timesteps=False)
    assert resumed.num_timesteps == 20


def test_a_normalised_run_can_be_resumed_without_an_environment(tmp_path: Path) -> None:
    """Either the environment of the checkpoint goes on, or there is none to go on in; never half of one."""
    model = tiny(VecNormalize(diaries(1)), train_ratio=1e-9).learn(15)
    save_checkpoint(model, tmp_path / "checkpoint")
    resumed = load_checkpoint(Dreamer, tmp_path / "checkpoint", device="cpu")
    if resumed.env is None:
        resumed.set_env(VecNormalize(diaries(1)))
    resumed.learn(5, reset_num_timesteps=False)
    assert resumed.num_timesteps == 20


def test_compiled_networks_are_the_same_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the compiler's graphs run as they are, for compiling them would take minutes."""
    kept: dict[str, Any] = {}

    def count(graph: Any, inputs: Any) -> Any:
        kept["graphs"] = kept.get("graphs", 0) + 1
        return graph.forward

    compile_ = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **kw: compile_(module, backend=count, **kw))
    plain, compiled = tiny().learn(20), tiny(compile=True).learn(20)
    assert kept["graphs"] >= 7
    assert plain.policy.state_dict().keys() == compiled.policy.state_dict().keys()
    for name, tensor in plain.policy.state_dict().items():
        assert torch.equal(tensor, compiled.policy.state_dict()[name]), name
    compiled.save(tmp_path / "model")
    assert Dreamer.load(tmp_path / "model", device="cpu").compile
