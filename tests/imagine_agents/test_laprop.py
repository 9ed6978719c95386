"""LaProp against the same thing written down for one parameter at a time."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from imagine_agents.common.laprop import LaProp

SHAPES = [(3, 4), (5,), (), (2, 2, 2)]


def weights(seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in SHAPES]


def gradients(step: int) -> list[Tensor]:
    """Of very different sizes, so that some are clipped and some are not."""
    generator = torch.Generator().manual_seed(100 + step)
    return [torch.randn(s, generator=generator) * 10.0 ** (step % 4 - 2) for s in SHAPES]


def reference(
    given: list[Tensor],
    steps: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-20,
    clip: float = 0.3,
    warmup: int = 1000,
) -> list[list[float]]:
    """Plain Python in double precision, number by number."""
    result = []
    for i, tensor in enumerate(given):
        w = [float(x) for x in tensor.detach().flatten()]
        m, v = [0.0] * len(w), [0.0] * len(w)
        for t in range(1, steps + 1):
            g = [float(x) for x in gradients(t)[i].flatten()]
            limit = clip * max(math.sqrt(sum(x * x for x in w)), 1e-3)
            norm = math.sqrt(sum(x * x for x in g))
            g = [x * min(1.0, limit / norm) for x in g]
            rate = lr * min(1.0, t / warmup)
            for j, x in enumerate(g):
                v[j] = betas[1] * v[j] + (1 - betas[1]) * x * x
                u = x / (math.sqrt(v[j] / (1 - betas[1] ** t)) + eps)
                m[j] = betas[0] * m[j] + (1 - betas[0]) * u
                w[j] -= rate * m[j] / (1 - betas[0] ** t)
        result.append(w)
    return result


def run(optimizer: LaProp, params: list[Tensor], steps: range) -> None:
    for step in steps:
        for p, gradient in zip(params, gradients(step), strict=True):
            p.grad = gradient.clone().to(p.dtype)
        optimizer.step()


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 1e-2, "warmup": 4},
        {"lr": 3e-1},
        {"lr": 1e-2, "warmup": 1, "clip": 0.01, "betas": (0.5, 0.9)},
        {"lr": 1e-2, "warmup": 0, "clip": 1e9, "eps": 1e-3},
    ],
)
def test_as_written_down_for_one_number_at_a_time(settings: dict[str, Any]) -> None:
    params = weights(dtype=torch.float64)
    expected = reference(params, 8, **{**settings, "warmup": max(settings.get("warmup", 1000), 1)})
    run(LaProp(params, **settings), params, range(1, 9))
    for p, numbers in zip(params, expected, strict=True):
        assert p.detach().flatten().tolist() == pytest.approx(numbers, rel=1e-6, abs=1e-9)


def test_in_single_precision_too() -> None:
    params = weights()
    expected = reference(params, 8, lr=1e-2, warmup=4)
    run(LaProp(params, lr=1e-2, warmup=4), params, range(1, 9))
    for p, numbers in zip(params, expected, strict=True):
        assert p.detach().flatten().tolist() == pytest.approx(numbers, rel=1e-4, abs=1e-5)


def test_the_gradients_themselves_stay_as_they_were() -> None:
    params = weights()
    optimizer = LaProp(params)
    for p, gradient in zip(params, gradients(1), strict=True):
        p.grad = gradient.clone()
    optimizer.step()
    for p, gradient in zip(params, gradients(1), strict=True):
        assert torch.equal(p.grad, gradient)


def test_the_size_of_all_gradients_does_not_matter_without_clipping() -> None:
    results = []
    for size in (1e-6, 1.0, 1e6):
        p = torch.ones(3, requires_grad=True)
        optimizer = LaProp([p], lr=0.1, clip=1e30, warmup=1)
        for gradient in ([1.0, -2.0, 0.5], [1.0, 1.0, -3.0]):
            p.grad = size * torch.tensor(gradient)
            optimizer.step()
        results.append(p.detach().tolist())
    assert results[0] == pytest.approx(results[1], rel=1e-5)
    assert results[2] == pytest.approx(results[1], rel=1e-5)


def test_a_huge_gradient_is_clipped_by_the_size_of_its_weights() -> None:
    """What a clipped gradient leaves in the mean square is that of the limit, not its own."""
    w, zero = torch.full((4,), 2.0, requires_grad=True), torch.zeros(4, requires_grad=True)
    optimizer = LaProp([w, zero], clip=0.3)
    w.grad, zero.grad = torch.full((4,), 1e6), torch.full((4,), 1e6)
    optimizer.step()
    # ‖w‖ = 4: the clipped gradient's norm is 1.2, 0.6 for each of four; for zero weights 10⁻³ stands in
    assert optimizer.state[w]["mean_square"].tolist() == pytest.approx([0.001 * 0.36] * 4)
    assert optimizer.state[zero]["mean_square"].tolist() == pytest.approx([0.001 * (0.3 * 1e-3 / 2) ** 2] * 4)


def test_the_learning_rate_grows_during_the_warm_up() -> None:
    p = torch.zeros(1, requires_grad=True)
    optimizer = LaProp([p], lr=1.0, warmup=4, clip=1e9)
    moves = []
    for _ in range(6):
        before = float(p.detach())
        p.grad = torch.ones(1)
        optimizer.step()
        moves.append(before - float(p.detach()))
    assert moves == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0], rel=1e-5)


def test_no_gradient_no_move_and_zero_gradients_are_no_division_by_zero() -> None:
    a, b, c = (torch.ones(2, requires_grad=True) for _ in range(3))
    optimizer = LaProp([a, b, c], lr=0.1, warmup=1)
    a.grad, b.grad = torch.zeros(2), torch.tensor([0.0, 1.0])
    optimizer.step()
    assert a.tolist() == [1.0, 1.0]
    assert b.tolist() == pytest.approx([1.0, 0.9])
    assert c.tolist() == [1.0, 1.0]
    assert c not in optimizer.state


def test_groups_have_their_own_settings() -> None:
    a, b = (torch.zeros(1, requires_grad=True) for _ in range(2))
    optimizer = LaProp([{"params": [a], "lr": 0.5}, {"params": [b], "lr": 0.1, "warmup": 2}], warmup=1)
    a.grad, b.grad = torch.ones(1), torch.ones(1)
    optimizer.step()
    assert (float(a.detach()), float(b.detach())) == pytest.approx((-0.5, -0.05))


def test_a_closure_is_called_with_gradients() -> None:
    p = torch.ones(2, requires_grad=True)
    optimizer = LaProp([p], lr=0.1, warmup=1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0
    assert p.tolist() == pytest.approx([0.9, 0.9])


def test_it_goes_on_from_its_state_dict() -> None:
    params = weights()
    optimizer = LaProp(params, lr=1e-2, warmup=10)
    run(optimizer, params, range(1, 4))
    others = [p.detach().clone().requires_grad_() for p in params]
    other = LaProp(others, lr=123.0)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(optimizer, params, range(4, 8))
    run(other, others, range(4, 8))
    for p, q in zip(params, others, strict=True):
        assert torch.equal(p, q)
    assert other.param_groups[0]["step"] == 7
