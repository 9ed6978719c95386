"""The parts of Dyna: schedule, imagined buffer, units, mixed batches, branches, value expansion."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from dreamer_parts import diaries
from dyna_parts import ACTIONS, line_model, lines, moved, small
from gymnasium import spaces
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from imagine_agents.dyna.branching import branches, dreaming_from, expansion
from imagine_agents.dyna.layout import Layout, rewards_for_policy
from imagine_agents.dyna.replay_buffer import MixedReplayBuffer
from imagine_agents.dyna.schedule import checked_horizon, horizon_at
from imagine_agents.dyna.transitions import ImaginedBuffer, Transitions
from imagine_envs.dreams import Dream
from imagine_envs.experience import collect
from imagine_envs.world_models import World, fit

# --- the schedule -----------------------------------------------------------------------------------------------------


def test_mbpos_schedule_at_every_step() -> None:
    schedule = checked_horizon((20, 150, 1, 15))
    for epoch in range(200):
        share = min(max((epoch - 20) / (150 - 20), 0), 1)
        assert horizon_at(schedule, epoch, 10**6) == math.floor(1 + share * (15 - 1) + 1e-9), epoch
    assert [horizon_at(schedule, epoch, 0) for epoch in (0, 20, 29, 30, 149, 150, 10**6)] == [1, 1, 1, 2, 14, 15, 15]


@pytest.mark.parametrize(
    ("horizon", "steps", "expected"),
    [
        (3, (0, 1, 10**6), (3, 3, 3)),
        ((0.25, 0.75, 1, 5), (0, 25, 37, 38, 50, 74, 75, 100), (1, 1, 1, 2, 3, 4, 5, 5)),
        ((0, 1.0, 1, 3), (0, 49, 50, 99, 100), (1, 1, 2, 2, 3)),
        ((10, 20, 5, 3), (10, 11, 15, 16, 20), (5, 4, 4, 3, 3)),
        ((1e1, 2e1, 1, 2), (19, 20), (1, 2)),  # YAML reads 1e1 as a float
        ((30, 30, 1, 4), (30, 31), (1, 4)),
    ],
)
def test_schedules(horizon: Any, steps: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert tuple(horizon_at(checked_horizon(horizon), step, 100) for step in steps) == expected


@pytest.mark.parametrize(
    ("horizon", "message"),
    [
        (0, "at least 1"),
        (-1, "at least 1"),
        (1.5, "a whole number"),
        (True, "a whole number"),
        ("1", "a whole number"),
        ((1, 2, 3), "a whole number of at least 1, or"),
        ((0, 1, 0, 5), "from 0 to 5 steps"),
        ((0, 1, 1, 2.5), "from 1 to 2.5 steps"),
        ((5, 2, 1, 3), "start ≤ end"),
        ((-1, 2, 1, 3), "0 ≤ start"),
        ((0.5, 2000, 1, 3), "fractions"),
        ((0, math.inf, 1, 3), "start ≤ end"),
        ((0, math.nan, 1, 3), "start ≤ end"),
    ],
)
def test_schedules_that_make_no_sense(horizon: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_horizon(horizon)


# --- the imagined buffer ----------------------------------------------------------------------------------------------


def numbered(*numbers: int, key: str | None = None) -> Transitions:
    """Transitions that tell one another apart."""
    value = torch.tensor(numbers, dtype=torch.float32)
    observation: Any = value[:, None] if key is None else {key: value[:, None], "image": value.to(torch.uint8)[:, None]}
    return Transitions(observation, value.long(), value, observation, value > 5)


def held(buffer: ImaginedBuffer) -> list[int]:
    return [int(value) for value in buffer.rows().reward]


@pytest.mark.parametrize("key", [None, "vector"])
def test_the_oldest_make_room(key: str | None) -> None:
    buffer = ImaginedBuffer()
    buffer.resize(5)
    assert len(buffer) == 0
    for numbers, expected in (((1, 2, 3), [1, 2, 3]), ((4, 5, 6, 7), [3, 4, 5, 6, 7]), ((8,), [4, 5, 6, 7, 8])):
        buffer.add(numbered(*numbers, key=key))
        assert held(buffer) == expected
    buffer.add(numbered(*range(10, 30), key=key))
    assert held(buffer) == [25, 26, 27, 28, 29]
    buffer.add(numbered(30, key=key))
    assert held(buffer) == [26, 27, 28, 29, 30]
    rows = buffer.rows()
    observation = rows.observation if key is None else rows.observation[key]  # type: ignore[index]
    assert observation[:, 0].tolist() == rows.reward.tolist() == rows.action.tolist()
    if key is not None:
        assert rows.next_observation["image"].dtype == torch.uint8  # type: ignore[index]


def test_a_change_of_size_keeps_the_newest() -> None:
    buffer = ImaginedBuffer()
    buffer.resize(4)
    buffer.add(numbered(1, 2, 3, 4, 5, 6))  # begins in the middle of the ring from now on
    buffer.add(numbered(7))
    buffer.resize(6)
    assert held(buffer) == [4, 5, 6, 7]
    buffer.add(numbered(8, 9, 10))
    assert held(buffer) == [5, 6, 7, 8, 9, 10]
    buffer.resize(2)
    assert held(buffer) == [9, 10]
    buffer.add(numbered(11))
    assert held(buffer) == [10, 11]


def test_draws_depend_on_ages_and_not_on_where_the_ring_begins() -> None:
    one, other = ImaginedBuffer(), ImaginedBuffer()
    one.resize(4)
    one.add(numbered(1, 2, 3))
    one.add(numbered(4, 5, 6))
    other.resize(4)
    other.add(one.rows())
    torch.manual_seed(0)
    first = one.sample(400)
    torch.manual_seed(0)
    assert torch.equal(first.reward, other.sample(400).reward)
    assert set(first.reward.tolist()) == {3, 4, 5, 6}


# --- units ------------------------------------------------------------------------------------------------------------


def test_actions_are_scaled_as_sb3_scales_them() -> None:
    space = spaces.Box(np.array([-2, 0, 5], np.float32), np.array([6, 1e-3, 7], np.float32))
    observation = spaces.Box(-1, 1, (2,), np.float32)
    policy = SAC("MlpPolicy", dummy(observation, space), device="cpu", policy_kwargs={"net_arch": [2]}).policy
    layout = Layout(observation, observation, space, torch.device("cpu"))
    scaled = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    theirs = policy.unscale_action(scaled)
    np.testing.assert_array_equal(layout.unscaled(scaled), theirs)
    np.testing.assert_array_equal(layout.unscaled(torch.from_numpy(scaled)).numpy(), theirs)
    np.testing.assert_array_equal(layout.scaled(torch.from_numpy(theirs)).numpy(), policy.scale_action(theirs))


def test_discrete_actions_stay_as_they_are() -> None:
    observation, space = spaces.Discrete(5), spaces.Discrete(3)
    layout = Layout(observation, observation, space, torch.device("cpu"))
    assert layout.unscaled(torch.tensor([0, 2])).tolist() == [0, 2]
    assert layout.scaled(torch.tensor([0, 2])).tolist() == [[0], [2]]
    assert layout.to_policy(torch.tensor([4, 1]), None).tolist() == [[4], [1]]  # type: ignore[union-attr]


def test_images_are_turned_and_nothing_else() -> None:
    image, vector = spaces.Box(0, 255, (8, 10, 3), np.uint8), spaces.Box(-1, 1, (2,), np.float32)
    turned = spaces.Box(0, 255, (3, 8, 10), np.uint8)
    layout = Layout(
        spaces.Dict({"image": turned, "vector": vector}),
        spaces.Dict({"image": image, "vector": vector}),
        spaces.Discrete(2),
        torch.device("cpu"),
    )
    real = {"image": np.random.default_rng(0).integers(0, 256, (5, 8, 10, 3), np.uint8), "vector": np.ones((5, 2))}
    seen: Any = layout.to_policy({key: torch.from_numpy(value) for key, value in real.items()}, None)
    np.testing.assert_array_equal(seen["image"].numpy(), real["image"].transpose(0, 3, 1, 2))
    back = layout.to_world({key: value.numpy() for key, value in seen.items()})
    np.testing.assert_array_equal(back["image"], real["image"])
    np.testing.assert_array_equal(back["vector"], real["vector"])


def dummy(observation: spaces.Space[Any], action: spaces.Space[Any]) -> Any:
    import gymnasium as gym

    class Env(gym.Env):
        observation_space = observation
        action_space = action

    return Env()


# --- real steps -------------------------------------------------------------------------------------------------------


def everything(buffer: MixedReplayBuffer, env: Any = None) -> Any:
    """All real steps in SB3's layout."""
    count = buffer.replay.num_transitions
    buffer.real = lambda _: buffer.replay.transitions()  # type: ignore[method-assign]
    try:
        return buffer.sample(count, env)
    finally:
        del buffer.real


