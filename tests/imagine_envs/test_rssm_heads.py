from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor

from imagine_envs.world_models.rssm.heads import GaussianHead, TwoHotHead
from imagine_envs.world_models.rssm.networks import MLP, Norm, linear, symexp, symlog

LIMIT = math.expm1(20)


def head() -> TwoHotHead:
    torch.manual_seed(0)
    return TwoHotHead(MLP(3, 8, 1, "silu", True))


def two_hot(target: float, bins: list[float]) -> list[float]:
    """The target shared out between its neighbours, bin by bin."""
    target = min(max(target, bins[0]), bins[-1])
    shares = [0.0] * len(bins)
    for i in range(len(bins) - 1):
        if bins[i] <= target <= bins[i + 1]:
            shares[i + 1] = (target - bins[i]) / (bins[i + 1] - bins[i])
            shares[i] = 1 - shares[i + 1]
            return shares
    raise AssertionError(target)


def in_columns(model: TwoHotHead, by_bin: Tensor) -> Tensor:
    """``[…, 255]`` of the bins from the least to the largest, as the head's columns."""
    columns = torch.empty_like(by_bin)
    columns[..., model.columns] = by_bin
    return columns


# --- symlog ---------------------------------------------------------------------------------------------------------


def test_symlog_and_symexp_by_hand() -> None:
    values = torch.tensor([0.0, 1.0, -1.0, math.e - 1, -(math.e**3 - 1), 1e-4])
    expected = torch.tensor([0.0, math.log(2), -math.log(2), 1.0, -3.0, math.log1p(1e-4)])
    assert torch.allclose(symlog(values), expected, rtol=1e-6)
    assert torch.allclose(symexp(expected), values, rtol=1e-5)


