import copy
import json
import os
import pickle

import numpy as np
import pytest
import torch
from gymnasium import spaces

from imagine_envs.experience import Episode, Replay, files
from imagine_envs.storage import StorageError

BOX = spaces.Box(-np.inf, np.inf, (2,), np.float64)


def write(replay, env, lengths, *, episode=0, last="terminated"):
    """Episodes of ``lengths`` steps in one stream; observation (episode, t), reward 10·episode + t, action t - 1."""
    for number, length in enumerate(lengths, episode):
        replay.add_reset([[number, 0]], envs=[env])
        for t in range(1, length + 1):
            end = t == length
            replay.add(
                [[number, t]],
                [(t - 1) % 5],
                [10 * number + t],
                [end and last == "terminated"],
                [end and last == "truncated"],
                [False],
                envs=[env],
            )


def make(**kwargs):
    return Replay(BOX, spaces.Discrete(5), **kwargs)


def stream(replay, env):
    """All living records of one stream, as one window without its batch axis."""
    episodes = [episode for episode in replay.episodes() if episode.env == env]
    start, stop = episodes[0].start, episodes[-1].stop
    return replay.windows([start * replay.num_envs + env], stop - start)[0]


def same(one, other):
    assert len(one) == len(other)
    assert (one.num_steps, one.num_transitions, one.episodes()) == (
        other.num_steps,
        other.num_transitions,
        other.episodes(),
    )
    for env in {episode.env for episode in one.episodes()}:
        left, right = stream(one, env), stream(other, env)
        assert left.index.tolist() == right.index.tolist()
        for name in ("action", "reward", "terminated", "truncated", "first"):
            assert torch.equal(getattr(left, name), getattr(right, name)), name
        if isinstance(left.observation, dict):
            assert all(torch.equal(left.observation[key], right.observation[key]) for key in left.observation)
        else:
            assert torch.equal(left.observation, right.observation)
        assert all(torch.equal(left.columns[key], right.columns[key]) for key in left.columns)


# --- records ----------------------------------------------------------------------------------------------------------


def test_records_follow_the_arrival_convention():
    replay = make()
    write(replay, 0, [2, 1])
    records = stream(replay, 0)
    assert records.observation.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]]
    assert records.action.tolist() == [0, 0, 1, 0, 0]
    assert records.reward.tolist() == [0, 1, 2, 0, 11]
    assert records.terminated.tolist() == [False, False, True, False, True]
    assert records.first.tolist() == [True, False, False, True, False]
    assert records.index.tolist() == [0, 1, 2, 3, 4]


def test_counts_and_episodes():
    replay = make(num_envs=2)
    write(replay, 1, [2, 3], last="truncated")
    replay.add_reset([[7, 0]], envs=[0])
    replay.add([[7, 1]], [0], [0.5], [False], [False], [False], envs=[0])
    assert (len(replay), replay.num_transitions, replay.num_steps, replay.num_episodes) == (9, 6, 6, 3)
    assert replay.episodes() == [
        Episode(env=0, start=0, stop=2, total_reward=0.5, terminated=False, truncated=False, complete=False),
        Episode(env=1, start=0, stop=3, total_reward=3.0, terminated=False, truncated=True, complete=True),
        Episode(env=1, start=3, stop=7, total_reward=36.0, terminated=False, truncated=True, complete=True),
    ]
    assert [episode.num_steps for episode in replay.episodes()] == [1, 2, 3]


def test_a_reset_may_leave_an_episode_open():
    replay = make()
    replay.add_reset([[0, 0]])
    replay.add([[0, 1]], [0], [1], [False], [False], [False])
    write(replay, 0, [1], episode=1)
    assert [episode.complete for episode in replay.episodes()] == [False, True]
    assert replay.num_transitions == 2


def test_first_records_lose_action_and_reward_and_termination_beats_truncation():
    replay = make()
    replay.add([[0, 0]], [3], [5.0], [False], [False], [True])
    replay.add([[0, 1]], [3], [5.0], [True], [True], [False])
    records = stream(replay, 0)
    assert records.action.tolist() == [0, 3]
    assert records.reward.tolist() == [0, 5]
    assert (records.terminated[1].item(), records.truncated[1].item()) == (True, False)


