"""The optimizer of DreamerV3."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["LaProp"]


class LaProp(Optimizer):
    """Gradients clipped by the size of their weights, scaled by their root mean square, and only then averaged.

    For each weight tensor w with gradient g, in step t::

        g ← g · min(1, κ · max(‖w‖, 10⁻³) / ‖g‖)             adaptive gradient clipping
        ν ← β₂ ν + (1 − β₂) g²,     u = g / (√(ν / (1 − β₂ᵗ)) + ε)
        m ← β₁ m + (1 − β₁) u
        w ← w − lr · min(1, t / warm-up) · m / (1 − β₁ᵗ)

    Source: Ziyin et al., "LaProp: separating momentum and adaptivity in Adam" (2020); Brock et al., "High-performance
    large-scale image recognition without normalization" (2021), equation 3, by whole tensors; DreamerV3 (2023),
    appendix: optimizer.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        betas: β₁ of the average, β₂ of the mean square.
        eps: ε.
        clip: κ.
        warmup: Steps over which the learning rate grows linearly.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 4e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-20,
        clip: float = 0.3,
        warmup: int = 1_000,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "clip": clip, "warmup": warmup, "step": 0})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; what ``closure`` returned, if it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["step"] += 1
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._step(group, params)
        return loss

    def _step(self, group: dict[str, Any], params: list[Tensor]) -> None:
        step, (beta1, beta2) = group["step"], group["betas"]
        states = [self.state[p] for p in params]
        for state, p in zip(states, params, strict=True):
            if not state:
                state["mean_square"], state["momentum"] = torch.zeros_like(p), torch.zeros_like(p)
        mean_squares, momenta = ([state[name] for state in states] for name in ("mean_square", "momentum"))

        gradients: list[Tensor] = [p.grad for p in params]  # type: ignore[misc]
        scales = torch._foreach_norm(params)
        torch._foreach_clamp_min_(scales, 1e-3)
        torch._foreach_mul_(scales, group["clip"])
        norms = torch._foreach_norm(gradients)
        torch._foreach_clamp_min_(norms, 1e-30)
        torch._foreach_div_(scales, norms)
        torch._foreach_clamp_max_(scales, 1.0)
        gradients = list(torch._foreach_mul(gradients, scales))

        torch._foreach_mul_(mean_squares, beta2)
        torch._foreach_addcmul_(mean_squares, gradients, gradients, 1 - beta2)
        root = torch._foreach_div(mean_squares, 1 - beta2**step)
        torch._foreach_sqrt_(root)
        torch._foreach_add_(root, group["eps"])
        torch._foreach_div_(gradients, root)
        torch._foreach_lerp_(momenta, gradients, 1 - beta1)
        rate = group["lr"] * min(1.0, step / max(group["warmup"], 1))
        torch._foreach_add_(params, momenta, alpha=-rate / (1 - beta1**step))