class OfVectors(BaseFeaturesExtractor):
    """SB3's own takes no images as small as ours."""

    def __init__(self, space: Any) -> None:
        super().__init__(space, 4)

    def forward(self, observations: Any) -> Tensor:
        return observations["vector"]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("algorithm", "action_space", "kind"),
    [
        (DQN, spaces.Discrete(3), "vector"),
        (SAC, ACTIONS, "vector"),
        (DQN, spaces.Discrete(3), "dict"),
    ],
)
def test_real_steps_are_those_of_sb3s_own_buffer(count: int, algorithm: Any, action_space: Any, kind: str) -> None:
    """Pairing at resets, terminations, truncations, scaling, layout: all as SB3 has them."""
    env, steps = diaries(count, action_space=action_space, kind=kind), 40 * count
    settings: dict[str, Any] = {"learning_starts": 10**9, "train_freq": 1, "seed": 0, "device": "cpu"}
    policy = "MlpPolicy"
    if kind == "dict":
        policy, settings["policy_kwargs"] = "MultiInputPolicy", {"features_extractor_class": OfVectors}
    theirs = algorithm(policy, env, buffer_size=200 * count, **settings).learn(steps).replay_buffer
    env = diaries(count, action_space=action_space, kind=kind)
    world_space = env.observation_space
    model = algorithm(
        policy,
        env,
        replay_buffer_class=MixedReplayBuffer,
        replay_buffer_kwargs={"world_observation_space": world_space, "real_ratio": 0.5},
        **settings,
    ).learn(steps)
    ours = everything(model.replay_buffer)
    rows = [theirs._get_samples(np.full(count, place)) for place in range(theirs.pos)]  # draws environments at random
    assert len(ours.rewards) == steps

    def key(batch: Any, row: int) -> tuple[Any, ...]:
        parts = [batch.actions, batch.dones, batch.rewards]
        for seen in (batch.observations, batch.next_observations):
            parts += [seen[name] for name in sorted(seen)] if isinstance(seen, dict) else [seen]
        return tuple(tuple(part[row].reshape(-1).tolist()) for part in parts)

    known = {key(ours, row) for row in range(steps)}
    assert len(known) == steps
    found = {key(batch, row) for batch in rows for row in range(count)}
    assert found <= known
    assert len(found) == steps if count == 1 else len(found) > steps / 2
    shapes = [getattr(rows[0], name) for name in ("actions", "dones", "rewards")]
    for one, name in zip(shapes, ("actions", "dones", "rewards"), strict=True):
        other = getattr(ours, name)
        assert (one.shape[1:], one.dtype) == (other.shape[1:], other.dtype), name
    assert ours.discounts is None