def test_batched_add_equals_single_adds_and_extend():
    batched, single, extended = (make(num_envs=2, chunk_length=3) for _ in range(3))
    no = np.zeros(2, bool)
    batched.add_reset([[0, 0], [9, 0]])
    for t in range(1, 8):
        batched.add([[0, t], [9, t]], [t % 5, 0], [t, -t], no, no, no)
    for env, name in ((0, 0), (1, 9)):
        single.add_reset([[name, 0]], envs=[env])
        for t in range(1, 8):
            single.add([[name, t]], [t % 5 * (env == 0)], [t * (1 - 2 * env)], [False], [False], [False], envs=[env])
        t = np.arange(8)
        extended.extend(
            np.stack([np.full(8, name), t], 1), t % 5 * (env == 0), t * (1 - 2 * env), t < 0, t < 0, t == 0, env=env
        )
    same(batched, single)
    same(batched, extended)


SPACES = {
    "image": spaces.Box(0, 255, (4, 3, 3), np.uint8),
    "float64": spaces.Box(-1, 1, (2, 2), np.float64),
    "discrete": spaces.Discrete(4, start=-1),
    "multidiscrete": spaces.MultiDiscrete([3, 4]),
    "multibinary": spaces.MultiBinary(3),
    "dict": spaces.Dict({"image": spaces.Box(0, 255, (2, 2, 1), np.uint8), "n": spaces.Discrete(3)}),
}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("action", [spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(3), spaces.MultiBinary(2)])
def test_every_space_comes_back_exactly(name, action, tmp_path):
    space = SPACES[name]
    space.seed(0)
    action.seed(0)
    observations, actions = [space.sample() for _ in range(5)], [action.sample() for _ in range(5)]
    if name == "dict":
        batch = {key: np.stack([o[key] for o in observations]) for key in space.spaces}
    else:
        batch = np.stack(observations)
    replay = Replay(space, action)
    no = np.zeros(5, bool)
    replay.extend(batch, np.stack(actions), np.zeros(5), no, no, np.arange(5) == 0)
    replay.save(tmp_path / "replay")
    for source in (replay, Replay.load(tmp_path / "replay"), Replay.load(tmp_path / "replay", mmap=True)):
        assert source.observation_space == space
        assert source.action_space == action
        records = stream(source, 0)
        for key, value in batch.items() if name == "dict" else [(None, batch)]:
            tensor = records.observation[key] if key else records.observation
            expected = {"u": torch.uint8, "f": torch.float32, "i": torch.int64}[value.dtype.kind]
            assert tensor.dtype is expected
            np.testing.assert_array_equal(tensor.numpy(), value.astype(tensor.numpy().dtype))
        assert records.action.dtype is (torch.float32 if isinstance(action, spaces.Box) else torch.int64)
        np.testing.assert_array_equal(records.action[1:].numpy(), np.stack(actions)[1:])


def test_columns_come_back_with_tensor_types():
    replay = make(columns={"mask": ((3,), bool), "value": ((), np.float64), "events": ((2,), np.int32)})
    replay.add_reset([[0, 0]], mask=[[True, False, True]], value=[0.5], events=[[1, 2]])
    columns = stream(replay, 0).columns
    assert columns["mask"].tolist() == [[True, False, True]]
    assert (columns["mask"].dtype, columns["value"].dtype, columns["events"].dtype) == (
        torch.bool,
        torch.float32,
        torch.int64,
    )
    assert (columns["value"].tolist(), columns["events"].tolist()) == ([0.5], [[1, 2]])


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    replay = make(num_envs=2)
    replay.add_reset([[0, 0], [0, 0]])
    no, act = np.zeros(2, bool), np.zeros(2, int)
    with pytest.raises(ValueError, match="observation holds NaN or infinity in row 1 of 2"):
        replay.add([[0, 1], [bad, 1]], act, [0, 0], no, no, no)
    with pytest.raises(ValueError, match="reward holds NaN or infinity in row 0"):
        replay.add([[0, 1], [0, 1]], act, [bad, 0], no, no, no)
    with pytest.raises(ValueError, match="reward holds NaN or infinity"):  # beyond float32
        replay.add([[0, 1], [0, 1]], act, [1e300, 0], no, no, no)
    assert len(replay) == 2


