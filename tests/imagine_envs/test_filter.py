"""The filter: real steps in, features out; what leaks over a reset or comes from the wrong action must show."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from imagine_envs.dreams import Dream, Filter
from imagine_envs.experience import Replay, collect
from imagine_envs.world_models import PerfectModel, Prediction, World, WorldModel


class Remembers(WorldModel):
    """Its features are the records since the last reset, the sum of their observations, and of action · place."""

    family = "remembers"
    can_decode = False
    can_learn = False

    def __init__(self, *args: Any, noise: float = 0.0) -> None:
        super().__init__(*args)
        self.noise = noise

    def initial(self, batch_size: int) -> dict[str, Tensor]:
        return {"memory": torch.zeros(batch_size, 3)}

    def observe(self, state, action, observation, first, *, sample=True, generator=None):
        memory = torch.where(first[:, None], 0.0, state["memory"])
        noise = self.noise * torch.randn(len(first), generator=generator) if sample else torch.zeros(len(first))
        place = memory[:, 0]
        weighted = torch.where(first, 0.0, action.float() * place)
        return {"memory": memory + torch.stack([torch.ones_like(place), observation[:, 0] + noise, weighted], 1)}

    def imagine(self, state, action, *, temperature=1.0, uncertainty=False, generator=None):
        return state, Prediction(torch.zeros(len(action)), torch.zeros(len(action)))

    def features(self, state):
        return state["memory"]


def remembering_world(noise: float = 0.0) -> World:
    replay = collect("CartPole-v1", steps=40, seed=0)
    return World.from_replay(Remembers(replay.observation_space, replay.action_space, noise=noise), replay)


def observations(*firsts: float) -> np.ndarray:
    """CartPole observations that differ in their first entry."""
    return np.array([[value, 0, 0, 0] for value in firsts], dtype=np.float32)


def flags(*values: int) -> np.ndarray:
    return np.array(values, dtype=bool)


def test_state_accumulates_and_starts_anew_exactly_at_first():
    filter_ = Filter(remembering_world(), 2)
    assert filter_.reset(observations(1, 2)).tolist() == [[1, 1, 0], [1, 2, 0]]
    # The action that led to the second record has the weight 1, that to the third 2.
    assert filter_.step(observations(10, 20), np.array([1, 0]), flags(0, 0)).tolist() == [[2, 11, 1], [2, 22, 0]]
    assert filter_.step(observations(3, 7), np.array([1, 1]), flags(0, 1)).tolist() == [[3, 14, 3], [1, 7, 0]]
    assert filter_.step(observations(1, 1), np.array([0, 1]), flags(0, 0)).tolist() == [[4, 15, 3], [2, 8, 1]]


def test_reset_of_some_rows_leaves_the_others_alone_and_does_not_look_at_theirs():
    filter_ = Filter(remembering_world(), 3)
    filter_.reset(observations(1, 2, 3))
    seen = observations(np.nan, 5, np.inf)
    assert filter_.reset(seen, flags(0, 1, 0)).tolist() == [[1, 1, 0], [1, 5, 0], [1, 3, 0]]
    assert filter_.reset(seen, flags(0, 0, 0)).tolist() == [[1, 1, 0], [1, 5, 0], [1, 3, 0]]
    assert np.isnan(seen[0, 0])
    assert filter_.step(observations(1, 1, 1), np.array([1, 1, 1]), flags(0, 0, 0))[:, 0].tolist() == [2, 2, 2]


def test_features_are_fresh_float32_arrays():
    filter_ = Filter(remembering_world(), 1)
    features = filter_.reset(observations(1))
    assert features.dtype == np.float32
    assert filter_.observation_space.contains(features[0])
    features[:] = 99
    assert filter_.step(observations(1), np.array([0]), flags(0)).tolist() == [[2, 2, 0]]


def test_snapshot_restores_state_and_random_stream():
    filter_ = Filter(remembering_world(noise=1.0), 2, seed=5)
    filter_.reset(observations(0, 0))
    snapshot = filter_.snapshot()
    kept = {key: value.clone() for key, value in snapshot.model.items()}
    arguments = observations(1, 2), np.array([0, 1]), flags(0, 1)
    once = filter_.step(*arguments)
    assert (filter_.step(*arguments) != once).any()
    filter_.restore(snapshot)
    assert (filter_.step(*arguments) == once).all()
    assert all((snapshot.model[key] == kept[key]).all() for key in kept)
    with pytest.raises(ValueError, match="2 rows, this filter 1"):
        Filter(filter_.world, 1).restore(snapshot)


def test_samples_depend_on_the_seed_and_not_on_which_rows_start_anew():
    world = remembering_world(noise=1.0)
    noise = {}
    for rows in (flags(1, 0, 0), flags(1, 1, 1)):
        filter_ = Filter(world, 3, seed=1)
        filter_.reset(observations(0, 0, 0))
        before = filter_.reset(observations(0, 0, 0), rows)[:, 1]
        after = filter_.step(observations(0, 0, 0), np.zeros(3, int), flags(0, 0, 0))[:, 1]
        noise[rows.sum()] = before[0], *(after - before)
    assert np.allclose(noise[1], noise[3], atol=1e-6)
    assert len(set(noise[3])) == 4
    assert (Filter(world, 1, seed=1).reset(observations(0)) == Filter(world, 1, seed=1).reset(observations(0))).all()
    assert (Filter(world, 1, seed=1).reset(observations(0)) != Filter(world, 1, seed=2).reset(observations(0))).any()
    assert (
        Filter(world, 1, seed=None).reset(observations(0)) != Filter(world, 1, seed=None).reset(observations(0))
    ).any()


def test_follows_the_latent_dream_of_a_perfect_model():
    replay = collect("CartPole-v1", steps=60, seed=0)
    world = World.from_replay(PerfectModel.for_replay(replay), replay)
    dream, env = Dream(world, observation="latent", starts="initial"), gym.make("CartPole-v1")
    filter_ = Filter(world, 1)
    assert filter_.observation_space == dream.observation_space
    observation, _ = env.reset(seed=3)
    features = filter_.reset(observation[None])
    state = dream.reset(1, seed=0)
    state = type(state)({"state": torch.tensor(observation[None], dtype=torch.float64)}, state.elapsed)
    assert np.allclose(features, dream.observation(state).numpy(), atol=1e-6)
    for action in (0, 1, 1, 0, 1):
        state, _ = dream.step(state, torch.tensor([action]))
        features = filter_.step(env.step(action)[0][None], np.array([action]), flags(0))
        assert np.allclose(features, dream.observation(state).numpy(), atol=1e-5)


def test_digest_names_the_world_it_was_made_of():
    replay = collect("CartPole-v1", steps=60, seed=0)
    world = World.from_replay(PerfectModel.for_replay(replay), replay)
    assert Filter(world).digest == world.digest


def test_can_be_pickled_and_copied_midway():
    filter_ = Filter(remembering_world(noise=1.0), 1)
    filter_.reset(observations(1))
    twins = pickle.loads(pickle.dumps(filter_)), copy.deepcopy(filter_)
    expected = filter_.step(observations(1), np.array([1]), flags(0))
    for twin in twins:
        assert (twin.step(observations(1), np.array([1]), flags(0)) == expected).all()


def test_dict_observations():
    class Adds(Remembers):
        def observe(self, state, action, observation, first, *, sample=True, generator=None):
            return super().observe(state, action, observation["a"] + observation["b"], first)

    box = spaces.Box(-9, 9, (1,), np.float32)
    space = spaces.Dict({"a": box, "b": box})
    replay, count = Replay(space, spaces.Discrete(2)), 20
    none = np.zeros(count, bool)
    zeros = {key: np.zeros((count, 1), np.float32) for key in "ab"}
    replay.extend(zeros, np.zeros(count, int), np.zeros(count), none, none, np.arange(count) == 0)
    filter_ = Filter(World.from_replay(Adds(space, spaces.Discrete(2)), replay), 1)
    seen = {"a": np.ones((1, 1), np.float32), "b": np.full((1, 1), 2, np.float32)}
    assert filter_.reset(seen).tolist() == [[1, 3, 0]]
    with pytest.raises(ValueError, match=r"observation is \['a'\]; a dict with the keys \['a', 'b'\] was expected"):
        filter_.reset({"a": seen["a"]})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.reset(observations(1)), r"observation has the shape \(1, 4\); \(2, 4\) was expected"),
        (lambda f: f.reset(observations(1, np.nan)), "observation holds NaN or infinity"),
        (lambda f: f.step(observations(1, 1), np.array([0, 2]), flags(0, 0)), "actions from 0 to 2 are not all in"),
        (lambda f: f.step(observations(1, 1), np.array([0]), flags(0, 0)), r"actions have shape \(1,\)"),
        (lambda f: f.step(observations(1, 1), np.array([0, 1]), flags(0)), "first is bool"),
        (lambda f: f.step(observations(1, 1), np.array([0, 1]), np.zeros(2)), "first is float64"),
        (lambda f: f.reset(observations(1, 1), flags(1)), "rows is bool"),
        (lambda f: Filter(f.world, 0), "num_envs=0 must be a whole number of at least 1"),
    ],
)
def test_bad_input_gets_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call(Filter(remembering_world(), 2))