# --- mixed batches ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled() -> MixedReplayBuffer:
    """Real rewards are numbers of steps, all imagined ones are −1."""
    buffer = MixedReplayBuffer(
        100,
        line_model().observation_space,
        ACTIONS,
        "cpu",
        world_observation_space=line_model().observation_space,
        real_ratio=0.5,
    )
    for step in range(50):
        see = np.array([[step]], np.float32)
        buffer.add(see, see + 1, np.zeros((1, 1), np.float32), np.array([step]), np.array([False]), [{}])
    return buffer


@pytest.mark.parametrize(
    ("ratio", "size", "real"),
    [(0.05, 256, 13), (0.05, 32, 2), (0.0, 7, 0), (1.0, 7, 7), (0.5, 10, 5), (0.99, 10, 10), (0.3, 10, 3)],
)
def test_every_batch_holds_the_same_share_of_real_steps(
    filled: MixedReplayBuffer, ratio: float, size: int, real: int
) -> None:
    filled.real_ratio, filled.imagined = ratio, ImaginedBuffer()
    assert (filled.sample(size).rewards >= 0).all()  # nothing is imagined yet
    filled.imagined.resize(3)
    filled.imagined.add(
        Transitions(*(torch.full((3, 1), -1.0),) * 2, torch.full((3,), -1.0), torch.zeros(3, 1), torch.ones(3) > 0)
    )
    for _ in range(5):
        batch = filled.sample(size)
        assert (batch.rewards[:real] >= 0).all()
        assert (batch.rewards[real:] == -1).all()
        assert batch.rewards.shape == batch.dones.shape == (size, 1)
        assert batch.dones[:, 0].tolist() == [0.0] * real + [1.0] * (size - real)


def test_real_steps_are_drawn_uniformly(filled: MixedReplayBuffer) -> None:
    torch.manual_seed(0)
    counts = torch.bincount(filled.real(50_000).reward[:, 1].long(), minlength=50)
    assert counts.min() > 850
    assert counts.max() < 1150