def test_bad_records_are_refused_and_nothing_is_added():
    replay = make(columns={"value": ((), float)})
    with pytest.raises(ValueError, match="environment 0, but the stream is empty"):
        replay.add([[0, 0]], [0], [0], [False], [False], [False], value=[0])
    replay.add_reset([[0, 0]], value=[0])
    good = ([[0, 1]], [0], [0], [True], [False], [False])
    with pytest.raises(ValueError, match=r"columns \[\] were given; \['value'\] were expected"):
        replay.add(*good)
    with pytest.raises(ValueError, match=r"columns \['other', 'value'\] were given"):
        replay.add(*good, value=[0], other=[0])
    with pytest.raises(ValueError, match=r"observation has the shape \(2,\); \(1, 2\) was expected"):
        replay.add([0, 1], *good[1:], value=[0])
    with pytest.raises(ValueError, match=r"value has the shape \(1, 1\); \(1,\) was expected"):
        replay.add(*good, value=[[0]])
    with pytest.raises(ValueError, match=r"action holds 5 … 5; 0 … 4 was expected"):
        replay.add(good[0], [5], *good[2:], value=[0])
    with pytest.raises(ValueError, match="action holds float64 values that int64 cannot express"):
        replay.add(good[0], [0.5], *good[2:], value=[0])
    with pytest.raises(ValueError, match="first and also terminated"):
        replay.add(*good[:5], [True], value=[0])
    with pytest.raises(ValueError, match="envs is"):
        replay.add(*good, value=[0], envs=[1])
    assert len(replay) == 1
    replay.add(*good, value=[0])
    with pytest.raises(ValueError, match="the episode before it has ended"):
        replay.add(*good, value=[0])
    with pytest.raises(ValueError, match="the episode before it has ended"):
        replay.extend(*good, value=[0])
    assert len(replay) == 2


