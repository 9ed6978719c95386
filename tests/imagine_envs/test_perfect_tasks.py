"""The third face of every task: the perfect model, and dreams of it."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import imagine_envs  # noqa: F401 (registers the ids)
from imagine_envs.dreams import DreamVectorEnv
from imagine_envs.experience import collect
from imagine_envs.registration import ENVIRONMENTS
from imagine_envs.tasks import BatchedTask, TaskEnv, TaskVectorEnv
from imagine_envs.tasks.mazes import DynaMaze
from imagine_envs.world_models import PerfectModel, World, fit

TASKS = [env_id for env_id, entry in ENVIRONMENTS.items() if "kwargs" in entry]
every_task = pytest.mark.parametrize("env_id", TASKS)


def batch_of(env_id: str, rows: int, **kwargs: Any) -> TaskVectorEnv:
    envs = gym.make_vec(env_id, num_envs=rows, max_steps=None, **kwargs)
    assert isinstance(envs, TaskVectorEnv)
    return envs


@every_task
def test_a_snapshot_is_imagined_as_it_is_lived(env_id: str) -> None:
    envs = batch_of(env_id, 40)
    envs.reset(seed=0)
    model = PerfectModel.for_env(envs)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(60)]
    for action in actions[:20]:
        observations = envs.step(action)[0]
    state = model.state_of(envs.snapshot())
    kept = {key: value.clone() for key, value in state.items()}
    alive = np.ones(40, bool)
    assert np.array_equal(model.decode(state), observations)
    after = state
    for action in actions[20:]:
        observations, rewards, terminations, _, infos = envs.step(action)
        after, prediction = model.imagine(after, torch.from_numpy(action))
        assert np.array_equal(prediction.reward.numpy()[alive], rewards[alive].astype(np.float32))
        assert np.array_equal(prediction.terminated.numpy()[alive] == 1, terminations[alive])
        alive &= ~terminations
        assert np.array_equal(model.decode(after).numpy()[alive], observations[alive])
        for key, value in prediction.extras.items():
            assert np.array_equal(value.numpy()[alive], infos[key][alive])
    assert alive.any() or env_id in ("Imagine/TrajectorySampling-v0",) or "Pacman" in env_id
    assert all(torch.equal(state[key], kept[key]) for key in kept), "imagining changed a state"


@every_task
def test_a_state_has_one_future_and_a_generator_many(env_id: str) -> None:
    model = PerfectModel.for_env(env_id)
    state = model.initial(30)
    same = {key: value[:1].expand(30, *value.shape[1:]).contiguous() for key, value in state.items()}
    random = any(name in env_id for name in ("Pacman", "Trajectory", "TakeCover"))
    kinds = [np.zeros_like(model.action_space.sample()), np.ones_like(model.action_space.sample())]

    def futures(start: Any, seed: int | None) -> torch.Tensor:
        seen = []
        for step in range(12):
            generator = None if seed is None else torch.Generator().manual_seed(100 * seed + step)
            action = torch.from_numpy(np.stack([kinds[step % 2]] * 30))
            start, prediction = model.imagine(start, action, generator=generator)
            seen.append(torch.cat((model.features(start), prediction.terminated[:, None]), 1))
        return torch.stack(seen, 1)

    own = futures(same, None)
    assert (own == own[:1]).all()
    assert torch.equal(own, futures(same, None))
    drawn = futures(same, 1)
    assert torch.equal(drawn, futures(same, 1))
    assert (drawn == drawn[:1]).all() == (not random)
    assert torch.equal(drawn, futures(same, 2)) == (not random)


@every_task
def test_the_model_keeps_the_protocol(env_id: str) -> None:
    model = PerfectModel.for_env(env_id)
    assert (model.family, model.can_decode, model.can_learn, model.has_uncertainty) == ("perfect", True, False, False)
    state = model.initial(5)
    assert all(value.shape[0] == 5 for value in state.values())
    assert len(torch.unique(state["random"])) == 5
    of_chance = {"random", "generator"}
    assert all((value == value[:1]).all() for key, value in state.items() if key not in of_chance)
    again = model.initial(5)
    assert all(torch.equal(state[key], again[key]) for key in state)
    action = torch.from_numpy(np.stack([np.zeros_like(model.action_space.sample())] * 5))
    after, prediction = model.imagine(state, action, temperature=0.0)
    for value in (prediction.reward, prediction.terminated):
        assert (value.shape, value.dtype) == ((5,), torch.float32)
    features = model.features(after)
    assert (features.ndim, features.dtype) == (2, torch.float32)
    assert -1 <= features.min() <= features.max() <= 1
    decoded = model.decode(after)
    assert model.observation_space.contains(decoded[0].numpy())
    with pytest.raises(ValueError, match="uncertainty=True"):
        model.imagine(state, action, uncertainty=True)
    arguments = json.loads(json.dumps(model.hyperparameters()))
    other = PerfectModel(model.observation_space, model.action_space, **arguments)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.imagine(state, action)[0]["random"], after["random"])


@every_task
def test_observing_real_steps_follows_them(env_id: str) -> None:
    envs = batch_of(env_id, 20)
    model = PerfectModel.for_env(envs)
    observation, _ = envs.reset(seed=0)
    state = model.initial(20)
    first, action = np.ones(20, bool), np.zeros_like(envs.action_space.sample())
    if type(envs.task).recall is BatchedTask.recall:
        with pytest.raises(NotImplementedError, match="cannot tell its state from an observation"):
            model.observe(state, torch.from_numpy(action), torch.from_numpy(observation), torch.from_numpy(first))
        return
    for _ in range(30):
        seen = torch.from_numpy(np.asarray(observation))
        state = model.observe(state, torch.from_numpy(action), seen, torch.from_numpy(first))
        assert torch.equal(model.decode(state), seen)
        action = envs.action_space.sample()
        observation, _, first, _, _ = envs.step(action)


@pytest.mark.parametrize("env_id", ["Imagine/BlockingMaze-v0", "Imagine/MiniPacman-Hunt-v0"])
def test_observing_keeps_clocks_that_are_not_seen(env_id: str) -> None:
    envs = batch_of(env_id, 1)
    model = PerfectModel.for_env(envs)
    observation, _ = envs.reset(seed=0)
    state, first = model.initial(1), torch.ones(1, dtype=torch.bool)
    for step in range(6):
        state = model.observe(state, torch.zeros(1, dtype=torch.int64), torch.from_numpy(observation), first)
        clock = state["life"][0] if "life" in state else state["counters"][0, 2]
        assert clock == step
        observation, first = envs.step(np.zeros(1, int))[0], torch.zeros(1, dtype=torch.bool)
    assert not model.markov


def test_a_reset_forgets_what_is_not_seen() -> None:
    model = PerfectModel.for_env("Imagine/BlockingMaze-v0")
    state = model.initial(3)
    state["life"] += torch.tensor([5, 6, 7])
    first = torch.tensor([True, False, False])
    after = model.observe(state, torch.tensor([99, 3, 0]), torch.tensor([48, 49, 39]), first)
    assert after["life"].tolist() == [0, 7, 8]
    assert after["state"].tolist() == [48, 49, 39]
    assert torch.equal(after["random"], state["random"])


def test_a_dream_of_a_perfect_maze_is_the_maze(tmp_path: Any) -> None:
    env = gym.make("Imagine/DynaMaze-v0", max_steps=200)
    replay = collect(env, steps=1_500, seed=0)
    world = fit(PerfectModel.for_replay(replay), replay, seed=0)
    world.save(tmp_path / "maze")
    world = World.load(tmp_path / "maze")
    assert world.spec.max_episode_steps == 200
    assert isinstance(world.model.task, DynaMaze)  # type: ignore[attr-defined]
    dreams = DreamVectorEnv(world, 16, starts="initial")
    assert dreams.dream.horizon == 200
    real = batch_of("Imagine/DynaMaze-v0", 16)
    observations, _ = dreams.reset(seed=0)
    assert np.array_equal(observations, real.reset(seed=0)[0])
    for action in np.random.default_rng(0).integers(4, size=(150, 16)):
        found, expected = dreams.step(action), real.step(action)
        for one, other in zip(found[:3], expected[:3], strict=True):
            assert np.array_equal(one, other)


def test_dreams_of_a_perfect_pacman_differ_between_rows_and_tell_events() -> None:
    replay = collect("Imagine/MiniPacman-Regular-v0", steps=300, seed=0)
    world = fit(PerfectModel.for_replay(replay), replay, seed=0)
    dreams = DreamVectorEnv(world, 50, horizon=20)
    dreams.reset(seed=0)
    ghosts = set()
    for _ in range(45):
        dreams.step(np.zeros(50, int))
        state = dreams.snapshot()
        assert state.extras["events"].shape == (50, 5)
        ghosts |= set(state.model["ghosts"][:, 0].tolist())
    assert len(ghosts) > 20


def test_how_a_batch_is_made_is_not_part_of_its_model() -> None:
    envs = gym.make_vec("Imagine/ScaledMaze-v0", 2, size=94, copy=False, autoreset_mode="NextStep", render_size=90)
    model = PerfectModel.for_env(envs)
    assert model.env_kwargs == {"size": 94}


def test_a_world_cannot_name_a_module_to_import() -> None:
    model = PerfectModel.for_env("Imagine/DynaMaze-v0")
    strange = {"task": "a_module_that_a_stranger_names:Task"}
    again = PerfectModel(model.observation_space, model.action_space, "Imagine/DynaMaze-v0", strange)
    assert isinstance(again.task, DynaMaze)
    assert again.env_kwargs == {}


def test_what_is_no_task_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no perfect model of 'Blackjack-v1'.*tensor ports of CartPole-v1"):
        PerfectModel.for_env("Blackjack-v1")
    with pytest.raises(ValueError, match="another task: it has no board"):
        PerfectModel.for_env("Imagine/MiniPacman-Hunt-v0").state_of({"random": np.zeros(1)})
    with pytest.raises(ValueError, match=r"only the environments of imagine_envs.tasks"):
        PerfectModel.for_env("CartPole-v1").state_of({})
    env = TaskEnv(DynaMaze())
    with pytest.raises(ValueError, match="has no spec"):
        PerfectModel.for_env(env)
