import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from imagine_envs.experience import from_minari

minari = pytest.importorskip("minari")
pytest.importorskip("h5py")

BOX = spaces.Box(-1, 100, (2,), np.float64)


def episode(number, length, *, kind="flat", terminated=True):
    """Observation (episode, t); the action taken at t is 10·episode + t; the reward for it is that and a half."""
    t = np.arange(length + 1)
    flat = np.stack([np.full(length + 1, number), t], axis=1).astype(np.float64)
    return minari.data_collector.EpisodeBuffer(
        id=number,
        observations=list(flat) if kind == "flat" else {"all": list(flat), "t": list(t)},
        actions=list(10 * number + t[:-1]),
        rewards=list(10 * number + t[:-1] + 0.5),
        terminations=[bool(terminated and i == length) for i in t[1:]],
        truncations=[bool(not terminated and i == length) for i in t[1:]],
        infos={},
    )


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def create(buffers, observation_space=BOX, **kwargs):
    return minari.create_dataset_from_buffers(
        "counting/test-v0",
        buffer=buffers,
        observation_space=observation_space,
        action_space=spaces.Discrete(100),
        algorithm_name="none",
        author="nobody",
        author_email="nobody@example.org",
        code_permalink="none",
        description="numbers",
        **kwargs,
    )


@pytest.mark.filterwarnings("ignore")  # Minari's own, about datasets without an evaluation environment
@pytest.mark.parametrize("kind", ["flat", "dict"])
@pytest.mark.parametrize("by_name", [False, True])
def test_actions_and_rewards_move_to_the_observation_that_they_led_to(root, kind, by_name):
    space = BOX if kind == "flat" else spaces.Dict({"all": BOX, "t": spaces.Discrete(10)})
    dataset = create([episode(0, 2, kind=kind), episode(1, 3, kind=kind, terminated=False)], space)
    replay = from_minari("counting/test-v0" if by_name else dataset)
    records = replay.sequences(len(replay))[0]
    observation = records.observation if kind == "flat" else records.observation["all"]
    assert observation.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [1, 3]]
    if kind == "dict":
        assert records.observation["t"].tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert records.action.tolist() == [0, 0, 1, 0, 10, 11, 12]
    assert records.reward.tolist() == [0, 0.5, 1.5, 0, 10.5, 11.5, 12.5]
    assert records.terminated.nonzero().flatten().tolist() == [2]
    assert records.truncated.nonzero().flatten().tolist() == [6]
    assert records.first.nonzero().flatten().tolist() == [0, 3]
    assert replay.observation_space == space
    assert (replay.env_id, replay.num_steps, replay.num_envs) == (None, 5, 1)


@pytest.mark.filterwarnings("ignore")
def test_the_environment_is_known(root):
    env = gym.make("CartPole-v1", sutton_barto_reward=True)
    rng = np.random.default_rng(0)
    buffer = minari.data_collector.EpisodeBuffer(
        id=0,
        observations=list(rng.uniform(-0.1, 0.1, (4, 4)).astype(np.float32)),
        actions=[0, 1, 1],
        rewards=[1.0, 1.0, 1.0],
        terminations=[False, False, True],
        truncations=[False, False, False],
        infos={},
    )
    dataset = minari.create_dataset_from_buffers("cartpole/test-v0", buffer=[buffer], env=env)
    replay = from_minari(dataset)
    assert (replay.env_id, replay.env_kwargs) == ("CartPole-v1", {"sutton_barto_reward": True})
    assert (replay.max_episode_steps, replay.num_transitions) == (500, 3)


@pytest.mark.filterwarnings("ignore")
def test_an_episode_with_nan_is_named(root):
    bad = episode(1, 2)
    bad.rewards[1] = np.nan
    dataset = create([episode(0, 2), bad])
    with pytest.raises(ValueError, match="counting/test-v0, episode 1: reward holds NaN"):
        from_minari(dataset)


def test_without_minari_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ImportError, match=r'pip install "imagine-rl\[minari\]"'):
        from_minari("anything")


def test_what_is_no_dataset_is_refused():
    with pytest.raises(TypeError, match=r"dataset is a int; an id or a minari\.MinariDataset was expected"):
        from_minari(3)