def test_bad_arguments_of_the_constructor():
    for arguments, message in [
        ({"num_envs": 0}, "num_envs is 0"),
        ({"capacity": 3, "num_envs": 2}, "capacity is 3; at least 4"),
        ({"chunk_length": 0}, "chunk_length is 0"),
        ({"columns": {"reward": ((), float)}}, "'reward' cannot be a column's name"),
        ({"columns": {"name": ((), object)}}, "'name' is object"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**arguments)
    with pytest.raises(ValueError, match="action_space is Dict"):
        Replay(BOX, spaces.Dict({"a": spaces.Discrete(2)}))
    with pytest.raises(ValueError, match="observation_space: cannot describe"):
        Replay(spaces.Tuple([BOX]), spaces.Discrete(2))
    with pytest.raises(ValueError, match="observation_space has Dict"):
        Replay(spaces.Dict({"a": spaces.Dict({"b": BOX})}), spaces.Discrete(2))
    with pytest.raises(ValueError, match="observation is \\['b'\\]; a dict with the keys \\['a'\\]"):
        Replay(spaces.Dict({"a": BOX}), spaces.Discrete(2)).add_reset({"b": [[0, 0]]})


# --- ring buffer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_length", [1, 2, 3, 5, 64])
def test_the_oldest_record_goes_exactly_at_the_capacity(chunk_length):
    replay, everything = make(capacity=7, chunk_length=chunk_length), make()
    for number in range(8):
        write(replay, 0, [number % 3 + 1], episode=number)
        write(everything, 0, [number % 3 + 1], episode=number)
        kept, total = len(replay), len(everything)
        assert kept == min(7, total)
        window = replay.windows([total - kept], kept)
        assert torch.equal(window.observation, everything.windows([total - kept], kept).observation)
        assert window.index[0].tolist() == list(range(total - kept, total))
        if total > 7:
            with pytest.raises(ValueError, match="no window of 1 living records"):
                replay.windows([total - kept - 1], 1)
        assert replay.num_steps == everything.num_steps
        firsts = int(window.first.sum())
        # The oldest record is never the arrival of a transition, whether it is a reset or has lost its predecessor.
        assert replay.num_transitions == kept - firsts - int(not window.first[0, 0])
        assert replay.num_transitions == len(replay.transitions().first)
        assert replay.num_episodes == len(replay.episodes())
    assert not replay.episodes()[0].complete


def test_a_ring_allocates_nothing_beyond_its_capacity():
    replay = make(capacity=10**12)
    assert not replay._chunks.arrays
    replay = make(capacity=8, num_envs=2, chunk_length=2)
    write(replay, 0, [5] * 20)
    write(replay, 1, [1])
    assert len(replay) == 4 + 2
    assert sum(array["reward"].size for array in replay._chunks.arrays.values()) == 8
    assert stream(replay, 1).observation.tolist() == [[0, 0], [0, 1]]
    assert stream(replay, 0).observation.tolist() == [[19, 2], [19, 3], [19, 4], [19, 5]]


def test_a_capacity_that_the_streams_cannot_share_evenly_is_still_exact():
    replay = make(capacity=7, num_envs=3)
    for env in range(3):
        write(replay, env, [9])
    assert [len(stream(replay, env).first) for env in range(3)] == [3, 2, 2]


@pytest.mark.parametrize("chunk_length", [2, 3, 64])
def test_extend_beyond_the_capacity_keeps_the_newest(chunk_length):
    replay, other = make(capacity=5, chunk_length=chunk_length), make(capacity=5, chunk_length=chunk_length)
    write(other, 0, [2, 11])
    t = np.array([0, 1, 2, *range(12)])
    episode = np.repeat([0, 1], [3, 12])
    end = np.isin(np.arange(15), [2, 14])
    action, reward = np.maximum(t - 1, 0) % 5, 10 * episode + t
    replay.extend(np.stack([episode, t], 1), action, reward, end, np.zeros(15, bool), t == 0)
    same(replay, other)


# --- windows ----------------------------------------------------------------------------------------------------------


def uneven(**kwargs):
    replay = make(num_envs=3, chunk_length=4, **kwargs)
    for env, lengths in enumerate([[3, 2, 4], [1], [6, 1]]):
        write(replay, env, lengths, episode=10 * env)
    return replay


@pytest.mark.parametrize("capacity", [None, 20])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_sampled_windows_are_all_windows_equally_often(length, capacity):
    replay = uneven(capacity=capacity)
    alive = {env: stream(replay, env).index.tolist() for env in range(3)}
    expected = [tuple(alive[env][i : i + length]) for env in range(3) for i in range(len(alive[env]) - length + 1)]
    batch = replay.sample(200 * len(expected), length, np.random.default_rng(0))
    found, counts = np.unique(batch.index.numpy(), axis=0, return_counts=True)
    assert sorted(map(tuple, found.tolist())) == sorted(expected)
    assert counts.min() > 130
    assert counts.max() < 270
    # Each row of a window is the record that its number names.
    numbers, inverse = np.unique(batch.index.numpy(), return_inverse=True)
    single = replay.windows(numbers, 1)
    for name in ("observation", "action", "reward", "terminated", "first"):
        value = getattr(single, name)[:, 0][torch.from_numpy(inverse.reshape(batch.shape))]
        assert torch.equal(getattr(batch, name), value), name


def test_sampling_is_seeded():
    replay = uneven()
    draws = [replay.sample(50, 3, np.random.default_rng(seed)).index for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_too_long_windows_are_refused_with_the_sizes():
    replay = uneven()
    assert replay.sample(4, 12, np.random.default_rng(0)).shape == (4, 12)
    for call in (lambda: replay.sample(4, 13, np.random.default_rng(0)), lambda: replay.sequences(13)):
        with pytest.raises(
            ValueError, match="length is 13, but the longest of 3 streams has 12 records \\(23 in all\\)"
        ):
            call()
    with pytest.raises(ValueError, match="has 0 records"):
        make().sample(1, 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="length is 0"):
        replay.sample(1, 0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="batch_size is 0"):
        replay.sample(0, 1, np.random.default_rng(0))


@pytest.mark.parametrize("capacity", [None, 15])
def test_transitions_pair_each_real_step_with_its_predecessor(capacity):
    replay = uneven(capacity=capacity)
    batch = replay.transitions()
    assert batch.shape == (replay.num_transitions, 2)
    assert not batch.first[:, 1].any()
    assert torch.equal(batch.index[:, 1], batch.index[:, 0] + 3)
    assert torch.equal(batch.observation[:, 1, 0], batch.observation[:, 0, 0])
    assert torch.equal(batch.observation[:, 1, 1], batch.observation[:, 0, 1] + 1)
    assert torch.equal(batch.action[:, 1], batch.observation[:, 0, 1].long() % 5)
    assert torch.equal(batch.reward[:, 1], 10 * batch.observation[:, 1, 0] + batch.observation[:, 1, 1])
    order = batch.index[:, 1] % 3 * 1000 + batch.index[:, 1]
    assert torch.equal(order, order.sort().values)
    for which in ([3, 0, 3], slice(2, 5), torch.tensor([1]), np.arange(replay.num_transitions) % 2 == 0):
        assert torch.equal(replay.transitions(which).index, batch.index[which])
    write(replay, 1, [1])
    assert len(replay.transitions().first) == replay.num_transitions  # not those of before


def test_sequences_walk_through_every_stream():
    replay = uneven()
    assert [row.tolist() for row in replay.sequences(5).index] == [
        [0, 3, 6, 9, 12], [15, 18, 21, 24, 27], [2, 5, 8, 11, 14]
    ]  # fmt: skip
    assert replay.sequences(5, stride=4).index[:, 0].tolist() == [0, 12, 2, 14]
    assert replay.sequences(1).shape == (len(replay), 1)


@pytest.mark.parametrize("capacity", [None, 15])
@pytest.mark.parametrize("stride", [None, 1, 3])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_window_index_is_where_sequences_begin(length, stride, capacity):
    replay = uneven(capacity=capacity)
    index, batch = replay.window_index(length, stride), replay.sequences(length, stride)
    assert index.tolist() == batch.index[:, 0].tolist()
    assert torch.equal(replay.windows(index, length).index, batch.index)


def test_window_index_at_the_ends_of_streams():
    replay = uneven()  # streams of 12, 2 and 9 records
    assert replay.window_index(5).tolist() == [0, 15, 2]
    assert replay.window_index(9).tolist() == [0, 2]  # exactly the third stream's records
    assert replay.window_index(9, stride=3).tolist() == [0, 9, 2]  # 9 + 8 · 3 is the first stream's last record
    assert replay.window_index(12).tolist() == [0]
    with pytest.raises(ValueError, match="length is 13, but the longest of 3 streams has 12 records"):
        replay.window_index(13)
    with pytest.raises(ValueError, match="stride is 0"):
        replay.window_index(2, stride=0)


@pytest.mark.parametrize(("capacity", "longest"), [(None, 12), (20, 7), (6, 2)])
def test_longest_is_the_longest_window(capacity, longest):
    replay = uneven(capacity=capacity)
    assert replay.longest == longest
    assert len(replay.window_index(longest))
    with pytest.raises(ValueError, match=f"length is {longest + 1}"):
        replay.window_index(longest + 1)
    assert make(num_envs=2).longest == 0


@pytest.mark.parametrize("capacity", [None, 15])
def test_scalars_are_all_living_records_without_their_observations(capacity):
    replay = uneven(capacity=capacity)
    scalars, records = replay.scalars(), replay.sequences(1)
    assert set(scalars) == {"index", "reward", "terminated", "truncated", "first"}
    for name, values in scalars.items():
        assert values.tolist() == getattr(records, name)[:, 0].tolist(), name
        assert values.shape == (len(replay),)
    assert scalars["index"].tolist() == [n for env in range(3) for n in stream(replay, env).index.tolist()]
    assert scalars["terminated"].sum() == sum(episode.terminated for episode in replay.episodes())
    assert all(len(values) == 0 for values in make().scalars().values())


@pytest.mark.parametrize("capacity", [None, 20])
@pytest.mark.parametrize("length", [1, 2, 5, 30])
def test_histories_end_at_the_record_and_stand_still_before_the_stream(length, capacity):
    replay = uneven(capacity=capacity)
    for env in range(3):
        records = stream(replay, env)
        index = records.index
        batch = replay.histories(index, length)
        assert batch.shape == (len(index), length)
        assert torch.equal(batch.index[:, -1], index)
        for row in range(len(index)):
            for column in range(length):
                place = row - (length - 1 - column)
                source = max(place, 0)
                assert batch.index[row, column] == index[source]
                for name in ("observation", "action", "reward", "terminated", "truncated"):
                    assert torch.equal(getattr(batch, name)[row, column], getattr(records, name)[source]), name
                # What stands in is always first, and so is the oldest record that something comes after.
                anew = place <= 0 and column < length - 1
                assert batch.first[row, column] == (anew or records.first[place])


def test_histories_of_any_records_in_any_order():
    replay = uneven()
    batch = replay.histories([2, 33, 4, 15, 15], 3)  # the stream's first, its last, another stream's, one twice
    assert batch.index.tolist() == [[2, 2, 2], [27, 30, 33], [1, 1, 4], [9, 12, 15], [9, 12, 15]]
    assert batch.first.tolist() == [[1, 1, 1], [0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert replay.histories([], 3).shape == (0, 3)


@pytest.mark.parametrize("index", [-1, 36, 7, 0, 12])
def test_histories_of_dead_and_unborn_records_are_refused(index):
    replay = uneven(capacity=20)  # streams of 7, 2 and 6 living records, from 15, 1 and 11 on
    assert [stream(replay, env).index[0].item() for env in range(3)] == [15, 1, 11]
    assert len(replay.histories([15, 33, 1, 4, 11, 26], 4).first) == 6
    with pytest.raises(ValueError, match=f"index {index}: no living record has that number"):
        replay.histories([15, index], 4)
    with pytest.raises(ValueError, match="length is 0"):
        replay.histories([15], 0)


def test_histories_of_dicts_and_columns():
    space = spaces.Dict({"a": BOX, "b": spaces.Discrete(9)})
    replay = Replay(space, spaces.Discrete(2), columns={"mark": ((2,), np.float32)})
    for t in range(4):
        record = {"a": [[t, -t]], "b": [t]}, [t % 2], [t], [False], [False], [t == 0]
        replay.add(*record, mark=[[t, t]])
    batch = replay.histories([1], 3)
    assert batch.observation["a"].tolist() == [[[0, 0], [0, 0], [1, -1]]]
    assert batch.observation["b"].tolist() == [[0, 0, 1]]
    assert batch.columns["mark"].tolist() == [[[0, 0], [0, 0], [1, 1]]]


# --- storage ----------------------------------------------------------------------------------------------------------


def saved(path, **kwargs):
    replay = uneven(**kwargs)
    replay.env_id, replay.env_kwargs, replay.max_episode_steps = "Counting-v0", {"size": [1, 2]}, 50
    replay.save(path)
    return replay


def chunk_files(path):
    return {file.name: file.stat().st_mtime_ns for file in path.glob("*.safetensors")}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("capacity", [None, 15])
def test_what_was_saved_is_loaded_and_goes_on(tmp_path, mmap, capacity):
    replay = saved(tmp_path / "replay", capacity=capacity)
    for round_ in range(3):
        loaded = Replay.load(tmp_path / "replay", mmap=mmap)
        same(replay, loaded)
        assert (loaded.env_id, loaded.env_kwargs, loaded.max_episode_steps) == ("Counting-v0", {"size": [1, 2]}, 50)
        assert (loaded.capacity, loaded.num_envs, loaded.chunk_length) == (capacity, 3, 4)
        for one in (replay, loaded):
            write(one, 0, [2, 3], episode=20 + round_)
            write(one, 2, [1], episode=20 + round_)
        same(replay, loaded)
        loaded.save(tmp_path / "replay")
    with pytest.raises(StorageError, match="another replay, or a later state of this one"):
        replay.save(tmp_path / "replay")  # the loaded one has saved there since


def test_an_open_episode_goes_on_after_loading(tmp_path):
    replay = make()
    replay.add_reset([[0, 0]])
    replay.save(tmp_path / "replay")
    loaded = Replay.load(tmp_path / "replay")
    loaded.add([[0, 1]], [0], [0], [True], [False], [False])
    with pytest.raises(ValueError, match="the episode before it has ended"):
        loaded.add([[0, 1]], [0], [0], [True], [False], [False])


def test_an_empty_replay_can_be_saved(tmp_path):
    (tmp_path / "replay").mkdir()
    make(num_envs=2).save(tmp_path / "replay")
    loaded = Replay.load(tmp_path / "replay")
    assert (len(loaded), loaded.num_envs, loaded.num_transitions) == (0, 2, 0)
    assert loaded.transitions().shape == (0, 2)


def test_full_chunks_are_mapped_and_never_written(tmp_path):
    saved(tmp_path / "replay")
    mapped = Replay.load(tmp_path / "replay", mmap=True)
    arrays = [chunk["observation"] for chunk in mapped._chunks.arrays.values()]
    assert [array.flags.writeable for array in arrays] == [False, False, False]  # each is full in stream 0
    before = {file: file.read_bytes() for file in (tmp_path / "replay").glob("*.safetensors")}
    write(mapped, 1, [5])
    assert mapped._chunks.arrays[0]["observation"].flags.writeable
    assert {file: file.read_bytes() for file in before} == before
    mapped.save(tmp_path / "elsewhere")
    same(mapped, Replay.load(tmp_path / "elsewhere"))


def test_saving_again_writes_only_what_has_changed(tmp_path):
    path = tmp_path / "replay"
    replay = make(chunk_length=4)
    write(replay, 0, [5, 5])
    replay.save(path)
    before = chunk_files(path)
    assert sorted(before) == ["chunk-000000-4.safetensors", "chunk-000001-4.safetensors", "chunk-000002-4.safetensors"]
    write(replay, 0, [1])
    replay.save(path)
    after = chunk_files(path)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"chunk-000003-2.safetensors"}
    write(replay, 0, [0])
    replay.save(path)
    assert set(chunk_files(path)) == {*before, "chunk-000003-3.safetensors"}
    same(replay, Replay.load(path))


def test_saving_an_unchanged_replay_writes_no_chunk(tmp_path):
    replay = saved(tmp_path / "replay", capacity=15)
    before = chunk_files(tmp_path / "replay")
    replay.save(tmp_path / "replay")
    assert chunk_files(tmp_path / "replay") == before


def damage(path, how):
    file = sorted(path.glob("chunk-*"))[1]
    if how == "missing":
        file.unlink()
    elif how == "truncated":
        file.write_bytes(file.read_bytes()[:-3])
    elif how == "corrupted":
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    elif how == "exchanged":
        file.write_bytes(sorted(path.glob("chunk-*"))[0].read_bytes())
    return file


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("how", ["missing", "truncated", "corrupted", "exchanged"])
def test_a_damaged_chunk_is_named(tmp_path, how, mmap):
    saved(tmp_path / "replay")
    file = damage(tmp_path / "replay", how)
    with pytest.raises(StorageError, match="missing" if how == "missing" else "truncated or was changed") as caught:
        Replay.load(tmp_path / "replay", mmap=mmap)
    assert str(file) in str(caught.value)


def change_index(path, function):
    file = path / "index.json"
    data = json.loads(file.read_text())
    function(data)
    file.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index.update(version=99), "has the version 99; 1 was expected"),
        (lambda index: index.update(format="world"), "is not a replay's: its format is 'world'"),
        (lambda index: index.pop("columns"), "corrupted"),
        (lambda index: index.pop("chunks"), "corrupted"),
        (lambda index: index["chunks"].pop(), "names no file for chunk 2"),
        (lambda index: index["records"].__setitem__(0, 5), "corrupted"),
        (lambda index: index["records"].append(5), "corrupted"),
        (lambda index: index["observation_space"].update(type="Tuple"), "not the description of a space"),
        (lambda index: index["observation_space"].update(shape=[3]), "was expected"),
        (lambda index: index["chunks"][0].update(file="../x/chunk.safetensors"), "corrupted"),
    ],
)
def test_a_damaged_index_is_named(tmp_path, change, message):
    saved(tmp_path / "replay")
    change_index(tmp_path / "replay", change)
    with pytest.raises(StorageError, match=message) as caught:
        Replay.load(tmp_path / "replay")
    assert str(tmp_path / "replay") in str(caught.value)


