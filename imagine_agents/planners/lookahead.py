"""Heuristic search: greedy with respect to a value function, deeper than one step."""

from __future__ import annotations

import torch
from torch import Tensor

from imagine_agents.planners.expectimax import expectimax
from imagine_agents.planners.planner import Planner, Value
from imagine_envs.whole_numbers import check_whole
from imagine_envs.world_models.protocol import State, WorldModel
from imagine_envs.world_models.tabular import Tabular

__all__ = ["LookAhead"]


class LookAhead(Planner):
    """Full-width search to a depth, whose leaves a value function values (Sutton & Barto, section 8.9).

    Q_1(s, a) = E[r + γ v(s')] and Q_d(s, a) = E[r + γ max_a' Q_{d−1}(s', a')], without what would follow a
    termination. In a :class:`~imagine_envs.world_models.Tabular` world expectations are exact, by the counts, and the
    work grows with the states that can be reached; in any other it is ``(A · samples) ** depth`` imagined steps.

    Args:
        model: The world to look ahead in, with Discrete actions.
        gamma: γ, the discount.
        depth: Steps to look ahead.
        value: What the states are worth at which the search ends; None is 0.
        samples: Imagined outcomes of each action, over which expectations are means; 1 is all that a deterministic
            world needs. A tabular world is not sampled.
        rows: The most states that are imagined at once.
        seed: Of what is sampled, and of the choice among equally good actions.

    Raises:
        ValueError: If an argument makes no sense.

    Example:
        >>> planner = LookAhead(PerfectModel.for_env("CartPole-v1"), gamma=0.99, depth=4)
        >>> evaluate_policy(planner, gym.make("CartPole-v1"))
    """

    def __init__(
        self,
        model: WorldModel,
        *,
        gamma: float,
        depth: int,
        value: Value | None = None,
        samples: int = 1,
        rows: int = 16_384,
        seed: int = 0,
    ) -> None:
        super().__init__(model, gamma=gamma, depth=depth, value=value, seed=seed)
        for name, number in (("samples", samples), ("rows", rows)):
            check_whole(name, number)
        self.samples = samples
        self._rows = rows

    @torch.no_grad()
    def action_values(self, state: State) -> Tensor:
        """What each action is worth in each state ``[B, …]``: float64 ``[B, A]``."""
        if isinstance(self.model, Tabular):
            return self._exactly(self.model, state["index"])
        return self._sampled(state, self.depth)

    def _exactly(self, model: Tabular, index: Tensor) -> Tensor:
        def value(states: Tensor) -> Tensor:
            return self.leaf_value({"index": states.to(model.device)}).cpu()

        return expectimax(model.tables, index, value, depth=self.depth, gamma=self.gamma)

    def _sampled(self, state: State, depth: int) -> Tensor:
        """Depth first: what waits to be looked at is never more than ``depth`` batches."""
        branches = self.num_actions * self.samples
        parts = []
        for rows in torch.arange(len(next(iter(state.values())))).split(max(1, self._rows // branches)):
            part = {name: tensor[rows] for name, tensor in state.items()}
            after, prediction = self.expand(part, self.samples)
            beyond = self.leaf_value(after) if depth == 1 else self._sampled(after, depth - 1).max(1).values
            outcome = prediction.reward + self.gamma * (1 - prediction.terminated) * beyond
            parts.append(outcome.view(len(rows), self.num_actions, self.samples).mean(2))
        return torch.cat(parts)
