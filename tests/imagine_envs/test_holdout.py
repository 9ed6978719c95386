from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from imagine_envs.experience import Batch, Replay
from imagine_envs.world_models.holdout import Split, split

CPU = torch.device("cpu")


def replay_of(*lengths: int, capacity: int | None = None) -> Replay:
    """One stream for each of ``lengths`` records, in episodes of four steps; observations are the records' numbers."""
    streams = len(lengths)
    replay = Replay(
        spaces.Box(-1, 10_000, (1,), np.float64),
        spaces.Discrete(2),
        num_envs=streams,
        capacity=capacity,
        chunk_length=7,
    )
    for env, length in enumerate(lengths):
        clock = np.arange(length) % 5
        zeros = np.zeros(length, bool)
        number = np.arange(length) * streams + env
        replay.extend(number[:, None], clock % 2, clock / 4, clock == 4, zeros, clock == 0, env=env)
    return replay


def epoch(data: Split, batch_size: int = 8, seed: int = 0) -> list[Batch]:
    return list(data.epoch(batch_size, torch.Generator().manual_seed(seed)))


def records(batches: list[Batch]) -> set[int]:
    return {int(number) for batch in batches for number in batch.index.flatten()}


REPLAYS = {
    "one stream": replay_of(101),
    "several streams": replay_of(60, 23, 4, 47),
    "ring": replay_of(90, 61, 10, 95, capacity=160),
    "cut in an episode": replay_of(97, capacity=63),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("length", [3, 5, 8])
@pytest.mark.parametrize("name", REPLAYS)
def test_no_record_is_both_learned_from_and_held_out(name: str, length: int, fraction: float, seed: int) -> None:
    replay = REPLAYS[name]
    data = split(replay, length, fraction, seed, CPU)
    held_out = data.validation
    grid = replay.sequences(length).index
    assert held_out.shape == (round(fraction * len(grid)), length)
    assert data.training_size == len(grid) - len(held_out.first)
    assert len(held_out.index.unique()) == held_out.index.numel()  # nor is one held out twice
    assert {tuple(row) for row in held_out.index.tolist()} <= {tuple(row) for row in grid.tolist()}

    judged = records([held_out])
    allowed = {
        tuple(window) for window in replay.sequences(length, stride=1).index.tolist() if not judged & set(window)
    }
    shown: set[tuple[int, ...]] = set()
    generator = torch.Generator().manual_seed(seed)
    while len(shown) < len(allowed):  # every window that overlaps nothing held out is drawn sooner or later
        for batch in data.epoch(16, generator):
            assert not judged & records([batch])
            assert torch.equal(batch.observation[..., 0], batch.index.float())  # type: ignore[index]
            shown |= {tuple(row) for row in batch.index.tolist()}
        assert shown <= allowed


@pytest.mark.parametrize("batch_size", [1, 4, 7, 1000])
def test_an_epoch_is_as_many_windows_as_lie_side_by_side(batch_size: int) -> None:
    data = split(replay_of(60, 23, 4, 47), 5, 0.2, 0, CPU)
    assert data.training_size == 12 + 4 + 9 - 5
    sizes = [len(batch.first) for batch in epoch(data, batch_size)]
    assert sum(sizes) == data.training_size
    assert all(size == batch_size for size in sizes[:-1])


@pytest.mark.parametrize("length", [2, 5])
def test_the_seed_decides_the_split_and_the_generator_the_order(length: int) -> None:
    replay = REPLAYS["several streams"]
    one, same, other = (split(replay, length, 0.3, seed, CPU) for seed in (0, 0, 1))
    assert torch.equal(one.validation.index, same.validation.index)
    assert not torch.equal(one.validation.index.sort(0).values, other.validation.index.sort(0).values)
    orders = [torch.cat([batch.index for batch in epoch(data, seed=s)]) for data, s in ((one, 3), (same, 3), (one, 4))]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.cat([batch.index for batch in one.epoch(8, generator)]) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", REPLAYS)
def test_every_transition_is_held_out_or_shown_once_an_epoch(name: str) -> None:
    replay = REPLAYS[name]
    data = split(replay, 2, 0.25, 0, CPU)
    held_out = round(0.25 * replay.num_transitions)
    assert data.validation.shape == (held_out, 2)
    assert data.training_size == replay.num_transitions - held_out
    steps = torch.cat([batch.index[:, 1] for batch in epoch(data)])
    assert not any(batch.first[:, 1].any() for batch in epoch(data))
    expected = replay.transitions().index[:, 1]
    assert torch.equal(torch.cat([steps, data.validation.index[:, 1]]).sort().values, expected.sort().values)


@pytest.mark.parametrize(
    ("lengths", "length", "fraction", "message"),
    [
        ((12,), 8, 0.5, "1 windows of 8 records leave 1 for training and 0 held out"),
        ((40,), 8, 0.01, "5 windows of 8 records leave 5 for training and 0 held out"),
        ((40,), 8, 0.95, "5 windows of 8 records leave 0 for training and 5 held out"),
        ((2,), 2, 0.5, "1 windows of 2 records leave 1 for training and 0 held out"),
        ((7, 5), 8, 0.5, "length is 8, but the longest of 2 streams has 7 records"),
    ],
)
def test_too_little_data_is_refused(lengths: tuple[int, ...], length: int, fraction: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split(replay_of(*lengths), length, fraction, 0, CPU)


def test_two_windows_are_enough() -> None:
    data = split(replay_of(8, 9), 8, 0.5, 0, CPU)
    assert data.training_size == 1
    assert len(data.validation.first) == 1
    assert {int(n) % 2 for n in records(epoch(data))} != {int(n) % 2 for n in data.validation.index.flatten()}
