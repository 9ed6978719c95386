"""The replay of sequences, fed by SB3's own off-policy loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dreamer_parts import Diary, assert_is_the_log, diaries, stream, tiny
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize, VecTransposeImage

from imagine_agents.common.sequence_buffer import SequenceReplayBuffer
from imagine_envs.experience import Replay
from imagine_envs.spaces import to_tensor

NEVER = 10**9


def collected(env: Any, steps: int, algorithm: Any = DQN) -> Any:
    """An algorithm of SB3's after ``steps`` random real steps, with our replay in the place of its own."""
    model = algorithm(
        "MlpPolicy",
        env,
        buffer_size=5000,
        learning_starts=NEVER,
        train_freq=1,
        replay_buffer_class=SequenceReplayBuffer,
        replay_buffer_kwargs={"sequence_length": 8},
        policy_kwargs={"net_arch": [4]},
        seed=0,
        device="cpu",
    )
    return model.learn(steps)


def of_dreamer(env: Any, steps: int, policy: str) -> SequenceReplayBuffer:
    """The replay of a Dreamer after as many steps; SB3's own networks do not take images as small as ours."""
    model = tiny(env, policy, learning_starts=steps - 1, train_ratio=1e-6).learn(steps)
    assert model.replay_buffer is not None
    return model.replay_buffer


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("algorithm", "action_space"),
    [(DQN, spaces.Discrete(3, start=0)), (SAC, spaces.Box(-1, 1, (2,), np.float32))],
)
def test_it_holds_what_the_environments_showed(count: int, algorithm: Any, action_space: Any) -> None:
    env = diaries(count, action_space=action_space)
    buffer = collected(env, 40 * count, algorithm).replay_buffer
    for i, diary in enumerate(env.envs):
        log = diary.unwrapped.log
        assert sum(log.terminated) > 2 < sum(log.truncated)
        assert_is_the_log(stream(buffer, i), log, diary.observation_space)
    assert buffer.size() == len(buffer.replay) > 40 * count
    assert buffer.replay.num_steps == 40 * count


def test_time_limits_are_truncations() -> None:
    env = DummyVecEnv([lambda: TimeLimit(Diary(lengths=(6,), action_space=spaces.Discrete(3)), 4)])
    buffer = collected(env, 22).replay_buffer
    records = stream(buffer, 0)
    assert not records.terminated.any()
    assert records.truncated[0].nonzero().flatten().tolist() == [4, 9, 14, 19, 24]
    assert records.first[0].nonzero().flatten().tolist() == [0, 5, 10, 15, 20, 25]
    env = DummyVecEnv([lambda: TimeLimit(Diary(lengths=(4,), action_space=spaces.Discrete(3)), 4)])
    records = stream(collected(env, 12).replay_buffer, 0)
    # Episodes 0 and 2 terminate in the very step of the limit, episode 1 does not terminate
    assert records.terminated[0].nonzero().flatten().tolist() == [4, 14]
    assert records.truncated[0].nonzero().flatten().tolist() == [9]


def test_dict_observations_and_images() -> None:
    env = diaries(2, kind="dict", action_space=spaces.Discrete(3))
    buffer = of_dreamer(env, 30, "MultiInputPolicy")
    for i, diary in enumerate(env.envs):
        assert_is_the_log(stream(buffer, i), diary.unwrapped.log, diary.observation_space)
    for kind, see in (("image", lambda image: image.transpose(2, 0, 1)), ("planes", np.asarray)):
        env = diaries(2, kind=kind, action_space=spaces.Discrete(3))
        wrapped = VecTransposeImage(env) if kind == "image" else env
        buffer = of_dreamer(wrapped, 30, "CnnPolicy")
        assert buffer.replay.observation_space.shape == (3, 8, 10)
        for i, diary in enumerate(env.envs):
            assert_is_the_log(stream(buffer, i), diary.unwrapped.log, diary.observation_space, see)


def test_a_discrete_space_that_begins_elsewhere() -> None:
    buffer = SequenceReplayBuffer(100, spaces.Box(0, 9, (1,)), spaces.Discrete(3, start=5), "cpu", sequence_length=2)
    buffer.add(np.zeros((1, 1)), np.ones((1, 1)), np.array([[7]]), np.ones(1), np.zeros(1), [{}])  # SB3 may add an axis
    assert stream(buffer, 0).action.tolist() == [[0, 7]]


