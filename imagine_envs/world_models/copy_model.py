"""The copy model: a world in which nothing ever changes. A control for every comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from imagine_envs.spaces import Observation
from imagine_envs.world_models.protocol import Prediction, State, WorldModel

if TYPE_CHECKING:
    from imagine_envs.experience.replay import Replay

__all__ = ["CopyModel"]

_NAME = "observation"

_AT_A_TIME = 4096
"""Transitions read at a time, as their observations may be images."""


class CopyModel(WorldModel):
    """The next observation is the present one; reward and termination are the data's means.

    A learned model that predicts no better than this one has learned nothing of the dynamics. The state is the
    observation in its own types: ``{"observation": [B, …]}``, or ``{"observation.<key>": [B, …]}`` for a ``Dict``.

    Args:
        observation_space: A Box, or a Dict of Boxes; images stay uint8.
        action_space: Any.

    Raises:
        ValueError: If the observation space is another.
    """

    family: ClassVar[str] = "copy"
    markov = True
    can_decode = True
    has_uncertainty = False
    can_learn = False

    reward: Tensor
    terminated: Tensor

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        super().__init__(observation_space, action_space)
        self._boxes: dict[str, spaces.Box] = {}
        named = (
            {f"{_NAME}.{key}": space for key, space in observation_space.spaces.items()}
            if isinstance(observation_space, spaces.Dict)
            else {_NAME: observation_space}
        )
        for name, space in named.items():
            if not isinstance(space, spaces.Box):
                raise ValueError(f"observation_space is {observation_space}; a Box or a Dict of Boxes was expected")
            self._boxes[name] = space
        self.register_buffer("reward", torch.zeros(()))
        self.register_buffer("terminated", torch.zeros(()))

    def initial(self, batch_size: int) -> State:
        """Zeros of the observation's shapes and types."""
        return {
            name: torch.zeros(batch_size, *box.shape, dtype=_dtype(box), device=self.device)
            for name, box in self._boxes.items()
        }

    def observe(
        self,
        state: State,
        action: Tensor,
        observation: Observation,
        first: Tensor,
        *,
        sample: bool = True,
        generator: torch.Generator | None = None,
    ) -> State:
        """The observation."""
        if isinstance(observation, dict):
            return {name: observation[name.removeprefix(f"{_NAME}.")] for name in self._boxes}
        return {_NAME: observation}

    def imagine(
        self,
        state: State,
        action: Tensor,
        *,
        temperature: float = 1.0,
        uncertainty: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[State, Prediction]:
        """The same state again. ``temperature`` and ``generator`` change nothing.

        Raises:
            ValueError: If ``uncertainty`` is asked for.
        """
        if uncertainty:
            raise ValueError("uncertainty=True was asked of a copy model, which has none")
        size = action.shape[0]
        return dict(state), Prediction(self.reward.expand(size).clone(), self.terminated.expand(size).clone())

    def features(self, state: State) -> Tensor:
        """The observation, flat: float32 ``[B, F]``, images in [0, 1]."""
        flat = [
            state[name].flatten(1).to(torch.float32) / (255.0 if box.dtype == np.uint8 else 1.0)
            for name, box in self._boxes.items()
        ]
        return torch.cat(flat, dim=1)

    def decode(self, state: State) -> Observation:
        """The observation that was last seen."""
        if isinstance(self.observation_space, spaces.Dict):
            return {name.removeprefix(f"{_NAME}."): state[name] for name in self._boxes}
        return state[_NAME]

    def prepare(self, replay: Replay) -> None:
        """Takes the mean reward and the frequency of termination over all transitions.

        Raises:
            ValueError: If there is no transition.
        """
        count = replay.num_transitions
        if count == 0:
            raise ValueError("the replay holds no transition; at least one real step was expected")
        reward, terminated = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for start in range(0, count, _AT_A_TIME):
            batch = replay.transitions(slice(start, start + _AT_A_TIME))
            reward += batch.reward[:, 1].double().sum()
            terminated += batch.terminated[:, 1].double().sum()
        self.reward.copy_(reward / count)
        self.terminated.copy_(terminated / count)


def _dtype(box: spaces.Box) -> torch.dtype:
    """The type in which observations of ``box`` arrive: floating ones as float32, others as they are."""
    if box.dtype is not None and box.dtype.kind == "f":
        return torch.float32
    return torch.from_numpy(np.zeros(0, dtype=box.dtype)).dtype