def test_what_is_no_replay_is_neither_loaded_nor_overwritten(tmp_path):
    replay = make()
    with pytest.raises(StorageError, match="is missing; the directory of a replay was expected"):
        Replay.load(tmp_path / "nothing")
    file, directory = tmp_path / "file", tmp_path / "directory"
    file.write_text("mine")
    directory.mkdir()
    (directory / "note.txt").write_text("mine")
    for path in (file, directory):
        with pytest.raises(StorageError, match=str(path)):
            Replay.load(path)
        with pytest.raises(StorageError, match=str(path)):
            replay.save(path)
    (directory / "index.json").write_text("{broken")
    with pytest.raises(StorageError, match="is not JSON"):
        replay.save(directory)
    assert file.read_text() == (directory / "note.txt").read_text() == "mine"
    other = saved(tmp_path / "other")
    with pytest.raises(StorageError, match="another replay"):
        replay.save(tmp_path / "other")
    same(other, Replay.load(tmp_path / "other"))


def test_a_copy_does_not_overwrite_what_the_original_has_saved_since(tmp_path):
    replay = saved(tmp_path / "replay")
    fork = copy.deepcopy(replay)
    write(replay, 1, [1])
    replay.save(tmp_path / "replay")
    write(fork, 1, [2])
    with pytest.raises(StorageError, match="a later state"):
        fork.save(tmp_path / "replay")
    fork.save(tmp_path / "fork")
    same(fork, Replay.load(tmp_path / "fork"))
    same(replay, Replay.load(tmp_path / "replay"))