def test_normalisation_is_that_of_the_present() -> None:
    inner = diaries(3, action_space=spaces.Discrete(3))
    env = VecNormalize(inner, gamma=0.9, clip_obs=1e6, clip_reward=0.6)
    model = collected(env, 120)
    buffer = model.replay_buffer
    for i, diary in enumerate(inner.envs):
        log, records = diary.unwrapped.log, stream(buffer, i)
        length = records.shape[1]
        # Raw units are what is stored; terminal observations alone come by way of SB3's normalisation and back.
        expected = np.stack(log.observation[:length])
        ends = records.terminated[0] | records.truncated[0]
        np.testing.assert_array_equal(records.observation[0][~ends].numpy(), expected[~ends.numpy()])
        np.testing.assert_allclose(records.observation[0].numpy(), expected, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(records.reward[0].numpy(), np.float32(log.reward[:length]))

    raw = buffer.sample(6, None, np.random.default_rng(1))
    batch = buffer.sample(6, env, np.random.default_rng(1))
    assert torch.equal(batch.index, raw.index)
    assert batch.observation.dtype == batch.reward.dtype == torch.float32
    np.testing.assert_array_equal(batch.observation.numpy(), np.float32(env.normalize_obs(raw.observation.numpy())))
    scaled = np.clip(raw.reward.numpy() / np.sqrt(env.ret_rms.var + env.epsilon), -0.6, 0.6)
    np.testing.assert_allclose(batch.reward.numpy(), scaled, rtol=1e-5)
    assert (batch.reward[batch.first] == 0).all()
    assert float(batch.reward.max()) == np.float32(0.6)
    for name in ("action", "terminated", "truncated", "first"):
        assert torch.equal(getattr(batch, name), getattr(raw, name))
    env.obs_rms.mean = env.obs_rms.mean + 1  # statistics move on, what is sampled with them
    later = buffer.sample(6, env, np.random.default_rng(1))
    assert not torch.allclose(later.observation, batch.observation)


def test_normalisation_of_a_dict() -> None:
    env = VecNormalize(diaries(1, kind="dict", action_space=spaces.Discrete(3)), norm_obs_keys=["vector"])
    buffer = of_dreamer(env, 30, "MultiInputPolicy")
    raw = buffer.sample(3, None, np.random.default_rng(1)).observation
    seen = buffer.sample(3, env, np.random.default_rng(1)).observation
    assert torch.equal(seen["image"], raw["image"])
    assert torch.equal(seen["count"], raw["count"])
    assert (seen["image"].dtype, seen["count"].dtype) == (torch.uint8, torch.int64)
    expected = to_tensor(env.normalize_obs({k: v.numpy() for k, v in raw.items()}), buffer.observation_space, "cpu")
    assert torch.equal(seen["vector"], expected["vector"])
    assert not torch.equal(seen["vector"], raw["vector"])


# --- beginnings -------------------------------------------------------------------------------------------------------


def small(**kwargs: Any) -> SequenceReplayBuffer:
    settings: dict[str, Any] = {"device": "cpu", "n_envs": 2, "sequence_length": 3, **kwargs}
    return SequenceReplayBuffer(
        settings.pop("buffer_size", 40), spaces.Box(-99, 99, (1,), np.float32), spaces.Discrete(4), **settings
    )


def add(buffer: SequenceReplayBuffer, before: list[float], after: list[float], done: list[bool] | None = None) -> None:
    column = [np.array(numbers, np.float32)[:, None] for numbers in (before, after)]
    ends = np.array(done or [False, False])
    buffer.add(*column, np.array([1, 2]), np.array([3.0, 4.0]), ends, [{}, {"TimeLimit.truncated": bool(ends[1])}])


def test_a_reset_is_the_environments_own_affair() -> None:
    """One environment ends, the other goes on: only the former's next observation is a reset."""
    buffer = small()
    add(buffer, [0, 10], [1, 11])
    add(buffer, [1, 11], [2, 12], [True, False])
    add(buffer, [50, 12], [51, 13], [False, True])
    add(buffer, [51, 70], [52, 71])
    one, two = stream(buffer, 0), stream(buffer, 1)
    assert one.observation.flatten().tolist() == [0, 1, 2, 50, 51, 52]
    assert one.first[0].tolist() == [True, False, False, True, False, False]
    assert one.terminated[0].tolist() == [False, False, True, False, False, False]
    assert one.action[0].tolist() == [0, 1, 1, 0, 1, 1]
    assert one.reward[0].tolist() == [0, 3, 3, 0, 3, 3]
    assert two.observation.flatten().tolist() == [10, 11, 12, 13, 70, 71]
    assert two.first[0].tolist() == [True, False, False, False, True, False]
    assert two.truncated[0].tolist() == [False, False, False, True, False, False]
    assert not two.terminated.any()


def test_to_begin_anew_leaves_open_episodes_open() -> None:
    buffer = small()
    add(buffer, [0, 10], [1, 11])
    buffer.begin_anew()
    add(buffer, [30, 40], [31, 41])
    records = stream(buffer, 1)
    assert records.observation.flatten().tolist() == [10, 11, 40, 41]
    assert records.first[0].tolist() == [True, False, True, False]
    assert not (records.terminated | records.truncated).any()


def test_a_second_learn_begins_anew_and_a_continued_one_does_not() -> None:
    env = diaries(1, action_space=spaces.Discrete(3), lengths=(50,))
    model = collected(env, 5)
    model.learn(5, reset_num_timesteps=False)
    assert stream(model.replay_buffer, 0).first[0].nonzero().flatten().tolist() == [0]


def test_records_can_be_forgotten() -> None:
    buffer = small()
    add(buffer, [0, 10], [1, 11])
    buffer.reset()
    assert buffer.size() == 0
    add(buffer, [1, 11], [2, 12])
    assert stream(buffer, 0).first[0].tolist() == [True, False]


# --- limits -----------------------------------------------------------------------------------------------------------


def test_too_small_a_buffer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"buffer_size=15 leaves 7 records for each of 2 .* of 8 needs buffer_size=16"):
        small(buffer_size=15, sequence_length=8)
    small(buffer_size=16, sequence_length=8)


