"""A task of :mod:`imagine_envs.tasks` as functions on batches of tensors."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from imagine_envs.world_models.protocol import Prediction, State

if TYPE_CHECKING:
    from imagine_envs.tasks import BatchedTask

__all__ = ["ArrayTask"]


class ArrayTask:
    """What :class:`~imagine_envs.world_models.PerfectModel` does with a task whose state is arrays.

    The state is the task's, one tensor for each array, ``random`` (the row's random numbers to come) included. Kernels
    work on copies of it on the CPU.

    Args:
        task: The rules.
    """

    def __init__(self, task: BatchedTask) -> None:
        self.task = task

    @functools.cached_property
    def _beginning(self) -> dict[str, NDArray[Any]]:
        """One episode that has just begun, ``[1, …]``, always the same. To begin others may take a task a while."""
        arrays, rows = self.task.allocate(1), np.arange(1)
        self.task.seed(arrays, rows, [0])
        self.task.reset(arrays, rows, {})
        return arrays

    def initial(self, batch_size: int, device: torch.device) -> State:
        """The same beginning in all rows, ``[B, …]``, each with random numbers of its own that are always the same."""
        arrays = {name: array.repeat(batch_size, 0) for name, array in self._beginning.items()}
        self.task.seed(arrays, np.arange(batch_size), range(batch_size))
        return _tensors(arrays, device)

    def observe(self, state: State, action: Tensor, observation: Tensor, first: Tensor) -> State:
        """Steps the rows that go on, puts the others back to the beginning, and then believes what is seen.

        So clocks go on, and what an observation does not show is what the rules make of it.
        """
        arrays, begins = _arrays(state), first.cpu().numpy()
        size = len(begins)
        actions = action.cpu().numpy().copy()
        actions[begins] = 0
        self.task.step(arrays, actions, np.empty(size), np.empty(size, bool))
        for name, array in arrays.items():
            if name != "random":
                array[begins] = self._beginning[name]
        self.task.recall(arrays, observation.cpu().numpy())
        return _tensors(arrays, action.device)

    def imagine(self, state: State, action: Tensor, generator: torch.Generator | None) -> tuple[State, Prediction]:
        """One real step, without autoreset; what a step's info holds is in the extras.

        Args:
            state: ``[B, …]``.
            action: ``[B, …]``, as in :meth:`BatchedTask.step`.
            generator: Where the step's random numbers come from; None takes the row's own, so that equal states have
                one and the same future.
        """
        arrays, size = _arrays(state), len(action)
        if generator is not None:
            bounds = torch.iinfo(torch.int64)
            drawn = torch.randint(bounds.min, bounds.max, (size,), generator=generator, device=generator.device)
            arrays["random"] = drawn.cpu().numpy()
        reward, terminated = np.empty(size), np.empty(size, bool)
        self.task.step(arrays, np.ascontiguousarray(action.cpu().numpy()), reward, terminated)
        prediction = Prediction(
            torch.from_numpy(reward).to(action.device, torch.float32),
            torch.from_numpy(terminated).to(action.device, torch.float32),
            extras=_tensors({name: array.copy() for name, array in self.task.info(arrays).items()}, action.device),
        )
        return _tensors(arrays, action.device), prediction

    def observation(self, state: State) -> Tensor:
        """What the environment shows, ``[B, …]`` of the space's own type."""
        space, size = self.task.observation_space, len(state["random"])
        out: NDArray[Any] = np.zeros((size, *(space.shape or ())), space.dtype)
        self.task.observe(_arrays(state), np.arange(size), out)
        return torch.from_numpy(out).to(state["random"].device)

    def features(self, state: State) -> Tensor:
        """The observation flat, float32 ``[B, F]``: one-hot of a Discrete, images in [0, 1]."""
        space, observation = self.task.observation_space, self.observation(state)
        if isinstance(space, spaces.Discrete):
            return torch.nn.functional.one_hot(observation, int(space.n)).to(torch.float32)
        flat = observation.flatten(1).to(torch.float32)
        return flat / 255 if observation.dtype == torch.uint8 else flat

    def state_of(self, snapshot: dict[str, NDArray[Any]], device: torch.device) -> State:
        """The state of the episodes in a snapshot of a ``TaskEnv`` or ``TaskVectorEnv``."""
        names = self.task.allocate(1)
        missing = [name for name in names if name not in snapshot]
        if missing:
            raise ValueError(f"the snapshot is of another task: it has no {', '.join(missing)}")
        return _tensors({name: snapshot[name].copy() for name in names}, device)


def _arrays(state: State) -> dict[str, NDArray[Any]]:
    """Copies, for a state is never changed in place."""
    return {name: tensor.detach().cpu().contiguous().numpy().copy() for name, tensor in state.items()}


def _tensors(arrays: dict[str, NDArray[Any]], device: torch.device) -> State:
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
