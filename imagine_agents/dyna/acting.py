"""What the algorithm that is being trained does in imagined states."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor

from imagine_envs.spaces import Observation

__all__ = ["chosen", "entropy_coefficient", "explored", "frozen"]


def chosen(model: OffPolicyAlgorithm, observation: Observation) -> tuple[Tensor, Tensor | None]:
    """Actions of the present policy: drawn from it where it is stochastic, else the best ones.

    Args:
        model: The algorithm.
        observation: As its networks are fed, ``[B, …]``.

    Returns:
        Actions as SB3's networks know them (scaled to [−1, 1], or int64 ``[B]``), and their log-probabilities ``[B]``
        where entropy is a part of what the algorithm values.
    """
    actor: Any = getattr(model.policy, "actor", None)
    if hasattr(actor, "action_log_prob"):
        action, log_prob = actor.action_log_prob(observation)
        return action, log_prob.reshape(-1)
    return model.policy._predict(observation, deterministic=True), None


def explored(model: OffPolicyAlgorithm, observation: Observation, noise: float) -> Tensor:
    """As :func:`chosen`, with exploration where the policy itself has none.

    Args:
        model: The algorithm.
        observation: As its networks are fed, ``[B, …]``.
        noise: The chance that a discrete action is replaced by a random one, row by row (SB3's ε-greedy ``predict``
            draws once for the whole batch); the standard deviation of what is added to the actions of TD3 and DDPG.
    """
    rows = len(next(iter(observation.values())) if isinstance(observation, dict) else observation)
    actor: Any = getattr(model.policy, "actor", None)
    if model.use_sde and len(actor.action_dist.exploration_matrices) != rows:
        actor.reset_noise(rows)  # some rows have ended: SB3 would have the same noise for all others
    action, _ = chosen(model, observation)
    space = model.action_space
    if isinstance(space, spaces.Discrete):
        random = torch.randint(int(space.n), action.shape, device=action.device)
        return torch.where(torch.rand(action.shape, device=action.device) < noise, random, action)
    if isinstance(model.policy, TD3Policy):
        return (action + noise * torch.randn_like(action)).clamp(-1, 1)
    return action


def entropy_coefficient(model: Any) -> Tensor:
    """α of the algorithms that value entropy, learned or not."""
    learned = getattr(model, "log_ent_coef", None)
    coefficient: Tensor = model.ent_coef_tensor if learned is None else learned.detach().exp()
    return coefficient


@contextmanager
def frozen(model: OffPolicyAlgorithm, rows: int) -> Iterator[None]:
    """Without gradients, and without touching what layers remember of their batches (batch normalisation)."""
    policy = model.policy
    training = policy.training
    policy.set_training_mode(False)
    if model.use_sde:
        model.actor.reset_noise(rows)  # type: ignore[operator]
    try:
        with torch.no_grad():
            yield
    finally:
        policy.set_training_mode(training)