def test_the_oldest_records_make_room() -> None:
    buffer = small(buffer_size=10)
    for i in range(20):
        add(buffer, [i, 100 + i], [i + 1, 101 + i])
    assert buffer.size() == 10
    assert stream(buffer, 0).observation.flatten().tolist() == [16, 17, 18, 19, 20]
    assert not stream(buffer, 0).first.any()
    assert buffer.sample(4, rng=np.random.default_rng(0)).shape == (4, 3)


def test_it_can_be_sampled_as_soon_as_it_holds_one_sequence() -> None:
    buffer = small(sequence_length=4)
    for i in range(2):
        add(buffer, [i, i], [i + 1, i + 1])
        assert not buffer.can_sample
    add(buffer, [2, 2], [3, 3])
    assert buffer.can_sample
    assert buffer.sample(5, rng=np.random.default_rng(0)).observation[:, :, 0].tolist() == [[0, 1, 2, 3]] * 5


def test_samples_are_uniform_sequences_and_follow_the_generator() -> None:
    buffer = small(sequence_length=3)
    for i in range(4):
        add(buffer, [i, 10 + i], [i + 1, 11 + i])
    batch = buffer.sample(6000, rng=np.random.default_rng(0))
    assert torch.equal(batch.observation[:, 1:, 0] - batch.observation[:, :-1, 0], torch.ones(6000, 2))
    starts, counts = batch.observation[:, 0, 0].unique(return_counts=True)
    assert starts.tolist() == [0, 1, 2, 10, 11, 12]
    assert (counts - 1000).abs().max() < 150
    again = buffer.sample(6000, rng=np.random.default_rng(0))
    assert torch.equal(again.index, batch.index)


# --- other records ----------------------------------------------------------------------------------------------------


def test_it_goes_on_with_other_records(tmp_path: Path) -> None:
    buffer = small()
    add(buffer, [0, 10], [1, 11])
    add(buffer, [1, 11], [2, 12], [True, False])
    buffer.replay.save(tmp_path / "replay")
    other = small()
    other.take(Replay.load(tmp_path / "replay"))
    assert other.size() == buffer.size() == 6
    for each in (buffer, other):
        add(each, [50, 12], [51, 13])
    # Nothing says that the environments were reset: the episode that was open goes on, the one that ended does not.
    for env in (0, 1):
        assert stream(other, env).first.tolist() == stream(buffer, env).first.tolist()
        assert stream(other, env).observation.tolist() == stream(buffer, env).observation.tolist()
    assert stream(other, 0).first[0].tolist() == [True, False, False, True, False]
    other.take(Replay.load(tmp_path / "replay"))
    other.begin_anew()
    add(other, [50, 60], [51, 61])
    assert stream(other, 1).first[0].tolist() == [True, False, False, True, False]


def test_records_of_other_spaces_are_refused() -> None:
    seen, done = spaces.Box(-99, 99, (1,), np.float32), spaces.Discrete(4)
    for replay, name in (
        (Replay(spaces.Box(-1, 1, (1,), np.float32), done, num_envs=2), "observation_space"),
        (Replay(seen, spaces.Discrete(5), num_envs=2), "action_space"),
        (Replay(seen, done, num_envs=1), "num_envs"),
    ):
        with pytest.raises(ValueError, match=f"the replay's {name} is .*; .* was expected"):
            small().take(replay)