def test_an_empty_buffer_says_so() -> None:
    space = spaces.Box(-1, 1, (1,), np.float32)
    buffer = MixedReplayBuffer(9, space, spaces.Discrete(2), "cpu", world_observation_space=space, real_ratio=1.0)
    with pytest.raises(ValueError, match="no step"):
        buffer.sample(2)


# --- branches ---------------------------------------------------------------------------------------------------------


def line_world(action_space: Any = ACTIONS, end: float = 20.0) -> World:
    replay = collect(lines(discrete=isinstance(action_space, spaces.Discrete), end=end), steps=60, seed=0)
    return fit(line_model(action_space, end), replay, seed=0)


@pytest.mark.parametrize("cut", [None, 0.9])
def test_branches_are_those_of_a_loop(cut: float | None) -> None:
    world = line_world()
    dream = Dream(world, truncate_uncertainty=cut)
    threshold = math.inf if cut is None else world.uncertainty_quantile(cut)
    starts = torch.linspace(-30, 25, 23)[:, None]

    def act(observation: Tensor) -> Tensor:
        return (observation * 7.3).sin() * 4 + 2

    found = branches(dream, dreaming_from({"place": starts}, 3), starts, act, 4)  # type: ignore[arg-type]
    expected = []
    places = starts[:, 0].tolist()
    for _ in range(4):
        goes_on = []
        for place in places:
            action = float(act(torch.tensor([place])))
            after = float(np.float32(np.float32(place) + np.float32(action)))
            ended = after >= 20
            expected.append((place, action, 10 * place + action, after, ended))
            if not ended and not abs(after) > threshold:
                goes_on.append(after)
        places = goes_on
    columns = [part.reshape(-1).tolist() for part in found.tensors().values()]
    names = list(found.tensors())
    order = [names.index(name) for name in ("observation", "action", "reward", "next_observation", "terminated")]
    got = list(zip(*(columns[place] for place in order), strict=True))
    assert len(got) == len(expected)
    np.testing.assert_allclose(np.array(got, float), np.array(expected, float), rtol=1e-5, atol=1e-4)
    ends = sum(row[4] for row in expected)
    assert 0 < ends < len(expected) < 4 * 23
    if cut is not None:  # cut off and yet not terminated: such values are bootstrapped
        assert any(abs(row[3]) > threshold and not row[4] for row in expected)


# --- value expansion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_entropy", [False, True])
@pytest.mark.parametrize("cut", [None, 0.9])
@pytest.mark.parametrize("steps", [1, 3])
def test_expansion_is_that_of_a_loop(steps: int, cut: float | None, with_entropy: bool) -> None:
    world = line_world()
    dream = Dream(world, truncate_uncertainty=cut)
    threshold = math.inf if cut is None else world.uncertainty_quantile(cut)
    gamma = 0.9
    after = torch.linspace(-30, 19, 31)[:, None]
    rows = Transitions(after - 1, torch.ones(31, 1), torch.arange(31.0), after, torch.arange(31) % 5 == 0)

    def act(observation: Tensor) -> tuple[Tensor, Tensor | None]:
        action = (observation * 7.3).sin() * 4 + 2
        return action, (0.1 * observation[:, 0]).cos() if with_entropy else None

    state = dreaming_from({"place": after}, 3)
    found = expansion(dream, state, rows, act, lambda reward: 2 * reward, steps, gamma)  # type: ignore[arg-type]
    stopped = 0
    for row in range(31):
        place, ended, reward, discount = float(after[row]), bool(rows.terminated[row]), 0.0, gamma
        for _ in range(0 if ended else steps):
            action, entropy = act(torch.tensor([[place]]))
            reward += discount * (2 * (10 * place + float(action)) + (float(entropy) if entropy is not None else 0.0))
            discount *= gamma
            place += float(action)
            ended = place >= 20
            if ended or abs(place) > threshold:
                stopped += 1
                break
        assert float(found.reward[row]) == pytest.approx(reward, rel=1e-4, abs=1e-3)
        assert bool(found.terminated[row]) == ended
        if not ended:  # where the value counts
            assert float(found.discount[row]) == pytest.approx(discount, rel=1e-5)
            assert float(found.observation[row]) == pytest.approx(place, rel=1e-4, abs=1e-4)  # type: ignore[index]
    assert stopped


