from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Normal, kl_divergence

from imagine_envs.world_models.rssm.latents import CategoricalLatent, GaussianLatent, Latent

CPU = torch.device("cpu")
LATENTS = [GaussianLatent(3), CategoricalLatent(3, 4), CategoricalLatent(2, 2), CategoricalLatent(4, 3)]


def ids(latent: Latent) -> str:
    return f"{type(latent).__name__}-{latent.width}"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def raw(std: float) -> float:
    """What softplus(·) + 0.1 makes ``std`` of."""
    return math.log(math.expm1(std - 0.1))


# --- Gaussian -------------------------------------------------------------------------------------------------------


def test_gaussian_divergence_worked_by_hand() -> None:
    posterior = torch.tensor([[1.0, 3.0, raw(2.0), raw(0.5)]])  # N(1, 2²), N(3, ½²)
    prior = torch.tensor([[0.0, 5.0, raw(1.0), raw(4.0)]])  # N(0, 1), N(5, 4²)
    # Each: log σ_q/σ_p + (σ_p² + (μ_p − μ_q)²) / 2σ_q² − ½.
    one = math.log(1 / 2) + (4 + 1) / 2 - 0.5
    two = math.log(4 / 0.5) + (0.25 + 4) / 32 - 0.5
    latent = GaussianLatent(2)
    assert latent.divergence(posterior, prior).tolist() == [pytest.approx(one + two, rel=1e-5)]
    assert latent.divergence(prior, prior).tolist() == [0]
    assert latent.divergence(prior, posterior).item() != pytest.approx(one + two, rel=0.1)  # it has a direction


def test_gaussian_samples_are_mean_and_scaled_noise() -> None:
    latent = GaussianLatent(2)
    parameters = torch.tensor([1.0, -3.0, raw(2.0), raw(0.5)])
    noise = torch.tensor([0.5, -1.0])
    assert torch.allclose(latent.sample(parameters, noise), torch.tensor([2.0, -3.5]))
    assert torch.allclose(latent.sample(parameters, noise, 0.5), torch.tensor([1.5, -3.25]))
    for mode in (latent.sample(parameters, None), latent.sample(parameters, noise, 0.0)):
        assert mode.tolist() == [1.0, -3.0]


def test_gaussian_samples_carry_gradients_to_mean_and_spread() -> None:
    parameters = torch.tensor([0.0, raw(1.0)], requires_grad=True)
    GaussianLatent(1).sample(parameters, torch.tensor([2.0]), 0.5).sum().backward()
    slope = 1 - math.exp(-0.9)  # of softplus, where it is 0.9
    assert parameters.grad is not None
    assert parameters.grad.tolist() == [pytest.approx(1.0), pytest.approx(0.5 * 2 * slope, rel=1e-5)]


def test_the_spread_of_a_gaussian_is_never_less_than_a_tenth() -> None:
    sample = GaussianLatent(1).sample(torch.tensor([0.0, -100.0]), torch.tensor([1.0]))
    assert sample.item() == pytest.approx(0.1)


# --- categorical ----------------------------------------------------------------------------------------------------


def test_categorical_divergence_worked_by_hand() -> None:
    latent = CategoricalLatent(1, 2, uniform=0.2)
    posterior, prior = torch.tensor([math.log(9.0), 0.0]), torch.zeros(2)
    # softmax: 0.9, 0.1; with a fifth of the uniform distribution: 0.82, 0.18.
    expected = 0.82 * math.log(0.82 / 0.5) + 0.18 * math.log(0.18 / 0.5)
    assert latent.divergence(posterior, prior).item() == pytest.approx(expected, rel=1e-5)
    assert latent.divergence(posterior, posterior).item() == 0
    backwards = 0.5 * math.log(0.5 / 0.82) + 0.5 * math.log(0.5 / 0.18)
    assert latent.divergence(prior, posterior).item() == pytest.approx(backwards, rel=1e-5)


def test_one_percent_is_uniform_and_keeps_every_divergence_finite() -> None:
    latent = CategoricalLatent(1, 4)
    certain, other = torch.tensor([1e4, 0.0, 0.0, 0.0]), torch.tensor([0.0, 1e4, 0.0, 0.0])
    assert latent.probability(certain)[:, 0].tolist() == pytest.approx([0.9925, 0.0025, 0.0025, 0.0025])
    expected = 0.9925 * math.log(0.9925 / 0.0025) + 0.0025 * math.log(0.0025 / 0.9925)
    assert latent.divergence(certain, other).item() == pytest.approx(expected, rel=1e-4)