def test_symlog_and_symexp_are_inverse() -> None:
    values = torch.cat([torch.logspace(-8, 8, 200, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    values = torch.cat([values, -values])
    assert torch.allclose(symexp(symlog(values)), values, rtol=1e-12, atol=0)
    small = torch.linspace(-20, 20, 101, dtype=torch.float64)
    assert torch.allclose(symlog(symexp(small)), small, rtol=1e-12)
    assert torch.allclose(symexp(symlog(values.float())), values.float(), rtol=1e-4, atol=0)


# --- two-hot --------------------------------------------------------------------------------------------------------


def test_the_bins_stand_exponentially_apart() -> None:
    expected = symexp(torch.linspace(-20, 20, 255, dtype=torch.float64))
    bins = head().bins
    assert bins.shape == (255,)
    assert torch.allclose(bins.double(), expected, rtol=1e-5, atol=1e-7)
    assert bins[127] == 0
    assert torch.equal(bins, -bins.flip(0))
    assert (bins.diff() > 0).all()


def test_nothing_learned_predicts_exactly_zero() -> None:
    model = head()
    parameters = model(1e3 * torch.randn(50, 3))
    assert parameters.shape == (50, 255)
    assert (model.mean(parameters) == 0).all()
    # Even where the zeros stand beside other numbers that cancel out.
    assert (model.mean(torch.full((4, 255), -7.25)) == 0).all()


@pytest.mark.parametrize("target", [0.0, 1.0, -1.0, 0.05, -0.3, 12.5, -987.6, 3e5, -4.4e8])
def test_the_mean_of_a_targets_two_hot_is_the_target(target: float) -> None:
    model = head()
    shares = two_hot(target, model.bins.tolist())
    assert sum(share > 0 for share in shares) <= 2
    parameters = in_columns(model, torch.tensor(shares).log())  # −∞ where there is nothing
    assert model.mean(parameters).item() == pytest.approx(target, rel=1e-5, abs=1e-6)


def test_the_mean_is_that_of_the_bins() -> None:
    model = head()
    parameters = torch.randn(20, 255, generator=torch.Generator().manual_seed(0)) * 3
    parameters[:, 110:150] += 25  # otherwise the outermost bins alone decide
    expected = (parameters.double().softmax(-1) * model.bins.double()).sum(-1)
    found = model.mean(in_columns(model, parameters)).double()
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-3)
    lone = torch.full((255, 255), -torch.inf).fill_diagonal_(0)
    assert torch.equal(model.mean(in_columns(model, lone)), model.bins)


def test_the_loss_against_a_dense_two_hot_target() -> None:
    model = head()
    bins: list[float] = model.bins.tolist()
    targets = [0.0, 0.01, -0.01, 1.0, -2.5, 321.0, -4e5, bins[3], bins[127], bins[128], bins[200], bins[0], bins[-1]]
    parameters = torch.randn(len(targets), 255, generator=torch.Generator().manual_seed(0))
    dense = torch.tensor([two_hot(target, bins) for target in targets])
    expected = -(dense * parameters.log_softmax(-1)).sum(-1)
    found = model.loss(in_columns(model, parameters), torch.tensor(targets))
    assert torch.allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("target", [LIMIT, 1e9, 1e30, math.inf])
@pytest.mark.parametrize("sign", [1, -1])
def test_targets_beyond_the_bins_are_the_outermost_bin(target: float, sign: int) -> None:
    model = head()
    parameters = torch.randn(255, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = model.loss(in_columns(model, parameters), torch.tensor(sign * target))
    assert loss.item() == pytest.approx(-parameters.log_softmax(-1)[-1 if sign > 0 else 0].item(), rel=1e-4)
    loss.backward()
    assert parameters.grad is not None
    assert parameters.grad.isfinite().all()


def test_the_size_of_the_gradient_does_not_depend_on_the_targets() -> None:
    model = head()
    norms = []
    for target in (0.5, 50.0, 5e4, 5e7):
        parameters = torch.zeros(255, requires_grad=True)
        model.loss(parameters, torch.tensor(target)).backward()
        assert parameters.grad is not None
        norms.append(parameters.grad.norm().item())
    # p − two-hot: between one target bin (≈ 1) and two equal ones (≈ 1/√2), whatever the target.
    assert min(norms) > 0.7
    assert max(norms) < 1.01


def test_the_gradient_is_that_of_the_cross_entropies() -> None:
    model = head()
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(2, 3, 255, generator=generator).requires_grad_()
    weight, one, other = (torch.randn(2, 3, generator=generator) for _ in range(3))
    one[0, 0] = other[0, 0] = 7.7  # twice the same
    (weight * model.loss(in_columns(model, found), one, other)).sum().backward()

    by_hand = found.detach().clone().requires_grad_()
    bins: list[float] = model.bins.tolist()
    dense = torch.tensor([[two_hot(float(x), bins) for x in targets.flatten()] for targets in (one, other)])
    log_probability = by_hand.log_softmax(-1)
    (-weight[..., None] * dense.sum(0).unflatten(0, (2, 3)) * log_probability).sum().backward()
    torch.testing.assert_close(found.grad, by_hand.grad)


def test_descending_the_loss_leads_to_the_mean_of_the_targets() -> None:
    model = head()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    features, targets = torch.ones(2, 3), torch.tensor([10.0, 30.0])
    for _ in range(300):
        optimizer.zero_grad()
        model.loss(model(features), targets).mean().backward()
        optimizer.step()
    assert model.mean(model(features[0])).item() == pytest.approx(20, rel=0.02)


def test_any_shape_and_any_stride_without_a_warning() -> None:
    model = head()
    parameters = model(torch.randn(4, 5, 3))
    target = torch.randn(5, 4).T
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = model.loss(parameters, target)
    assert model.mean(parameters).shape == loss.shape == (4, 5)
    assert torch.equal(loss, model.loss(parameters, target.contiguous()))


# --- Gaussian -------------------------------------------------------------------------------------------------------


def test_the_gaussian_head_by_hand() -> None:
    model = GaussianHead(MLP(3, 8, 2, "elu", False))
    parameters = torch.tensor([[1.0], [-2.0]])
    assert model.mean(parameters).tolist() == [1.0, -2.0]
    assert model.loss(parameters, torch.tensor([3.0, -2.0])).tolist() == [2.0, 0.0]
    assert model.loss(parameters, torch.tensor([3.0, -2.0]), torch.tensor([2.0, 0.0])).tolist() == [2.5, 2.0]
    assert model(torch.randn(4, 5, 3)).shape == (4, 5, 1)
    assert model(torch.randn(64, 3)).std() > 0.1  # it is no head that begins at zero


# --- layers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "fan_in"), [(1.0, None), (1.0, 1000), (2.0, None)])
def test_initial_weights_have_the_variance_that_was_asked_for(scale: float, fan_in: int | None) -> None:
    torch.manual_seed(0)
    layer = linear(400, 300, scale=scale, fan_in=fan_in)
    std = scale / math.sqrt(fan_in or 400)
    assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
    assert layer.weight.abs().max() <= 2.0001 * std / 0.87962566
    assert (layer.bias == 0).all()
    assert (linear(4, 3, scale=0.0).weight == 0).all()
    assert linear(4, 3, bias=False).bias is None


def test_an_mlp_by_hand() -> None:
    torch.manual_seed(0)
    mlp = MLP(3, 5, 2, "relu", True)
    inputs: Tensor = torch.randn(7, 3)
    hidden = inputs
    for layer in mlp.linears:
        hidden = hidden @ layer.weight.T + layer.bias  # type: ignore[operator]
        hidden = (hidden - hidden.mean(-1, keepdim=True)) / (hidden.var(-1, keepdim=True, unbiased=False) + 1e-3).sqrt()
        hidden = hidden.clamp_min(0)
    assert torch.allclose(mlp(inputs), hidden, atol=1e-6)
    assert mlp.width == 5
    none = MLP(3, 5, 0, "relu", True)
    assert none.width == 3
    assert torch.equal(none(inputs), inputs)
    assert not any(isinstance(layer, Norm) for layer in MLP(3, 5, 2, "elu", False).modules())
