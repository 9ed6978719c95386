"""The stochastic half of a recurrent state-space model's state."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["CategoricalLatent", "GaussianLatent", "Latent"]


class Latent(ABC):
    """A family of distributions over the stochastic state ``[…, width]``; the networks give their parameters.

    Sampling is split from its noise, so that a sequence's noise is drawn at once and no option changes what is drawn.

    Attributes:
        width: Of a sample.
        parameters: Numbers that describe one distribution, ``[…, parameters]``.
    """

    width: int
    parameters: int

    @abstractmethod
    def noise(self, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
        """What :meth:`sample` needs for ``shape`` distributions."""

    @abstractmethod
    def sample(self, parameters: Tensor, noise: Tensor | None, temperature: float = 1.0) -> Tensor:
        """A differentiable sample ``[…, width]``; the mode where there is no noise or the temperature is 0."""

    @abstractmethod
    def divergence(self, posterior: Tensor, prior: Tensor) -> Tensor:
        """KL(posterior ‖ prior) of parameters ``[…, parameters]``, summed over the state: ``[…]``."""


class GaussianLatent(Latent):
    """A diagonal Gaussian: mean, and softplus(·) + 0.1 as standard deviation (PlaNet, Dreamer V1).

    Args:
        width: Entries of the state.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.parameters = 2 * width

    def noise(self, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
        """Standard normal, ``[*shape, width]``."""
        return torch.randn(*shape, self.width, device=device, generator=generator)

    def sample(self, parameters: Tensor, noise: Tensor | None, temperature: float = 1.0) -> Tensor:
        """μ + τ · σ · ε."""
        mean, std = self._moments(parameters)
        if noise is None or temperature == 0:
            return mean
        return torch.addcmul(mean, std, noise, value=temperature)

    def divergence(self, posterior: Tensor, prior: Tensor) -> Tensor:
        """Σ log σ_q/σ_p + (σ_p² + (μ_p − μ_q)²) / 2σ_q² − ½, of the posterior p and the prior q."""
        (mean, std), (prior_mean, prior_std) = self._moments(posterior), self._moments(prior)
        ratio, distance = std / prior_std, (mean - prior_mean) / prior_std
        return (0.5 * (ratio.square() + distance.square() - 1) - ratio.log()).sum(-1)

    @staticmethod
    def _moments(parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = parameters.chunk(2, -1)
        return mean, F.softplus(raw) + 0.1


class CategoricalLatent(Latent):
    """Several one-hot variables with straight-through gradients, mixed with a little of the uniform distribution.

    Samples and parameters are laid out class by class, ``[…, C · S]``: what is done to the few classes of many
    variables then runs along the variables, several at a time.

    Source: DreamerV3, section "World model learning": 1 % uniform keeps every KL finite.

    Args:
        variables: S.
        classes: C of each.
        uniform: Share of the uniform distribution.
    """

    def __init__(self, variables: int, classes: int, uniform: float = 0.01) -> None:
        self.variables, self.classes, self.uniform = variables, classes, uniform
        self.width = self.parameters = variables * classes

    def noise(self, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
        """Uniform in [0, 1), ``[*shape, S]``."""
        return torch.rand(*shape, self.variables, device=device, generator=generator)

    def sample(self, parameters: Tensor, noise: Tensor | None, temperature: float = 1.0) -> Tensor:
        """One-hot samples.

        The sampled class is the first whose cumulative probability exceeds the noise. The gradient is that of the
        probabilities.
        """
        probability = self.probability(parameters)
        with torch.no_grad():
            if noise is None or temperature == 0:
                index = probability.argmax(-2, keepdim=True)
                hard = torch.zeros_like(probability).scatter_(-2, index, 1.0)
            else:
                tempered = probability
                if temperature != 1:
                    tempered = probability.log().div(temperature).softmax(-2)
                # 1 from the sampled class on; of the last class too where the sum was rounded below the noise.
                reached = (tempered.cumsum(-2) > noise.unsqueeze(-2)).to(probability.dtype)
                reached[..., -1, :] = 1
                hard = torch.diff(reached, dim=-2, prepend=torch.zeros_like(reached[..., :1, :]))
        if torch.is_grad_enabled() and probability.requires_grad:
            hard = hard + (probability - probability.detach())
        return hard.flatten(-2)

    def divergence(self, posterior: Tensor, prior: Tensor) -> Tensor:
        """Σ over variables and classes of p (log p − log q), of the posterior p and the prior q."""
        p, q = self.probability(posterior), self.probability(prior)
        return (p * (p.log() - q.log())).sum((-2, -1))

    def probability(self, parameters: Tensor) -> Tensor:
        """The probability of each class, ``[…, C · S] → […, C, S]``."""
        probability = parameters.unflatten(-1, (self.classes, self.variables)).softmax(-2)
        return torch.add(self.uniform / self.classes, probability, alpha=1 - self.uniform)