@pytest.mark.parametrize("algorithm", ["DQN", "SAC"])
def test_the_targets_of_a_batch_look_further_ahead(algorithm: str) -> None:
    """Through the whole algorithm: its own policy, its own entropy, its own discount."""
    discrete = algorithm == "DQN"
    space = spaces.Discrete(2) if discrete else ACTIONS
    model = small(
        env=lines(discrete=discrete),
        algorithm=algorithm,
        world_model=line_model(space),
        value_expansion=2,
        real_ratio=1.0,
        gamma=0.8,
    ).learn(40)
    buffer, expand = model.replay_buffer, model._expand
    assert buffer is not None
    torch.manual_seed(5)
    batch = buffer.sample(64)
    torch.manual_seed(5)
    buffer.expand = None
    plain = buffer.sample(64)
    buffer.expand = expand
    assert torch.equal(plain.observations, batch.observations)  # type: ignore[arg-type]
    assert torch.equal(plain.actions, batch.actions)
    asked: list[Tensor] = []
    choose = model._choose

    def noted(observation: Any) -> Any:
        action, worth = choose(observation)
        asked.append(
            torch.cat([action.reshape(-1, 1).float(), torch.zeros(64, 1) if worth is None else worth[:, None]], 1)
        )
        return action, worth

    model._choose = noted  # type: ignore[method-assign]
    torch.manual_seed(5)
    assert torch.equal(buffer.sample(64).rewards, batch.rewards)
    ended, went_on = 0, 0
    for row in range(64):
        place, reward = float(plain.next_observations[row]), float(plain.rewards[row])  # type: ignore[arg-type]
        over, discount = bool(plain.dones[row]), 0.8
        for step in asked if not over else ():
            action, worth = (float(value) for value in step[row])
            by = moved(action, discrete)
            reward += discount * (10 * place + by + worth)
            place, discount = place + by, discount * 0.8
            over = place >= 20
            if over:
                break
        assert float(batch.rewards[row]) == pytest.approx(reward, rel=1e-4, abs=1e-3)
        assert bool(batch.dones[row]) == over
        if not over:
            went_on += 1
            assert float(batch.discounts[row]) == pytest.approx(0.8**3)  # type: ignore[index]
            assert float(batch.next_observations[row]) == pytest.approx(place, rel=1e-4, abs=1e-4)  # type: ignore[arg-type]
        ended += over
    assert went_on
    assert ended or discrete
    if not discrete:  # entropy is worth something, and the actions are the policy's
        assert any(step[:, 1].abs().min() > 0 for step in asked)


def test_everything_is_normalised_by_the_present_statistics_and_rewards_step_by_step() -> None:
    env = VecNormalize(lines(), clip_reward=0.5)
    model = small(
        env=env, algorithm="SAC", world_model=line_model(), value_expansion=1, real_ratio=1.0, learning_starts=30
    ).learn(31)
    choose, buffer, asked = model._choose, model.replay_buffer, []
    assert buffer is not None

    def without_entropy(observation: Any) -> Any:
        asked.append(observation)
        return choose(observation)[0], None

    model._choose = without_entropy  # type: ignore[method-assign]
    env.step(np.full((1, 1), 3.0, np.float32))  # statistics move on
    torch.manual_seed(1)
    batch = buffer.sample(200, env)
    torch.manual_seed(1)
    rows = buffer.real(200)
    assert torch.equal(asked[0], rows.observation[:, 1])  # type: ignore[index]
    before = env.normalize_obs(rows.observation[:, 0].numpy())  # type: ignore[index]
    np.testing.assert_allclose(batch.observations, before, rtol=1e-5)  # type: ignore[arg-type]
    own = rewards_for_policy(rows.reward[:, 1], env)
    assert own.abs().max() == 0.5  # clipped, so that a sum cannot be normalised instead
    alive = batch.dones[:, 0] == 0
    extra = (batch.rewards[:, 0] - own)[alive]
    assert float(extra.abs().max()) == pytest.approx(model.gamma * 0.5, rel=1e-5)


@pytest.mark.parametrize("normalised", ["norm_obs", "norm_reward"])
def test_what_vec_normalize_leaves_alone_stays_as_it_is(normalised: str) -> None:
    env = VecNormalize(lines(), **{"norm_obs": False, "norm_reward": False, normalised: True})
    model = small(env=env, algorithm="SAC", world_model=line_model(), real_ratio=1.0, learning_starts=30).learn(31)
    buffer = model.replay_buffer
    assert buffer is not None
    torch.manual_seed(1)
    batch = buffer.sample(50, env)
    torch.manual_seed(1)
    rows = buffer.real(50)
    assert torch.equal(batch.observations, rows.observation[:, 0]) == (normalised != "norm_obs")  # type: ignore[arg-type, index]
    assert torch.equal(batch.rewards[:, 0], rows.reward[:, 1]) == (normalised != "norm_reward")
