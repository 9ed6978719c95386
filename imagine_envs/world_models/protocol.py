"""The world model protocol: a simulator whose state is data."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from gymnasium import spaces
from torch import Tensor, nn
from typing_extensions import Self

from imagine_envs.experience.batch import Batch
from imagine_envs.spaces import Observation

if TYPE_CHECKING:
    from imagine_envs.experience.replay import Replay

__all__ = ["Loss", "Prediction", "State", "WorldModel"]

State = dict[str, Tensor]
"""A flat dict of tensors ``[B, …]`` on one device, never changed in place."""


@dataclass(frozen=True)
class Prediction:
    """What a world model says of one imagined step.

    Attributes:
        reward: ``[B]`` float32, in the environment's units.
        terminated: ``[B]`` float32, the probability that the episode ended on arriving.
        uncertainty: ``[B]`` float32, or None where it was not asked for.
        extras: Named further predictions, ``[B, …]`` each (``action_mask``, ``events``, …).
    """

    reward: Tensor
    terminated: Tensor
    uncertainty: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """The training loss of a batch.

    Attributes:
        total: Scalar tensor to minimise.
        metrics: Named scalar tensors for the log, detached; reading them is left to the caller, so that a GPU is
            not made to wait.
        states: The filtered states ``[B, T, …]`` where the family has any (Dreamer imagines from them).
    """

    total: Tensor
    metrics: dict[str, Tensor]
    states: State | None = None


class WorldModel(nn.Module, ABC):
    """A learned (or known) simulator.

    Everything is batched and on one device. Actions are int64 ``[B]`` (Discrete, in the environment's own numbering)
    or float32 ``[B, A]`` (Box); observations are in the environment's units; what is normalised, the model normalises
    itself with statistics in its ``state_dict``. No method changes a state in place.

    Attributes:
        family: The name in the table of families.
        markov: Whether the state needs no history: one observation is enough to start from.
        can_decode: Whether :meth:`decode` exists; a world that cannot decode is dreamed in features only.
        has_uncertainty: Whether :meth:`imagine` can tell how unsure it is.
        can_learn: Whether :func:`~imagine_envs.world_models.fit` has anything to fit.
        observation_space: The real environment's space.
        action_space: The real environment's space.
    """

    family: ClassVar[str]
    markov: bool = False
    can_decode: bool = True
    has_uncertainty: bool = False
    can_learn: bool = True

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        super().__init__()
        self.observation_space = observation_space
        self.action_space = action_space

    @property
    def device(self) -> torch.device:
        """Where the model's tensors live."""
        for tensor in itertools.chain(self.parameters(), self.buffers()):  # the first one is soon found
            return tensor.device
        return torch.device("cpu")

    # --- simulation -------------------------------------------------------------------------------------------------

    @abstractmethod
    def initial(self, batch_size: int) -> State:
        """The state before anything was seen, ``[B, …]``."""

    @abstractmethod
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
        """Filters one real step (the posterior).

        Args:
            state: State before the step, ``[B, …]``.
            action: The action that led to ``observation``; without meaning where ``first`` is set.
            observation: What was seen on arriving, ``[B, …]``.
            first: bool ``[B]``; those rows start anew from :meth:`initial`.
            sample: Whether to sample the posterior of a stochastic state, or take its mode.
            generator: Source of the sample.

        Returns:
            The state after the step.
        """

    @abstractmethod
    def imagine(
        self,
        state: State,
        action: Tensor,
        *,
        temperature: float = 1.0,
        uncertainty: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[State, Prediction]:
        """Dreams one step (the prior). Differentiable where the model is; never decodes.

        Args:
            state: ``[B, …]``.
            action: ``[B]`` or ``[B, A]``.
            temperature: Scales the spread of what is sampled; 0 is the mean.
            uncertainty: Whether to compute :attr:`Prediction.uncertainty`, which may cost every member of an ensemble.
            generator: Source of the sample. The same numbers are drawn whatever the other arguments.

        Returns:
            The next state and the :class:`Prediction` on arriving in it.
        """

    @abstractmethod
    def features(self, state: State) -> Tensor:
        """What a policy sees, float32 ``[B, F]``."""

    def decode(self, state: State) -> Observation:
        """An observation ``[B, …]`` in the environment's units, clipped to its space.

        Raises:
            NotImplementedError: If the model has no decoder (``can_decode`` is false).
        """
        raise NotImplementedError(f"a {type(self).__name__} world has no decoder: its dreams are latent only")

    def member(self, index: int) -> WorldModel:
        """One member of an ensemble as a model of its own, sharing its parameters.

        Raises:
            ValueError: If the model is no ensemble.
        """
        raise ValueError(f"a {type(self).__name__} world is no ensemble: it has no members")

    # --- learning, for the families that descend a gradient ---------------------------------------------------------

    sequence_length: int = 2
    """Records in a training window: two make one transition."""

    fit_defaults: ClassVar[Mapping[str, Any]] = {}
    """What this family changes in the defaults of :func:`~imagine_envs.world_models.fit_model`."""

    def prepare(self, replay: Replay) -> None:
        """Looks at the data once before a fit: normalisation, constant targets, what is missing."""

    def loss(self, batch: Batch, *, generator: torch.Generator | None = None) -> Loss:
        """The training loss of a batch ``[B, T, …]``, without host synchronisation; whatever is sampled comes from
        ``generator``.
        """
        raise NotImplementedError(f"a {type(self).__name__} world is not learned by gradient")

    def validate(self, batch: Batch) -> Tensor:
        """Held-out error by which early stopping judges, one for each member (one without members): float32 ``[K]``."""
        return self.loss(batch).total.detach().reshape(1)

    def conclude(self, errors: Tensor) -> None:
        """Told the held-out errors ``[K]`` of the weights that were kept (an ensemble picks its elites)."""

    @classmethod
    def for_replay(cls, replay: Replay, **kwargs: Any) -> Self:
        """A model for the spaces (and columns) of ``replay``, not fitted yet; ``kwargs`` are the constructor's."""
        return cls(replay.observation_space, replay.action_space, **kwargs)

    # --- storage ----------------------------------------------------------------------------------------------------

    def hyperparameters(self) -> dict[str, Any]:
        """Keyword arguments, in JSON types, that build this model again besides its spaces."""
        return {}