def test_parameters_samples_and_divergences_are_laid_out_class_by_class() -> None:
    """Class c of variable s stands at c · S + s, everywhere."""
    latent = CategoricalLatent(3, 4)
    parameters, prior = torch.randn(2, 5, 12, generator=generator())
    noise = torch.rand(5, 3, generator=generator(1))
    probability = latent.probability(parameters)
    assert probability.shape == (5, 4, 3)
    sample, divergence = latent.sample(parameters, noise), torch.zeros(5)
    for row, s in itertools.product(range(5), range(3)):
        own = [c * 3 + s for c in range(4)]
        p, q = (0.99 * values[row, own].softmax(0) + 0.01 / 4 for values in (parameters, prior))
        assert torch.allclose(probability[row, :, s], p)
        expected = next(c for c in range(4) if p[: c + 1].sum() > noise[row, s])
        assert sample[row, own].tolist() == [float(c == expected) for c in range(4)]
        divergence[row] += kl_divergence(Categorical(p), Categorical(q))
    assert torch.allclose(latent.divergence(parameters, prior), divergence, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
def test_the_frequencies_of_samples_are_the_tempered_probabilities(temperature: float) -> None:
    latent, count = CategoricalLatent(2, 3), 40_000
    # The second variable is certain: its other two classes are drawn by the uniform share alone, 1/300 each.
    parameters = torch.tensor([[0.0, 1e3], [1.0, 0.0], [-1.0, 0.0]]).flatten()
    noise = latent.noise((count,), CPU, generator())
    sample = latent.sample(parameters.expand(count, 6), noise, temperature).unflatten(-1, (3, 2))
    assert ((sample == 0) | (sample == 1)).all()
    assert (sample.sum(-2) == 1).all()
    expected = latent.probability(parameters) ** (1 / temperature)
    expected = expected / expected.sum(0)
    error = (sample.mean(0) - expected).abs()
    assert (error < 4.5 * (expected * (1 - expected) / count).sqrt()).all()


@pytest.mark.parametrize(
    ("noise", "expected"), [(0.0, 0), (0.2499, 0), (0.2501, 1), (0.7499, 1), (0.7501, 2), (0.99999994, 2)]
)
def test_the_first_class_whose_cumulative_probability_exceeds_the_noise(noise: float, expected: int) -> None:
    latent = CategoricalLatent(1, 3, uniform=0.0)
    parameters = torch.tensor([0.25, 0.5, 0.25]).log()
    assert latent.sample(parameters, torch.tensor([noise])).argmax() == expected


def test_a_sum_that_is_rounded_below_the_noise_draws_the_last_class() -> None:
    latent, classes = CategoricalLatent(1, 50), 50
    parameters = torch.randn(200, classes, generator=generator())
    sample = latent.sample(parameters, torch.full((200, 1), 1 - 2**-24))
    assert (latent.probability(parameters).cumsum(-2)[:, -1] <= 1 - 2**-24).any()  # this does happen
    assert (sample.sum(-1) == 1).all()


def test_the_gradient_of_a_categorical_sample_is_that_of_the_probabilities() -> None:
    latent = CategoricalLatent(3, 4)
    weight = torch.randn(5, 12, generator=generator(1))
    gradients: list[Tensor] = []
    for kind in ("sample", "mode", "probability"):
        parameters = torch.randn(5, 12, generator=generator()).requires_grad_()
        noise = torch.rand(5, 3, generator=generator(2))
        if kind == "probability":
            value = latent.probability(parameters).flatten(-2)
        else:
            value = latent.sample(parameters, noise if kind == "sample" else None)
            assert ((value == 0) | (value == 1)).all()  # exactly, in spite of the gradient
        (value * weight).sum().backward()
        assert parameters.grad is not None
        gradients.append(parameters.grad)
    assert gradients[2].abs().max() > 0.01
    assert torch.equal(gradients[0], gradients[2])
    assert torch.equal(gradients[1], gradients[2])


# --- both -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latent", LATENTS, ids=ids)
def test_divergences_agree_with_those_of_torch(latent: Latent) -> None:
    posterior, prior = 2 * torch.randn(2, 7, 5, latent.parameters, generator=generator())
    assert isinstance(latent, GaussianLatent | CategoricalLatent)
    if isinstance(latent, GaussianLatent):
        pair = [Normal(v[..., :3], torch.nn.functional.softplus(v[..., 3:]) + 0.1) for v in (posterior, prior)]
    else:
        pair = [Categorical(latent.probability(v).transpose(-1, -2)) for v in (posterior, prior)]
    found = latent.divergence(posterior, prior)
    assert found.shape == (7, 5)
    assert torch.allclose(found, kl_divergence(*pair).sum(-1), rtol=1e-4, atol=1e-5)
    assert (found >= 0).all()


@pytest.mark.parametrize("latent", LATENTS, ids=ids)
def test_shapes_and_mode(latent: Latent) -> None:
    noise = latent.noise((7, 5), CPU, generator())
    assert noise.shape[:2] == (7, 5)
    parameters = torch.randn(7, 5, latent.parameters, generator=generator())
    sample = latent.sample(parameters, noise)
    assert sample.shape == (7, 5, latent.width)
    mode = latent.sample(parameters, None)
    assert torch.equal(mode, latent.sample(parameters, noise, 0.0))
    assert not torch.equal(mode, sample)
    if isinstance(latent, CategoricalLatent):
        best = latent.probability(parameters).argmax(-2, keepdim=True)
        assert torch.equal(mode.unflatten(-1, (latent.classes, -1)).argmax(-2, keepdim=True), best)
    nearly = latent.sample(parameters, noise, 1e-3)  # hardly any spread is left: all but the closest calls are decided
    assert ((nearly - mode).abs() < 0.02).float().mean() > 0.98
