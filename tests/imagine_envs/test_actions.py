from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from imagine_envs.world_models.actions import ActionEncoder

MIXED = spaces.Box(
    np.array([[-2, 0, -np.inf], [0, -np.inf, 5]], np.float32), np.array([[2, 10, np.inf], [np.inf, 1, 5]], np.float32)
)
LARGEST = float(np.finfo(np.float32).max)


@pytest.mark.parametrize("start", [0, 3, -2, -9])
def test_discrete_actions_are_one_hot_in_their_own_numbering(start: int) -> None:
    encoder = ActionEncoder(spaces.Discrete(4, start=start))
    actions = torch.arange(4) + start
    assert encoder.width == 4
    assert torch.equal(encoder(actions), torch.eye(4))
    assert encoder(actions).dtype == torch.float32
    assert torch.equal(encoder.decode(encoder(actions)), actions)
    assert encoder.decode(encoder(actions)).dtype == torch.int64
    assert encoder(actions.reshape(2, 2)).shape == (2, 2, 4)
    assert torch.equal(encoder.decode(encoder(actions.reshape(2, 2))), actions.reshape(2, 2))
    assert encoder.bounded.tolist() == [True] * 4


@pytest.mark.parametrize("start", [0, 1, 3, -2, -3, -9])
def test_the_zero_action_of_a_reset_can_be_encoded_whatever_the_space(start: int) -> None:
    encoded = ActionEncoder(spaces.Discrete(3, start=start))(torch.zeros(2, 5, dtype=torch.int64))
    assert encoded.shape == (2, 5, 3)


def test_bounded_entries_are_brought_to_one_and_the_others_are_left_alone() -> None:
    encoder = ActionEncoder(MIXED)
    assert encoder.width == 6
    assert encoder.bounded.tolist() == [True, True, False, False, False, False]
    actions = torch.tensor([[[-2, 0, -7], [3, 1, 5]], [[2, 10, 7], [0, -4, 5]], [[1, 2.5, 0], [9, 0, 5]]]).float()
    expected = torch.tensor([[-1, -1, -7, 3, 1, 5], [1, 1, 7, 0, -4, 5], [0.5, -0.5, 0, 9, 0, 5]])
    assert torch.allclose(encoder(actions), expected)
    assert torch.allclose(encoder.decode(expected), actions)
    assert encoder.decode(expected).shape == (3, 2, 3)
    twice = actions.expand(4, 3, 2, 3)
    assert encoder(twice).shape == (4, 3, 6)
    assert torch.equal(encoder(twice)[2], encoder(actions))
    assert encoder.decode(encoder(twice)).shape == (4, 3, 2, 3)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (3,)),
        spaces.Box(-2, 5, (2, 2), np.float64),
        spaces.Box(0, 255, (3,), np.uint8),
        spaces.Box(-3, 3, (), np.float32),
        spaces.Box(-1e-6, 1e-6, (1,)),
        spaces.Box(-LARGEST, LARGEST, (2,)),  # as good as without bounds: their distance is no float
        spaces.Box(-LARGEST, 0.4 * LARGEST, (2,)),
    ],
    ids=str,
)
def test_decoding_undoes_encoding(space: spaces.Box) -> None:
    encoder = ActionEncoder(space)
    space.seed(0)
    actions = torch.from_numpy(np.stack([np.asarray(space.sample()) for _ in range(20)]))
    encoded = encoder(actions)
    assert encoded.shape == (20, math.prod(space.shape))
    assert encoded.dtype == torch.float32
    assert encoded.isfinite().all()
    if encoder.bounded.all():
        assert (encoded.abs() <= 1 + 1e-5).all()
    decoded = encoder.decode(encoded)
    assert decoded.shape == actions.shape
    assert torch.allclose(decoded.double(), actions.double(), rtol=1e-4, atol=1e-5)
    ends = torch.tensor(np.stack([space.low, space.high]))
    if encoder.bounded.all():
        assert torch.allclose(encoder(ends), torch.tensor([[-1.0], [1.0]]).expand(2, encoder.width), atol=1e-6)


def test_gradients_flow_through_box_actions() -> None:
    action = torch.zeros(1, 1, requires_grad=True)
    ActionEncoder(spaces.Box(-4, 4, (1,)))(action).sum().backward()
    assert action.grad is not None
    assert action.grad.item() == pytest.approx(0.25)


def test_its_scale_is_no_weight_and_moves_with_the_module() -> None:
    encoder = ActionEncoder(spaces.Box(-4, 4, (1,)))
    assert encoder.state_dict() == {}
    assert copy.deepcopy(encoder).to(torch.float64).scale.dtype == torch.float64


@pytest.mark.parametrize("space", [spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2), spaces.Text(3)], ids=str)
def test_other_spaces_are_refused(space: spaces.Space) -> None:
    with pytest.raises(ValueError, match="cannot be encoded: Discrete or Box was expected"):
        ActionEncoder(space)
