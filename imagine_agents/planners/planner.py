"""What planners at decision time share: action values in, actions out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.utils import is_vectorized_observation
from torch import Tensor

from imagine_envs.spaces import map_observation, to_tensor
from imagine_envs.whole_numbers import check_whole
from imagine_envs.world_models.protocol import Prediction, State, WorldModel

__all__ = ["Planner", "Policy", "Value"]

Value = Callable[[State], Tensor]
"""From states ``[B, …]`` to what they are worth, float ``[B]``."""

Policy = Callable[[State, torch.Generator], Tensor]
"""From states ``[B, …]`` and a source of random numbers to actions int64 ``[B]``, in the environment's numbering."""


class Planner(ABC):
    """Values every action by looking ahead in a world model, and takes a best one.

    A planner has SB3's ``predict``, so that ``evaluate_policy(planner, env)`` plays with it.

    Args:
        model: The world to look ahead in, with Discrete actions.
        gamma: γ, the discount.
        depth: Steps to look ahead.
        value: What the states are worth at which the search ends; None is 0.
        seed: Of what is sampled, and of the choice among equally good actions.

    Raises:
        ValueError: If an argument makes no sense.
    """

    def __init__(
        self, model: WorldModel, *, gamma: float, depth: int, value: Value | None = None, seed: int = 0
    ) -> None:
        if not isinstance(model.action_space, spaces.Discrete):
            raise ValueError(f"the world's action_space is {model.action_space}; a Discrete was expected")
        check_whole("depth", depth)
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma={gamma} must lie in [0, 1]")
        self.model = model
        self.gamma = gamma
        self.depth = depth
        self.num_actions = int(model.action_space.n)
        self._first_action = int(model.action_space.start)
        self._value = value
        self.generator = torch.Generator(model.device).manual_seed(seed)

    @abstractmethod
    def action_values(self, state: State) -> Tensor:
        """What each action is worth in each state ``[B, …]``: float64 ``[B, A]``."""

    def act(self, state: State) -> Tensor:
        """A best action of each state, one of the equally good ones at random: int64 ``[B]``."""
        values = self.action_values(state)
        ticket = torch.rand(values.shape, generator=self.generator, device=values.device)
        best = values == values.max(1, keepdim=True).values
        return torch.where(best, ticket, -1.0).argmax(1) + self._first_action

    @torch.no_grad()
    def predict(
        self, observation: NDArray[Any], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[Any], None]:
        """As SB3's ``predict``; what is seen is all that the search begins from.

        Raises:
            ValueError: If the observation's shape is neither that of one nor of a batch, or the world's state needs a
                history: then use :meth:`act` with filtered states.
        """
        model, space = self.model, self.model.observation_space
        if not model.markov:
            raise ValueError(
                f"the state of a {type(model).__name__} world needs a history; use act() with its filtered states"
            )
        seen = to_tensor(observation, space, model.device)
        single = not is_vectorized_observation(seen, space)
        seen = map_observation(lambda part: part[None], seen) if single else seen
        shapes = [tuple(part.shape) for part in (seen.values() if isinstance(seen, dict) else [seen])]
        if len({shape[:1] for shape in shapes}) > 1:
            raise ValueError(f"the parts of the observation have shapes {shapes}; the same number of rows was expected")
        rows = shapes[0][0]
        nothing = torch.zeros(rows, dtype=torch.int64, device=model.device)
        first = torch.ones(rows, dtype=torch.bool, device=model.device)
        action = self.act(model.observe(model.initial(rows), nothing, seen, first, sample=False)).cpu().numpy()
        return (action[0] if single else action), None

    def leaf_value(self, state: State) -> Tensor:
        """What the states are worth at which the search ends, float64 ``[B]``."""
        if self._value is None:
            return torch.zeros(_rows(state), dtype=torch.float64, device=self.model.device)
        return self._value(state).double()

    def expand(self, state: State, times: int) -> tuple[State, Prediction]:
        """Imagines every action ``times`` times from each state: ``[B · A · times, …]``, the sample varying first."""
        rows = _rows(state)
        repeated = {name: tensor.repeat_interleave(self.num_actions * times, 0) for name, tensor in state.items()}
        actions = torch.arange(self.num_actions, device=self.model.device).repeat_interleave(times).repeat(rows)
        return self.model.imagine(repeated, actions + self._first_action, generator=self.generator)


def _rows(state: State) -> int:
    return len(next(iter(state.values())))
