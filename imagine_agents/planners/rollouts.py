"""Rollout planning: each action is worth what a rollout policy earns after it."""

from __future__ import annotations

import torch
from torch import Tensor

from imagine_agents.planners.planner import Planner, Policy, Value
from imagine_envs.whole_numbers import check_whole
from imagine_envs.world_models.protocol import State, WorldModel

__all__ = ["Rollouts"]


class Rollouts(Planner):
    """Monte Carlo control at decision time (Tesauro & Galperin 1996; Sutton & Barto, section 8.10).

    Each action is forced once and followed by the rollout policy; its value is the mean discounted return of ``times``
    such rollouts, with the value function for what lies beyond ``depth``. All rollouts of a batch go step by step
    together. A termination that the model holds for likely weighs what follows it accordingly.

    Args:
        model: The world to look ahead in, with Discrete actions.
        policy: The rollout policy; None acts at random.
        gamma: γ, the discount.
        depth: Steps of a rollout, the forced one included.
        times: Rollouts of each action.
        value: What the states are worth at which rollouts end; None is 0.
        seed: Of what is sampled, and of the choice among equally good actions.

    Raises:
        ValueError: If an argument makes no sense.

    Example:
        >>> planner = Rollouts(PerfectModel.for_env("CartPole-v1"), gamma=1.0, depth=20, times=20)
        >>> evaluate_policy(planner, gym.make("CartPole-v1"))
    """

    def __init__(
        self,
        model: WorldModel,
        policy: Policy | None = None,
        *,
        gamma: float,
        depth: int,
        times: int = 1,
        value: Value | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(model, gamma=gamma, depth=depth, value=value, seed=seed)
        check_whole("times", times)
        self.times = times
        self._policy = self._at_random if policy is None else policy

    @torch.no_grad()
    def action_values(self, state: State) -> Tensor:
        """What each action is worth in each state ``[B, …]``: float64 ``[B, A]``."""
        after, prediction = self.expand(state, self.times)
        total = prediction.reward.double()
        weight = self.gamma * (1 - prediction.terminated.double())
        for _ in range(1, self.depth):
            action = self._policy(after, self.generator)
            after, prediction = self.model.imagine(after, action, generator=self.generator)
            total += weight * prediction.reward
            weight *= self.gamma * (1 - prediction.terminated)
        total += weight * self.leaf_value(after)
        return total.view(-1, self.num_actions, self.times).mean(2)

    def _at_random(self, state: State, generator: torch.Generator) -> Tensor:
        rows = len(next(iter(state.values())))
        drawn = torch.randint(self.num_actions, (rows,), generator=generator, device=generator.device)
        return drawn + self._first_action
