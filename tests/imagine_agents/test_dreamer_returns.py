"""λ-returns, and the range that they are scaled by."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from imagine_agents.dreamer.returns import ReturnRange, lambda_returns


def n_step(reward: Tensor, going_on: Tensor, value: Tensor, t: int, n: int) -> Tensor:
    """r_{t+1} + d_{t+1} r_{t+2} + … + d_{t+1} … d_{t+n} v_{t+n}; index 0 of the arguments is the state 1."""
    total, discount = torch.zeros_like(reward[0]), torch.ones_like(reward[0])
    for k in range(t, t + n):
        total = total + discount * reward[k]
        discount = discount * going_on[k]
    return total + discount * value[t + n - 1]


def mixture(reward: Tensor, going_on: Tensor, value: Tensor, lam: Tensor) -> Tensor:
    """The definition: n-step returns, of which the n-th goes on to the next with λ of the state that it ends in."""
    length, returns = len(reward), []
    for t in range(length):
        total, share = torch.zeros_like(reward[0]), torch.ones_like(reward[0])
        for n in range(1, length - t + 1):
            last = n == length - t
            stops = torch.ones_like(share) if last else 1 - lam[t + n - 1]
            total = total + share * stops * n_step(reward, going_on, value, t, n)
            share = share * lam[t + n - 1]
        returns.append(total)
    return torch.stack(returns)


def sequences(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    reward, value = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return reward, torch.rand(shape, generator=generator, dtype=torch.float64), value


@pytest.mark.parametrize("shape", [(1,), (2, 3), (7, 4), (5, 2, 3)])
@pytest.mark.parametrize("lam", [0.0, 0.3, 0.95, 1.0])
def test_lambda_returns_are_the_mixture_of_n_step_returns(shape: tuple[int, ...], lam: float) -> None:
    reward, going_on, value = sequences(*shape)
    returns = lambda_returns(reward, going_on, value, lam)
    assert returns.shape == shape
    expected = mixture(reward, going_on, value, torch.full(shape, lam, dtype=torch.float64))
    torch.testing.assert_close(returns, expected, rtol=1e-12, atol=1e-12)


def test_each_step_may_have_a_lambda_of_its_own() -> None:
    reward, going_on, value = sequences(8, 5)
    lam = torch.rand(8, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    lam[3, :2], lam[5, 1:3] = 0.0, 1.0
    expected = mixture(reward, going_on, value, lam)
    torch.testing.assert_close(lambda_returns(reward, going_on, value, lam), expected, rtol=1e-12, atol=1e-12)


def test_lambda_0_is_one_step_and_lambda_1_sees_nothing_but_the_last_value() -> None:
    reward, going_on, value = sequences(6, 2)
    torch.testing.assert_close(lambda_returns(reward, going_on, value, 0.0), reward + going_on * value)
    returns = lambda_returns(reward, going_on, value, 1.0)
    torch.testing.assert_close(returns[0], n_step(reward, going_on, value, 0, 6))
    other = value.clone()
    other[:-1] = 100.0
    assert torch.equal(lambda_returns(reward, going_on, other, 1.0), returns)


def test_nothing_passes_a_termination() -> None:
    reward, going_on, value = sequences(7, 3)
    going_on[3] = 0.0  # the state 4 is terminal
    returns = lambda_returns(reward, going_on, value, 0.9)
    torch.testing.assert_close(returns[3], reward[3])
    later_reward, later_value = reward.clone(), value.clone()
    later_reward[4:], later_value[3:] = 100.0, 100.0  # what follows, and the terminal state's own value
    assert torch.equal(lambda_returns(later_reward, going_on, later_value, 0.9)[:4], returns[:4])
    torch.testing.assert_close(returns, mixture(reward, going_on, value, torch.full_like(reward, 0.9)))


def test_lambda_0_where_a_sequence_is_cut_bootstraps_there() -> None:
    reward, going_on, value = sequences(6)
    lam = torch.full_like(reward, 0.9)
    lam[2] = 0.0
    returns = lambda_returns(reward, going_on, value, lam)
    torch.testing.assert_close(returns[:3], lambda_returns(reward[:3], going_on[:3], value[:3], 0.9))


def test_worked_by_hand() -> None:
    reward, going_on, value = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.5, 0.5]), torch.tensor([4.0, 8.0, 16])
    # R_2 = 3 + ½ · 16 = 11; R_1 = 2 + ½ (½ · 8 + ½ · 11) = 6.75; R_0 = 1 + ½ (½ · 4 + ½ · 6.75) = 3.6875
    assert lambda_returns(reward, going_on, value, 0.5).tolist() == [3.6875, 6.75, 11.0]


def test_gradients_flow_to_rewards_discounts_and_values() -> None:
    inputs = [tensor.requires_grad_() for tensor in sequences(4, 2)]
    assert torch.autograd.gradcheck(lambda *args: lambda_returns(*args, 0.7), inputs)


def test_the_range_is_that_of_the_middle_90_percent() -> None:
    scale = ReturnRange()
    assert scale.scale == 1.0  # nothing was seen
    returns = torch.arange(101.0).reshape(101, 1)
    scale.update(returns[torch.randperm(101, generator=torch.Generator().manual_seed(0))])
    assert float(scale.scale) == pytest.approx(90.0)  # 95 − 5, at once: the average does not begin at zero
    scale.update(returns + 1000)
    assert float(scale.scale) == pytest.approx(90.0, abs=1e-3)


def test_the_range_is_a_moving_average() -> None:
    scale = ReturnRange(rate=0.01)
    low, high, weight = 0.0, 0.0, 0.0
    for size in (10.0, 100.0, 100.0, 3.0):
        scale.update(torch.linspace(0, size, 201))
        low, high, weight = (
            0.99 * old + 0.01 * new for old, new in ((low, 0.05 * size), (high, 0.95 * size), (weight, 1))
        )
    assert float(scale.scale) == pytest.approx((high - low) / weight, rel=1e-5)


def test_small_returns_are_not_enlarged() -> None:
    scale = ReturnRange()
    scale.update(torch.linspace(-0.2, 0.2, 50))
    assert float(scale.scale) == 1.0


def test_the_range_has_no_gradient_and_is_saved() -> None:
    scale = ReturnRange()
    scale.update(torch.linspace(0, 50, 30).requires_grad_())
    assert not scale.scale.requires_grad
    state: dict[str, Any] = scale.state_dict()
    other = ReturnRange()
    other.load_state_dict(state)
    for each in (scale, other):
        each.update(torch.linspace(0, 7, 30))
    assert torch.equal(other.scale, scale.scale)
