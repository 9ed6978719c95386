"""The policy of Dyna-Q: a table of action values, and of preferences where a gradient bandit explores."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from imagine_envs.discretizer import Discretizer

__all__ = ["TabularPolicy"]


class TabularPolicy(BasePolicy):
    """Looks actions up in a table.

    Deterministic predictions are the first of the best actions; others draw among the best ones, or from
    softmax(H) where there are preferences. ε belongs to the algorithm, as SB3's DQN has it.

    Args:
        observation_space: A Discrete, or a Box together with a ``discretizer``.
        action_space: A Discrete.
        lr_schedule: Not used; SB3 hands it to every policy.
        discretizer: Bins of a Box.
        preferences: Whether actions are drawn from softmax(H) instead of by their values.
        initial_value: Q₀, of all pairs. An optimistic one makes the agent try everything.

    Attributes:
        q_table: Q, float64 ``[S, A]``.
        preferences: H, float64 ``[S, A]``, or None.

    Raises:
        ValueError: If a space is another, or ``initial_value`` is not finite.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        discretizer: Discretizer | None = None,
        preferences: bool = False,
        initial_value: float = 0.0,
    ) -> None:
        super().__init__(observation_space, action_space)
        if not isinstance(action_space, spaces.Discrete):
            raise ValueError(f"action_space is {action_space}; a table needs a Discrete")
        if discretizer is None and not isinstance(observation_space, spaces.Discrete):
            raise ValueError(f"observation_space is {observation_space}; a Discrete, or a discretizer, was expected")
        if not np.isfinite(initial_value):
            raise ValueError(f"initial_value={initial_value} must be finite")
        self.discretizer = discretizer
        self.initial_value = float(initial_value)
        states = int(observation_space.n) if discretizer is None else discretizer.num_states  # type: ignore[attr-defined]
        shape = states, int(action_space.n)
        self.q_table = nn.Parameter(torch.full(shape, self.initial_value, dtype=torch.float64), requires_grad=False)
        self.preferences: nn.Parameter | None = None
        if preferences:
            self.preferences = nn.Parameter(torch.zeros(shape, dtype=torch.float64), requires_grad=False)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        table = self.q_table if self.preferences is None else self.preferences
        rows = table[self._index(observation)]
        if deterministic:
            choice = rows.argmax(1)
        elif self.preferences is None:
            choice = torch.multinomial((rows == rows.max(1, keepdim=True).values).double(), 1)[:, 0]
        else:
            choice = torch.multinomial(rows.softmax(1), 1)[:, 0]
        return choice + int(self.action_space.start)  # type: ignore[attr-defined]

    def forward(self, observation: Any, deterministic: bool = False) -> Tensor:
        """See :meth:`predict`; tensors in, a tensor out."""
        return self._predict(observation, deterministic)

    def _index(self, observation: Tensor) -> Tensor:
        """The numbers of the states, int64 ``[B]``."""
        if self.discretizer is not None:
            return torch.from_numpy(self.discretizer.index(observation.cpu().numpy())).to(self.device)
        assert isinstance(self.observation_space, spaces.Discrete)
        index = observation.long() - int(self.observation_space.start)
        if ((index < 0) | (index >= len(self.q_table))).any():
            raise ValueError(f"an observation lies outside {self.observation_space}")
        return index

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,  # for predicting; an algorithm sets its own
            "discretizer": self.discretizer,
            "preferences": self.preferences is not None,
            "initial_value": self.initial_value,
        }
