"""The filter that turns real steps into the features that a policy of a latent dream sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from imagine_envs.dreams.dream import feature_space
from imagine_envs.dreams.vector_env import as_action
from imagine_envs.spaces import map_observation, to_tensor
from imagine_envs.whole_numbers import check_whole
from imagine_envs.world_models.protocol import State
from imagine_envs.world_models.world import World

__all__ = ["Filter", "FilterState"]


@dataclass(frozen=True)
class FilterState:
    """Where a filter is; plain data, never changed in place.

    Attributes:
        model: The world model's state, ``[B, …]``.
        generator: The state of the random stream that the posterior is sampled from.
    """

    model: State
    generator: Tensor


class Filter:
    """Follows real environments with a world model: observations and actions in, features out.

    The state of every row is ``observe``\\ d from real steps alone; what comes out is what the policy of a latent dream
    was trained on. Randomness is drawn for the full batch, so that which rows start anew changes nothing elsewhere.

    Args:
        world: The world whose features are wanted.
        num_envs: Rows B.
        seed: Of the samples of a stochastic posterior; None draws one.

    Attributes:
        world: The world.
        num_envs: Rows.
        digest: The digest of the world when the filter was made: features of another digest mean something else.
        observation_space: Of one row's features, the space of the latent dream.

    Raises:
        ValueError: If ``num_envs`` is less than one.

    Example:
        >>> follow = Filter(world, num_envs=1)
        >>> features = follow.reset(env.reset()[0][None])
        >>> observation, *_ = env.step(action)
        >>> features = follow.step(observation[None], np.array([action]), first=np.array([False]))
    """

    def __init__(self, world: World, num_envs: int = 1, seed: int | None = 0) -> None:
        check_whole("num_envs", num_envs)
        self.world = world
        self.num_envs = int(num_envs)
        self.digest = world.digest
        self._state = FilterState(world.model.initial(self.num_envs), torch.empty(0))
        self.observation_space = feature_space(world.model)
        space = world.action_space
        self._no_action = np.zeros((self.num_envs, *(space.shape or ())), dtype=space.dtype) + getattr(
            space, "start", 0
        )
        self.seed(seed)

    def seed(self, seed: int | None) -> None:
        """Begins a new random stream."""
        generator = self._new_generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(int(seed))
        self._state = FilterState(self._state.model, generator.get_state())

    def reset(self, observation: Any, rows: np.ndarray | None = None) -> np.ndarray:
        """Rows begin a new episode.

        Args:
            observation: The first observations, ``[B, …]``, or a dict of those; only ``rows`` of it are looked at.
            rows: Mask of the rows that begin anew, bool ``[B]``; None is all of them. The others stay as they are.

        Returns:
            The features of all rows, float32 ``[B, F]``, a fresh array.

        Raises:
            ValueError: If a shape is wrong, or an observation that is looked at is not finite.
        """
        first = np.ones(self.num_envs, dtype=bool) if rows is None else self._mask("rows", rows)
        if not first.any():
            return self._features()
        return self._observe(observation, self._no_action, first, first)

    def step(self, observation: Any, action: Any, first: np.ndarray) -> np.ndarray:
        """One real step of every row.

        Args:
            observation: What was arrived at, ``[B, …]``, or a dict of those.
            action: The action that led there, ``[B, …]``; without meaning where ``first`` is set.
            first: Mask of the rows for which ``observation`` is the first of a new episode, bool ``[B]``.

        Returns:
            The features, float32 ``[B, F]``, a fresh array.

        Raises:
            ValueError: If a shape is wrong, an action is not in its space, or an observation is not finite.
        """
        return self._observe(observation, action, self._mask("first", first), np.ones(self.num_envs, dtype=bool))

    def snapshot(self) -> FilterState:
        """Where the filter is; :meth:`restore` brings it back."""
        return self._state

    def restore(self, state: FilterState) -> None:
        """Goes back to a snapshot.

        Raises:
            ValueError: If the snapshot has another number of rows.
        """
        rows = next((len(tensor) for tensor in state.model.values()), self.num_envs)
        if rows != self.num_envs:
            raise ValueError(f"the snapshot holds {rows} rows, this filter {self.num_envs}")
        self._state = state

    @torch.no_grad()
    def _observe(self, observation: Any, action: Any, first: np.ndarray, looked_at: np.ndarray) -> np.ndarray:
        """Filters the rows ``looked_at``, of which ``first`` start anew; the others keep their state."""
        model, device, before = self.world.model, self.world.model.device, self._state
        seen = to_tensor(self._checked(observation, looked_at), self.world.observation_space, device)
        generator = self._new_generator()
        generator.set_state(before.generator)
        after = model.observe(
            before.model,
            as_action(action, self.world.action_space, self.num_envs, device),
            seen,
            torch.from_numpy(first).to(device),
            generator=generator,
        )
        if not looked_at.all():
            kept = torch.from_numpy(~looked_at).to(device).nonzero().squeeze(1)
            after = {key: new.index_copy(0, kept, before.model[key].to(new.dtype)[kept]) for key, new in after.items()}
        self._state = FilterState(after, generator.get_state())
        return self._features()

    def _features(self) -> np.ndarray:
        with torch.no_grad():
            return np.array(self.world.model.features(self._state.model).cpu().numpy(), dtype=np.float32)

    def _checked(self, observation: Any, looked_at: np.ndarray) -> Any:
        """Owned arrays of the right shapes. Rows that are not looked at may hold anything: they are overwritten."""
        space = self.world.observation_space
        parts = space.spaces if isinstance(space, spaces.Dict) else None
        if parts is not None and not (isinstance(observation, dict) and set(observation) == set(parts)):
            found = sorted(observation) if isinstance(observation, dict) else type(observation).__name__
            raise ValueError(f"observation is {found}; a dict with the keys {sorted(parts)} was expected")

        def check(value: Any, part: spaces.Space[Any]) -> np.ndarray:
            array = np.array(value)
            shape = (self.num_envs, *(part.shape or ()))
            if array.shape != shape:
                raise ValueError(f"observation has the shape {array.shape}; {shape} was expected for {part}")
            array[~looked_at] = array[looked_at.argmax()]
            if not np.isfinite(array).all():
                raise ValueError("observation holds NaN or infinity")
            return array

        return map_observation(check, observation, space if parts is None else parts)

    def _mask(self, name: str, mask: Any) -> np.ndarray:
        array = np.array(mask)
        if array.shape != (self.num_envs,) or array.dtype != np.bool_:
            raise ValueError(f"{name} is {array.dtype} {array.shape}; a bool mask ({self.num_envs},) was expected")
        return array

    def _new_generator(self) -> torch.Generator:
        return torch.Generator(self.world.model.device)
