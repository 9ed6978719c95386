"""The arrival convention, and a batch of sequences that follows it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from imagine_envs.spaces import Observation, map_observation

__all__ = ["Batch"]


@dataclass(frozen=True)
class Batch:
    """Windows of real experience, ``[B, T, …]``, in the environment's own units.

    **The arrival convention.** A record holds what is known *on arriving* at an observation: the ``action`` that led
    here, the ``reward`` received on arriving, and whether the episode ended here. So in one window

    - ``action[:, t]`` was taken in ``observation[:, t - 1]`` and led to ``observation[:, t]``;
    - ``reward[:, t]`` and ``terminated[:, t]`` belong to that same step, and are predicted from the state *after* it;
    - ``first[:, t]`` marks a reset: nothing led here, the action and the reward are zero and carry no loss;
    - the terminal observation is a record of its own, so its reward and termination are learned; the record after it
      is ``first``. A model that starts anew wherever ``first`` is set never leaks state over a reset.

    ======= =========== ============= ============= ============ =========== ============
    record  0           1             2             3            4           5
    ======= =========== ============= ============= ============ =========== ============
    obs     ``s0``      ``s1``        ``s2`` (end)  ``s0'``      ``s1'``     …
    action  0           ``a(s0)``     ``a(s1)``     0            ``a(s0')``  …
    reward  0           ``r(s0,a)``   ``r(s1,a)``   0            ``r(s0',a)``…
    term.   no          no            **yes**       no           no          …
    first   **yes**     no            no            **yes**      no          …
    ======= =========== ============= ============= ============ =========== ============

    Attributes:
        observation: ``[B, T, …]``, or a dict of those.
        action: ``[B, T]`` int64 (Discrete) or ``[B, T, A]`` float32 (Box).
        reward: ``[B, T]`` float32.
        terminated: ``[B, T]`` bool.
        truncated: ``[B, T]`` bool; the value of the observation must still be bootstrapped.
        first: ``[B, T]`` bool.
        index: ``[B, T]`` int64, the record's number in its replay: it never changes while the record lives, so
            that bootstrap weights and splits can be derived from it.
        columns: The replay's named columns (``action_mask``, ``events``, …), ``[B, T, …]`` each.
    """

    observation: Observation
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    first: Tensor
    index: Tensor
    columns: dict[str, Tensor] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """``(B, T)``."""
        return int(self.first.shape[0]), int(self.first.shape[1])

    def map(self, function: Any) -> Batch:
        """A batch with ``function`` applied to every tensor."""
        return replace(
            self,
            **{item.name: map_observation(function, getattr(self, item.name)) for item in fields(self)},
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on ``device``."""
        to_gpu = torch.device(device).type == "cuda"

        def moved(tensor: Tensor) -> Tensor:
            # Only from pinned memory does the copy run beside what the GPU still does.
            pinned = tensor.pin_memory() if to_gpu and not tensor.is_cuda else tensor
            return pinned.to(device, non_blocking=True)

        return self.map(moved)

    def __getitem__(self, rows: Any) -> Batch:
        """The windows that ``rows`` (indices, mask or slice over B) selects."""
        return self.map(lambda tensor: tensor[rows])
