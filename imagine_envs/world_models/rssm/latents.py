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
        """Σ log σ_q/σ_p + (σ_p² + (μ_p − μ_q)²) / 2σ_q² − ½."""
        (mean, std), (prior_mean, prior_std) = self._moments(posterior), self._moments(prior)
        ratio, distance = std / prior_std, (mean - prior_mean) / prior_std
        return (0.5 * (ratio.square() + distance.square() - 1) - ratio.log()).sum(-1)

    @staticmethod
    def _moments(parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = parameters.chunk(2, -1)
        return mean, F.softplus(raw) + 0.1


class CategoricalLatent(Latent):
    """Several one-hot variables with straight-through gradients, mixed with a little of the uniform distribution.

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
        """Standard exponential, ``[*shape, S, C]``."""
        empty = torch.empty(*shape, self.variables, self.classes, device=device)
        return empty.exponential_(generator=generator)

    def sample(self, parameters: Tensor, noise: Tensor | None, temperature: float = 1.0) -> Tensor:
        """One-hot samples side by side.

        The class of the largest p / e for exponential e is a sample of p (the race of exponential clocks; the Gumbel
        trick, with one logarithm less). The gradient is that of the probabilities.
        """
        probability = self._probability(parameters)
        with torch.no_grad():
            race = probability
            if noise is not None and temperature != 0:
                race = (probability if temperature == 1 else probability.pow(1 / temperature)) / noise
            hard = torch.zeros_like(probability).scatter_(-1, race.argmax(-1, keepdim=True), 1.0)
        if torch.is_grad_enabled() and probability.requires_grad:
            hard = hard + (probability - probability.detach())
        return hard.flatten(-2)

    def divergence(self, posterior: Tensor, prior: Tensor) -> Tensor:
        """Σ over variables and classes of p (log p − log q)."""
        p, q = self._probability(posterior), self._probability(prior)
        return (p * (p.log() - q.log())).sum((-2, -1))

    def _probability(self, parameters: Tensor) -> Tensor:
        """``[…, S · C] → […, S, C]``."""
        probability = parameters.unflatten(-1, (self.variables, self.classes)).softmax(-1)
        return torch.add(self.uniform / self.classes, probability, alpha=1 - self.uniform)
