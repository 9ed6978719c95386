"""A tabular world model: every outcome that was seen, counted or only the last one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from imagine_envs.discretizer import Discretizer
from imagine_envs.spaces import Observation
from imagine_envs.world_models.protocol import Prediction, State, WorldModel
from imagine_envs.world_models.tabular.faults import fault
from imagine_envs.world_models.tabular.tables import Tables, learn_all

if TYPE_CHECKING:
    from imagine_envs.experience.replay import Replay

__all__ = ["Tabular"]

_LIMIT = 4 << 30
"""Bytes that the tables may take when all of them are in use."""

_AT_A_TIME = 65_536
"""Transitions read at a time."""


class Tabular(WorldModel):
    """What happened in each state after each action, as a table (Sutton & Barto, chapter 8).

    The state is ``{"index": int64 [B]}``, the number of a Discrete observation (from 0) or of a cell of the
    ``discretizer``. A pair of state and action that was never tried stays where it is, without a reward, as Dyna-Q+
    assumes (section 8.3).

    Args:
        observation_space: A Discrete, or a Box together with a ``discretizer``.
        action_space: A Discrete.
        stochastic: Whether each distinct outcome (successor and termination) is counted and dreamed as often as it was
            seen; otherwise the last outcome of a pair is all that is known of it.
        discretizer: Bins of a Box: a :class:`~imagine_envs.discretizer.Discretizer`, or its keyword arguments.

    Attributes:
        num_states: S.
        num_actions: A.
        stochastic: As given.
        discretizer: The discretizer, None for Discrete observations.

    Raises:
        ValueError: If a space is another, a Box comes without a discretizer, or the tables would be too large.

    Example:
        >>> env = gym.make("Imagine/DynaMaze-v0")
        >>> world = fit(Tabular(env.observation_space, env.action_space), collect(env, steps=5_000, seed=0))
        >>> world.model.tables.count.sum()  # last-outcome: one for each time that the pair did the same again
        5000
    """

    family: ClassVar[str] = "tabular"
    markov = True
    can_decode = True
    has_uncertainty = True
    can_learn = False

    table_successor: Tensor
    table_count: Tensor
    table_reward: Tensor
    table_terminated: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *,
        stochastic: bool = False,
        discretizer: Discretizer | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(observation_space, action_space)
        if not isinstance(action_space, spaces.Discrete):
            raise ValueError(f"action_space is {action_space}; a tabular world needs a Discrete")
        self.stochastic = bool(stochastic)
        self.discretizer: Discretizer | None = None
        if isinstance(observation_space, spaces.Discrete):
            if discretizer is not None:
                raise ValueError(f"{observation_space} numbers its states already; a discretizer is for a Box")
            self.num_states = int(observation_space.n)
        elif isinstance(observation_space, spaces.Box):
            if discretizer is None:
                raise ValueError(
                    f"observation_space is {observation_space}; to be tabulated it needs a discretizer, such as "
                    "Discretizer(observation_space, bins=10)"
                )
            if not isinstance(discretizer, Discretizer):
                discretizer = Discretizer(observation_space, **discretizer)
            if discretizer.space != observation_space:
                raise ValueError(
                    f"the discretizer is for {discretizer.space}, observation_space is {observation_space}"
                )
            self.discretizer = discretizer
            self.num_states = discretizer.num_states
        else:
            raise ValueError(
                f"observation_space is {observation_space}; a Discrete, or a Box with a discretizer, was expected"
            )
        self.num_actions = int(action_space.n)
        self._put(self._empty(1))

    # --- tables -----------------------------------------------------------------------------------------------------

    @property
    def tables(self) -> Tables:
        """Views of the buffers, to learn and plan with in place; :meth:`grow` and loading make them stale.

        Raises:
            ValueError: If the model is not on the CPU.
        """
        if self.device.type != "cpu":
            raise ValueError(f"the tables lie on {self.device}; only on the CPU can they be seen as arrays")
        return Tables(*(getattr(self, f"table_{name}").numpy() for name in Tables._fields))

    def grow(self) -> None:
        """Doubles K, the outcomes that each pair has room for; what was learned stays, in the same order.

        Raises:
            ValueError: If the tables would be too large; the model is then as it was.
        """
        old = self.tables
        slots = old.count.shape[2]
        new = self._empty(2 * slots)
        for name in ("successor", "count", "reward", "terminated"):
            getattr(new, name)[..., :slots] = getattr(old, name)
        for name in ("states", "num_states", "actions", "num_actions"):
            getattr(new, name)[:] = getattr(old, name)

        def moved(slot: NDArray[np.int64]) -> NDArray[np.int64]:
            return np.where(slot < 0, -1, slot // slots * 2 * slots + slot % slots)

        linked = np.flatnonzero((old.count > 0) & ~old.terminated)
        new.head[:] = moved(old.head)
        new.next[moved(linked)] = moved(old.next[linked])
        new.previous[moved(linked)] = moved(old.previous[linked])
        self._put(new)

    def learn(
        self, state: ArrayLike, action: ArrayLike, reward: ArrayLike, successor: ArrayLike, terminated: ArrayLike
    ) -> None:
        """Notes real steps, ``[N]`` each, in their order; states and actions are numbers from 0.

        Raises:
            ValueError: If a number is none of the states or actions, a reward is not finite, or the lengths differ
                (nothing is learned then); or if the tables become too large.
        """
        states, actions, successors = (np.asarray(part, np.int64) for part in (state, action, successor))
        rewards, ends = np.asarray(reward, np.float64), np.asarray(terminated, bool)
        shapes = [str(part.shape) for part in (states, actions, rewards, successors, ends)]
        if states.ndim != 1 or len(set(shapes)) > 1:
            raise ValueError(
                f"state, action, reward, successor and terminated have shapes {', '.join(shapes[:-1])} and "
                f"{shapes[-1]}; the same [N] was expected of all"
            )
        for name, part, size in (
            ("state", states, self.num_states),
            ("action", actions, self.num_actions),
            ("successor", successors, self.num_states),
        ):
            if ((part < 0) | (part >= size)).any():
                raise ValueError(f"a {name} is not one of 0 to {size - 1}")
        if not (finite := np.isfinite(rewards)).all():
            raise ValueError(f"a reward is {rewards[~finite][0]}; finite numbers were expected")
        done = 0
        while (done := learn_all(self.tables, self.stochastic, states, actions, rewards, successors, ends, done)) < len(
            states
        ):
            self.grow()

    def encode(self, observation: ArrayLike) -> NDArray[np.int64]:
        """The numbers of the states that observations ``[B, …]`` show, int64 ``[B]``.

        Raises:
            ValueError: If an observation does not belong to the space.
        """
        if self.discretizer is not None:
            return self.discretizer.index(observation)
        assert isinstance(self.observation_space, spaces.Discrete)
        index = np.asarray(observation, np.int64) - int(self.observation_space.start)
        if ((index < 0) | (index >= self.num_states)).any():
            raise ValueError(f"an observation lies outside {self.observation_space}")
        return index

    def _empty(self, slots: int) -> Tables:
        """Tables for K outcomes of each pair. Memory that stays zero is never touched, and so never taken."""
        size, choices = self.num_states, self.num_actions
        shape, number = (size, choices, slots), size * choices * slots
        needed = 41 * number + 8 * size * choices + 24 * size
        if needed > _LIMIT:
            raise ValueError(
                f"tables of {size:,} states × {choices} actions × {slots} outcomes may take {needed / 2**30:,.1f} GiB; "
                f"the limit is {_LIMIT / 2**30:g} GiB"
            )
        return Tables(
            successor=np.zeros(shape, np.int64),
            count=np.zeros(shape, np.int64),
            reward=np.zeros(shape, np.float64),
            terminated=np.zeros(shape, np.bool_),
            head=np.full(size, -1, np.int64),
            next=np.zeros(number, np.int64),
            previous=np.zeros(number, np.int64),
            states=np.zeros(size, np.int64),
            num_states=np.zeros(1, np.int64),
            actions=np.zeros((size, choices), np.int64),
            num_actions=np.zeros(size, np.int64),
        )

    def _put(self, tables: Tables) -> None:
        for name, array in tables._asdict().items():
            self.register_buffer(f"table_{name}", torch.from_numpy(array))

    # --- learning ---------------------------------------------------------------------------------------------------

    def prepare(self, replay: Replay) -> None:
        """Learns all transitions, stream by stream and the oldest first; what was known before is forgotten."""
        device = self.device
        self._put(self._empty(1))
        for start in range(0, replay.num_transitions, _AT_A_TIME):
            batch = replay.transitions(slice(start, start + _AT_A_TIME))
            assert isinstance(batch.observation, Tensor)
            self.learn(
                self.encode(batch.observation[:, 0].numpy()),
                self._choice(batch.action[:, 1]).numpy(),
                batch.reward[:, 1].numpy(),
                self.encode(batch.observation[:, 1].numpy()),
                batch.terminated[:, 1].numpy(),
            )
        self.to(device)

    # --- simulation -------------------------------------------------------------------------------------------------

    def initial(self, batch_size: int) -> State:
        """State 0 in all rows."""
        return {"index": torch.zeros(batch_size, dtype=torch.int64, device=self.device)}

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
        """The state that ``observation`` shows; nothing is learned."""
        assert isinstance(observation, Tensor)
        return {"index": torch.from_numpy(self.encode(observation.cpu().numpy())).to(observation.device)}

    def imagine(
        self,
        state: State,
        action: Tensor,
        *,
        temperature: float = 1.0,
        uncertainty: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[State, Prediction]:
        """An outcome of the pair, with probabilities in proportion to ``count ** (1 / temperature)``; at temperature 0
        the most frequent one, of equally frequent ones that which was seen first.

        The uncertainty is 1/√(1 + n), n the times that the pair was tried (in a last-outcome model, since its outcome
        last changed): 1 where it never was.
        """
        index = state["index"]
        choice = self._choice(action)
        count = self.table_count[index, choice].double()
        tried = count.sum(1)
        number = torch.rand(len(index), dtype=torch.float64, generator=generator, device=index.device)
        largest = count.max(1, keepdim=True).values.clamp(min=1)
        weight = (count / largest) ** (1 / temperature) if temperature > 0 else (count == largest).double()
        total = weight.cumsum(1)
        if temperature > 0:
            slot = (number[:, None] * total[:, -1:] >= total).sum(1)
        else:
            slot = (total < 1).sum(1)
        slot = torch.minimum(slot, (count > 0).sum(1) - 1).clamp(min=0)
        known = tried > 0
        following = torch.where(known, self.table_successor[index, choice, slot], index)
        prediction = Prediction(
            torch.where(known, self.table_reward[index, choice, slot], 0.0).float(),
            (known & self.table_terminated[index, choice, slot]).float(),
            torch.rsqrt(1 + tried).float() if uncertainty else None,
        )
        return {"index": following}, prediction

    def features(self, state: State) -> Tensor:
        """One-hot of a Discrete, float32 ``[B, S]``, or the middle of the cell, flat, float32 ``[B, D]``."""
        if self.discretizer is None:
            return torch.nn.functional.one_hot(state["index"], self.num_states).float()
        observation = self.decode(state)
        assert isinstance(observation, Tensor)
        return observation.flatten(1).float()

    def decode(self, state: State) -> Observation:
        """The observation's number, int64 ``[B]``, or the middle of the cell, ``[B, *shape]``."""
        index = state["index"]
        if self.discretizer is None:
            assert isinstance(self.observation_space, spaces.Discrete)
            return index + int(self.observation_space.start)
        centre = self.discretizer.centre(index.cpu().numpy())
        return torch.from_numpy(centre.astype(np.float32) if centre.dtype.kind == "f" else centre).to(index.device)

    def _choice(self, action: Tensor) -> Tensor:
        assert isinstance(self.action_space, spaces.Discrete)
        return action - int(self.action_space.start)

    # --- storage ----------------------------------------------------------------------------------------------------

    def hyperparameters(self) -> dict[str, Any]:
        """``stochastic``, and the settings of the discretizer."""
        settings = None if self.discretizer is None else self.discretizer.settings()
        return {"stochastic": self.stochastic, "discretizer": settings}

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Makes room for as many outcomes as the tables have, and takes them only if they are whole."""
        error_msgs: list[str] = args[-1]
        device, count = self.device, state_dict.get(f"{prefix}table_count")
        if count is not None and tuple(count.shape[:2]) == (self.num_states, self.num_actions) and count.dim() == 3:
            if not self.stochastic and count.shape[2] != 1:
                error_msgs.append(f"a last-outcome table has {count.shape[2]} outcomes of each pair, not 1")
                return
            try:
                self._put(self._empty(count.shape[2]))
            except ValueError as error:
                error_msgs.append(str(error))
                return
        super()._load_from_state_dict(state_dict, prefix, *args)
        if not error_msgs:
            self.to("cpu")
            if (wrong := fault(self.tables)) is not None:
                error_msgs.append(f"the tables are not whole: {wrong}")
                self._put(self._empty(1))
        self.to(device)
