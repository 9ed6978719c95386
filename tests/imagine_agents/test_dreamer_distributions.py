"""Distributions over actions: densities, entropies, samples and their gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from torch.distributions import Categorical, Normal, TanhTransform, TransformedDistribution

from imagine_agents.dreamer.distributions import BoundedNormal, OneHot, TanhNormal, action_distribution

CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parameters(*shape: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    return scale * torch.randn(shape, generator=generator(seed))


def draw(distribution: Any, given: Tensor, count: int, seed: int = 1) -> Tensor:
    """``[count, …, A]`` samples."""
    noise = distribution.noise((count, *given.shape[:-1]), CPU, generator(seed))
    return distribution.sample(given.expand(count, *given.shape), noise)


# --- discrete ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uniform", [0.0, 0.01, 0.5])
def test_one_hot_is_a_categorical_mixed_with_the_uniform(uniform: float) -> None:
    distribution, given = OneHot(5, uniform), parameters(3, 4, 5)
    expected = Categorical(probs=(1 - uniform) * given.softmax(-1) + uniform / 5)
    torch.testing.assert_close(distribution.entropy(given), expected.entropy())
    for index in range(5):
        action = torch.eye(5)[index].expand(3, 4, 5)
        torch.testing.assert_close(distribution.log_prob(given, action), expected.log_prob(torch.tensor(index)))


def test_one_hot_samples_as_often_as_it_says() -> None:
    distribution, given = OneHot(4, 0.01), parameters(3, 4, scale=2.0)
    samples = draw(distribution, given, 20_000)
    assert set(samples.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(samples.sum(-1), torch.ones(20_000, 3))
    probability = 0.99 * given.softmax(-1) + 0.01 / 4
    error = (samples.mean(0) - probability).abs()
    assert (error < 4 * (probability * (1 - probability) / 20_000).sqrt()).all()


def test_the_uniform_share_keeps_every_action_possible() -> None:
    given = torch.tensor([500.0, 0.0, 0.0, 0.0])
    rare = OneHot(4, 0.01).log_prob(given, torch.eye(4)[1])
    assert float(rare) == pytest.approx(math.log(0.01 / 4))
    assert torch.isfinite(OneHot(4, 0.01).entropy(given))


def test_without_the_uniform_share_impossible_actions_are_no_nan() -> None:
    given = torch.tensor([[500.0, 0.0, 0.0], [-500.0, 500.0, 0.0]], requires_grad=True)
    distribution = OneHot(3, 0.0)
    total = distribution.entropy(given) + distribution.log_prob(given, torch.eye(3)[:2])
    torch.testing.assert_close(total, torch.zeros(2))
    total.sum().backward()
    assert torch.equal(given.grad, torch.zeros(2, 3))


def test_the_mode_of_one_hot_is_the_likeliest_action() -> None:
    given = parameters(6, 4)
    mode = OneHot(4, 0.01).sample(given, None)
    assert torch.equal(mode, torch.eye(4)[given.argmax(-1)])


def test_one_hot_samples_have_the_gradient_of_their_probabilities() -> None:
    distribution, weight = OneHot(4, 0.01), parameters(2, 4, seed=5)
    noise = distribution.noise((2,), CPU, generator())
    given = parameters(2, 4).requires_grad_()
    sample = distribution.sample(given, noise)
    assert torch.equal(sample.detach().sort(-1)[0][:, -1], torch.ones(2))
    (sample * weight).sum().backward()
    expected = given.detach().clone().requires_grad_()
    ((0.99 * expected.softmax(-1) + 0.01 / 4) * weight).sum().backward()
    torch.testing.assert_close(given.grad, expected.grad)
    assert float(given.grad.abs().min()) > 0


# --- V3's normal distribution -----------------------------------------------------------------------------------------


def moments(given: Tensor) -> tuple[Tensor, Tensor]:
    mean, raw = given.chunk(2, -1)
    return mean.tanh(), 0.1 + 0.9 / (1 + torch.exp(-(raw + 2)))


def test_bounded_normal_is_a_normal_of_bounded_moments() -> None:
    distribution, given = BoundedNormal(3), parameters(4, 2, 6)
    expected = Normal(*moments(given))
    action = parameters(4, 2, 3, seed=3)
    torch.testing.assert_close(distribution.log_prob(given, action), expected.log_prob(action).sum(-1))
    torch.testing.assert_close(distribution.entropy(given), expected.entropy().sum(-1))
    assert torch.equal(distribution.sample(given, None), given[..., :3].tanh())


def test_bounded_normal_stays_within_its_bounds() -> None:
    for size in (-50.0, 50.0):
        given = torch.full((2, 2), size)
        given[0, 0] = -size
        mean = BoundedNormal(1).sample(given, None)
        assert float(mean.abs().max()) == pytest.approx(1.0)
        std = torch.exp(BoundedNormal(1).entropy(given) - 0.5 * math.log(2 * math.pi * math.e))
        assert std.tolist() == pytest.approx([0.1 if size < 0 else 1.0] * 2)


def test_bounded_normal_samples_have_its_moments() -> None:
    distribution, given = BoundedNormal(2), parameters(3, 4)
    samples = draw(distribution, given, 20_000)
    mean, std = moments(given)
    assert ((samples.mean(0) - mean).abs() < 4 * std / math.sqrt(20_000)).all()
    assert ((samples.std(0) / std - 1).abs() < 4 / math.sqrt(2 * 20_000)).all()


def test_bounded_normal_samples_are_differentiable() -> None:
    distribution = BoundedNormal(2)
    noise = distribution.noise((3,), CPU, generator()).double()
    given = parameters(3, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: distribution.sample(p, noise), [given])


# --- V1's squashed normal distribution --------------------------------------------------------------------------------


def squashed(given: Tensor) -> TransformedDistribution:
    mean, raw = given.chunk(2, -1)
    std = torch.log1p(torch.exp(raw + math.log(math.exp(5) - 1))) + 1e-4
    return TransformedDistribution(Normal(5 * torch.tanh(mean / 5), std), [TanhTransform()])


def test_tanh_normal_has_the_density_of_a_squashed_normal() -> None:
    distribution = TanhNormal(3)
    given = parameters(4, 6)
    given[..., 3:] -= 5  # a standard deviation of about 0.6
    action = parameters(4, 3, seed=2).tanh() * 0.99
    torch.testing.assert_close(
        distribution.log_prob(given, action), squashed(given).log_prob(action).sum(-1), rtol=1e-4, atol=1e-4
    )


def test_the_density_of_tanh_normal_integrates_to_one() -> None:
    edges = torch.linspace(-1, 1, 200_001, dtype=torch.float64)
    middle = 0.5 * (edges[1:] + edges[:-1])
    for given in (torch.tensor([0.3, -5.0]), torch.tensor([-2.0, -6.0])):
        density = TanhNormal(1).log_prob(given.double(), middle[:, None]).exp()
        assert float(density.mean() * 2) == pytest.approx(1.0, abs=1e-4)


def test_tanh_normal_begins_with_a_standard_deviation_of_five() -> None:
    noise = torch.tensor([[0.1]])
    sample = TanhNormal(1).sample(torch.zeros(1, 2), noise)
    assert float(sample.atanh()) == pytest.approx(5 * 0.1, rel=1e-3)


def test_tanh_normal_samples_have_its_moments_and_bounds() -> None:
    distribution, given = TanhNormal(2), parameters(3, 4)
    given[..., 2:] -= 5
    samples = draw(distribution, given, 20_000)
    assert float(samples.abs().max()) < 1
    expected = squashed(given).base_dist
    before = samples.double().atanh()
    assert ((before.mean(0) - expected.mean).abs() < 4 * expected.stddev / math.sqrt(20_000)).all()
    assert ((before.std(0) / expected.stddev - 1).abs() < 4 / math.sqrt(2 * 20_000)).all()
    extreme = torch.tensor([[1e6, -1e6, 1e3, 1e3]])
    assert (draw(distribution, extreme, 1000).abs() <= 1).all()
    assert torch.equal(distribution.sample(extreme, None), torch.tensor([[5.0, -5.0]]).tanh())


def test_log_prob_of_tanh_normal_is_finite_at_the_bounds() -> None:
    value = TanhNormal(1).log_prob(torch.zeros(2, 2), torch.tensor([[1.0], [-1.0]]))
    assert torch.isfinite(value).all()


def test_the_entropy_of_tanh_normal_is_right_for_small_deviations() -> None:
    for mean, raw in ((0.0, -7.0), (0.7, -6.0), (-1.5, -6.0)):
        given = torch.tensor([mean, raw], dtype=torch.float64)
        base = squashed(given).base_dist
        x = torch.linspace(-8, 8, 100_001, dtype=torch.float64) * base.stddev + base.mean
        weight = torch.exp(base.log_prob(x))
        weight = weight / weight.sum()
        # E[−log p(a)], by numeric integration over what is squashed
        exact = -(weight * (base.log_prob(x) - torch.log1p(-x.tanh().square()))).sum()
        assert float(TanhNormal(1).entropy(given)) == pytest.approx(float(exact), abs=0.01)


def test_tanh_normal_samples_are_differentiable() -> None:
    distribution = TanhNormal(2)
    noise = distribution.noise((3,), CPU, generator()).double()
    given = (parameters(3, 4) - torch.tensor([0.0, 0.0, 5.0, 5.0])).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: distribution.sample(p, noise), [given])


# --- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", [OneHot(3, 0.01), BoundedNormal(2), TanhNormal(2)])
def test_noise_is_that_of_the_generator_alone(distribution: Any) -> None:
    first, second = (distribution.noise((5, 4), CPU, generator(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, distribution.noise((5, 4), CPU, generator(8)))
    given = parameters(5, 4, distribution.parameters)
    sample = distribution.sample(given, first)
    assert torch.equal(sample, distribution.sample(given, second))
    for t in range(5):  # what is drawn for a sequence at once is used step by step
        assert torch.equal(distribution.sample(given[t], first[t]), sample[t])
    assert sample.shape[:2] == distribution.log_prob(given, sample).shape == distribution.entropy(given).shape == (5, 4)


def test_each_preset_has_its_distribution() -> None:
    discrete, box = spaces.Discrete(4, start=2), spaces.Box(-1, 3, (2, 3), np.float32)
    for preset, uniform, family in (("v3", 0.01, BoundedNormal), ("v1", 0.0, TanhNormal)):
        one_hot = action_distribution(discrete, preset)
        assert isinstance(one_hot, OneHot)
        assert one_hot.parameters == 4
        probability = one_hot.log_prob(torch.tensor([100.0, 0, 0, 0]), torch.eye(4)[1]).exp()
        assert float(probability) == pytest.approx(uniform / 4)
        continuous = action_distribution(box, preset)
        assert isinstance(continuous, family)
        assert continuous.parameters == 12


@pytest.mark.parametrize(
    "space", [spaces.Box(-np.inf, 1, (2,), np.float32), spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(3)]
)
def test_other_spaces_are_refused(space: spaces.Space[Any]) -> None:
    with pytest.raises(ValueError, match="Dreamer needs Discrete actions or a Box with finite bounds"):
        action_distribution(space, "v3")
