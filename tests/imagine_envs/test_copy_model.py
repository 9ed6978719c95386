import numpy as np
import pytest
import torch
from gymnasium import spaces

from imagine_envs.experience.replay import Replay
from imagine_envs.world_models.copy_model import CopyModel

ACTIONS = spaces.Discrete(3)
IMAGE = spaces.Box(0, 255, (8, 8, 3), np.uint8)
VECTOR = spaces.Box(-2.0, 2.0, (3,), np.float64)
SPACES = {
    "vector": VECTOR,
    "image": IMAGE,
    "dict": spaces.Dict({"camera": IMAGE, "joint.angles": VECTOR}),
}


def observations(space: spaces.Space, count: int):
    space.seed(0)
    rows = [space.sample() for _ in range(count)]
    if isinstance(space, spaces.Dict):
        return {key: tensor(np.stack([row[key] for row in rows])) for key in space.spaces}
    return tensor(np.stack(rows))


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float64 else array)


def replay_of(reward: list[float], terminated: list[bool], first: list[bool]) -> Replay:
    replay = Replay(VECTOR, ACTIONS)
    for record in zip(reward, terminated, first, strict=True):
        replay.add(
            observation=np.zeros((1, 3)),
            action=np.zeros(1, dtype=np.int64),
            reward=np.array([record[0]]),
            terminated=np.array([record[1]]),
            truncated=np.zeros(1, dtype=bool),
            first=np.array([record[2]]),
        )
    return replay


@pytest.mark.parametrize("name", SPACES)
def test_nothing_changes(name):
    model = CopyModel(SPACES[name], ACTIONS)
    seen = observations(SPACES[name], 4)
    first = torch.ones(4, dtype=torch.bool)
    state = model.observe(model.initial(4), torch.zeros(4, dtype=torch.long), seen, first)
    after, prediction = model.imagine(state, torch.tensor([0, 1, 2, 0]), temperature=0.5)
    assert state.keys() == after.keys() == model.initial(4).keys()
    for key, value in model.initial(4).items():
        assert (value.shape, value.dtype) == (state[key].shape, state[key].dtype)
        assert torch.equal(after[key], state[key])
    decoded = model.decode(after)
    if isinstance(seen, dict):
        assert all(torch.equal(decoded[key], seen[key]) for key in seen)
        assert set(state) == {"observation.camera", "observation.joint.angles"}
    else:
        assert torch.equal(decoded, seen)
        assert set(state) == {"observation"}
    assert prediction.reward.shape == prediction.terminated.shape == (4,)
    assert prediction.reward.dtype == prediction.terminated.dtype == torch.float32


def test_a_later_observation_replaces_the_first():
    model = CopyModel(VECTOR, ACTIONS)
    seen = observations(VECTOR, 2)
    state = model.observe(model.initial(1), torch.zeros(1).long(), seen[:1], torch.tensor([True]))
    state = model.observe(state, torch.zeros(1).long(), seen[1:], torch.tensor([False]))
    assert torch.equal(state["observation"], seen[1:])


def test_images_stay_bytes_and_their_features_lie_between_0_and_1():
    model = CopyModel(SPACES["dict"], ACTIONS)
    seen = {"camera": torch.full((2, 8, 8, 3), 255, dtype=torch.uint8), "joint.angles": torch.full((2, 3), -1.5)}
    state = model.observe(model.initial(2), torch.zeros(2).long(), seen, torch.tensor([True, True]))
    assert state["observation.camera"].dtype == torch.uint8
    features = model.features(state)
    assert features.dtype == torch.float32
    assert features.shape == (2, 8 * 8 * 3 + 3)
    assert features[0].unique().tolist() == [-1.5, 1.0]


def test_reward_and_termination_are_the_means_over_real_steps():
    model = CopyModel(VECTOR, ACTIONS)
    # Two episodes: three steps that terminate, and one that does not. Resets carry neither reward nor termination.
    replay = replay_of(
        [0.0, 1.0, 2.0, 6.0, 0.0, -1.0],
        [False, False, False, True, False, False],
        [True, False, False, False, True, False],
    )
    model.prepare(replay)
    _, prediction = model.imagine(model.initial(3), torch.zeros(3, dtype=torch.long))
    assert prediction.reward.tolist() == [2.0] * 3
    assert prediction.terminated.tolist() == [0.25] * 3
    assert set(model.state_dict()) == {"reward", "terminated"}
    again = CopyModel(VECTOR, ACTIONS, **model.hyperparameters())
    again.load_state_dict(model.state_dict())
    assert again.imagine(again.initial(1), torch.zeros(1).long())[1].reward.tolist() == [2.0]


def test_all_data_counts_when_it_is_read_in_parts(monkeypatch):
    monkeypatch.setattr("imagine_envs.world_models.copy_model._AT_A_TIME", 2)
    model = CopyModel(VECTOR, ACTIONS)
    model.prepare(replay_of([0.0, 1.0, 2.0, 3.0, 4.0, 10.0], [False] * 5 + [True], [True] + [False] * 5))
    assert model.reward.item() == 4.0
    assert model.terminated.item() == pytest.approx(0.2)


def test_a_replay_without_steps_is_refused():
    with pytest.raises(ValueError, match="no transition"):
        CopyModel(VECTOR, ACTIONS).prepare(replay_of([0.0], [False], [True]))


def test_protocol_and_refusals():
    model = CopyModel(VECTOR, ACTIONS)
    assert (model.family, model.markov, model.can_decode) == ("copy", True, True)
    assert (model.can_learn, model.has_uncertainty) == (False, False)
    assert all(buffer.is_floating_point() for buffer in model.buffers())
    with pytest.raises(ValueError, match="uncertainty=True"):
        model.imagine(model.initial(1), torch.zeros(1).long(), uncertainty=True)
    for space in (spaces.Discrete(3), spaces.Dict({"inner": spaces.Dict({"deep": VECTOR})}), spaces.Tuple([VECTOR])):
        with pytest.raises(ValueError, match="a Box or a Dict of Boxes was expected"):
            CopyModel(space, ACTIONS)
