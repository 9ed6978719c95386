"""A task of :mod:`~imagine_envs.world_models.classic_control` as functions on batches of tensors."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from imagine_envs.world_models.classic_control import Task
from imagine_envs.world_models.protocol import Prediction, State

__all__ = ["TensorTask"]


class TensorTask:
    """What :class:`~imagine_envs.world_models.PerfectModel` does with a tensor port: the twin of ``ArrayTask``.

    The state is ``{"state": float64 [B, S]}``. It is deterministic, and differentiable where the physics is.

    Args:
        task: The physics.
        observation_space: The environment's space.
    """

    def __init__(self, task: Task, observation_space: spaces.Space[Any]) -> None:
        self.task = task
        self._shape = observation_space.shape or ()

    def initial(self, batch_size: int, device: torch.device) -> State:
        """Zeros, ``[B, S]``; the first observation replaces them."""
        return {"state": self.task.state_of(torch.zeros(batch_size, *self._shape, dtype=torch.float64, device=device))}

    def observe(self, state: State, action: Tensor, observation: Tensor, first: Tensor) -> State:
        """The state that shows itself as ``observation``; nothing else matters."""
        return {"state": self.task.state_of(observation.to(torch.float64))}

    def imagine(self, state: State, action: Tensor, generator: torch.Generator | None) -> tuple[State, Prediction]:
        """One real step, without autoreset."""
        next_state, reward, terminated = self.task.step(state["state"], action)
        return {"state": next_state}, Prediction(reward.to(torch.float32), terminated.to(torch.float32))

    def observation(self, state: State) -> Tensor:
        """What the environment shows, float32 ``[B, D]``."""
        return self.task.observation(state["state"])

    def features(self, state: State) -> Tensor:
        """The observation."""
        return self.observation(state)

    def state_of(self, snapshot: dict[str, NDArray[Any]], device: torch.device) -> State:
        """Classic control has no snapshots."""
        raise ValueError("only the environments of imagine_envs.tasks have snapshots")