def test_metadata_must_be_json(tmp_path):
    replay = make()
    replay.env_kwargs = {"f": print}
    with pytest.raises(ValueError, match="env_kwargs is"):
        replay.save(tmp_path / "replay")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["save_tensors", "save_json"])
def test_an_exception_while_saving_leaves_the_old_state(tmp_path, monkeypatch, step):
    path = tmp_path / "replay"
    replay = saved(path)
    before = copy.deepcopy(replay)
    write(replay, 0, [4])
    calls, real = [], getattr(files, step)

    def failing(*arguments):
        calls.append(arguments)
        if step == "save_json" or len(calls) == 2:
            raise OSError("disk full")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(files, step, failing)
        with pytest.raises(OSError, match="disk full"):
            replay.save(path)
    same(before, Replay.load(path))
    replay.save(path)
    same(replay, Replay.load(path))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_killed_before_any_file_operation_leaves_the_old_state_or_the_new(tmp_path):
    start = tmp_path / "replay"
    replay = saved(start, capacity=15)
    old, new = copy.deepcopy(replay), replay
    write(new, 0, [4, 2])
    write(new, 1, [3])
    outcomes = []
    for deadline in range(100):
        path = tmp_path / f"replay-{deadline}"
        copy.deepcopy(old).save(path)  # has a revision of its own
        fork = Replay.load(path)
        write(fork, 0, [4, 2])
        write(fork, 1, [3])
        child = os.fork()
        if child == 0:
            try:
                die_at(deadline)
                fork.save(path)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        survivor = Replay.load(path)
        outcomes.append(len(survivor.episodes()) == len(new.episodes()) and survivor.num_steps == new.num_steps)
        same(survivor, new if outcomes[-1] else old)
        if not outcomes[-1]:
            fork.save(path)  # the remains are in nobody's way
        else:
            write(survivor, 0, [1])
            survivor.save(path)
        assert {file.name for file in path.iterdir()} == {
            "index.json", *(entry["file"] for entry in json.loads((path / "index.json").read_text())["chunks"])
        }  # fmt: skip
        if os.waitstatus_to_exitcode(status) == 0:
            break
    assert outcomes[0] is False
    assert outcomes[-1] is True
    assert len(outcomes) > 5
    assert outcomes == sorted(outcomes)


def die_at(deadline):
    """Exits without any cleaning up before the ``deadline``-th renaming or removing of a file."""
    count = iter(range(1000))
    for name in ("replace", "unlink"):
        real = getattr(os, name)

        def patched(*arguments, real=real, **kwargs):
            if next(count) == deadline:
                os._exit(9)
            return real(*arguments, **kwargs)

        setattr(os, name, patched)


def test_pickle_and_deepcopy(tmp_path):
    replay = saved(tmp_path / "replay", capacity=15)
    mapped = Replay.load(tmp_path / "replay", mmap=True)
    for clone in (pickle.loads(pickle.dumps(replay)), copy.deepcopy(replay), pickle.loads(pickle.dumps(mapped))):
        same(clone, replay)
        length = len(stream(replay, 0).first)
        write(clone, 0, [1])
        assert len(stream(replay, 0).first) == length
        assert stream(clone, 0).index[-1] != stream(replay, 0).index[-1]
