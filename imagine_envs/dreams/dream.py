"""The tensor core of a dream: functional, batched, strictly seeded."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from imagine_envs.spaces import Observation, to_tensor
from imagine_envs.whole_numbers import check_whole
from imagine_envs.world_models.protocol import State, WorldModel
from imagine_envs.world_models.world import World, resolve_device

__all__ = ["DEFAULT_HORIZON", "Dream", "DreamState", "Step", "feature_space"]

DEFAULT_HORIZON = 1_000
"""Steps of a dream of an environment that has no step limit."""


@dataclass(frozen=True)
class DreamState:
    """Everything a dream is at one moment; plain data, never changed in place.

    A snapshot is a reference to it, a fork is a second reference, a branched rollout starts from any of its rows.

    Attributes:
        model: The world model's state, ``[B, …]``.
        elapsed: int64 ``[B]``, steps since the row's start.
        extras: What was predicted on arriving here besides reward and termination (``action_mask``, …), ``[B, …]``.
        seed: The dream's seed.
        clock: Steps since the reset. Seed and clock are the whole random state: what is drawn in a step is a function
            of both and of the purpose of the draw, so that no option changes the random stream of another.
        finished: bool ``[B]``, rows that a façade restarts in its next step (NEXT_STEP), None where there are none.
            The dream itself pays no attention to it.
    """

    model: State
    elapsed: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)
    seed: int = 0
    clock: int = 0
    finished: Tensor | None = None

    def __len__(self) -> int:
        return int(self.elapsed.shape[0])


@dataclass(frozen=True)
class Step:
    """What one imagined step returned, ``[B]`` each.

    Attributes:
        reward: float32, penalties included.
        terminated: bool, the world ended the episode (or MOReL's halt did).
        truncated: bool, the horizon was reached (or the uncertainty too large): bootstrap the value here.
        uncertainty: float32, or None where no option asked for it.
    """

    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    uncertainty: Tensor | None = None


# One random stream per purpose.
_MODEL, _TERMINATION, _START = range(3)


class Dream:
    """A world model as something that can be stepped: tensors in, tensors out.

    Args:
        world: The world to dream.
        observation: "decoded" (the environment's own observations) or "latent" (the model's features).
        horizon: Steps until a row is truncated; None takes the environment's step limit, or 1,000 where it has none.
        temperature: Scales the spread of what is sampled; 0 is the mean.
        termination: "sample" draws the termination, "threshold" ends the episode where its probability exceeds ½.
        uncertainty_penalty: λ in r − λ·u (MOPO, Yu et al. 2020, equation 8). Negative values reward what is unknown.
        halt_uncertainty: Quantile of the uncertainty on the training data above which a row terminates with a
            penalty (MOReL, Kidambi et al. 2020, definition 1: the HALT state).
        halt_penalty: What halting costs; None takes the smallest reward of the data (if negative) for each step that
            is left until the horizon, as if the HALT state were absorbing.
        truncate_uncertainty: Quantile above which a row is truncated (its value is bootstrapped).
        starts: "replay" starts rows from any real context, "initial" from resets only.
        device: Where to dream; None stays where the world is, "auto" takes a GPU if there is one.

    Raises:
        ValueError: If an option makes no sense for this world; the message says what was expected.

    Example:
        >>> dream = Dream(World.load("worlds/cartpole"))
        >>> state = dream.reset(1024, seed=0)
        >>> state, step = dream.step(state, torch.zeros(1024, dtype=torch.int64))
        >>> dream.observation(state).shape
        torch.Size([1024, 4])
    """

    def __init__(
        self,
        world: World,
        *,
        observation: Literal["decoded", "latent"] = "decoded",
        horizon: int | None = None,
        temperature: float = 1.0,
        termination: Literal["sample", "threshold"] = "sample",
        uncertainty_penalty: float = 0.0,
        halt_uncertainty: float | None = None,
        halt_penalty: float | None = None,
        truncate_uncertainty: float | None = None,
        starts: Literal["replay", "initial"] = "replay",
        device: torch.device | str | None = None,
    ) -> None:
        if not isinstance(world, World):
            raise TypeError(f"world must be a World, not {type(world).__name__}")
        _check_choice("observation", observation, ("decoded", "latent"))
        _check_choice("termination", termination, ("sample", "threshold"))
        _check_choice("starts", starts, ("replay", "initial"))
        check_whole("horizon", horizon, or_none=True)
        if not (np.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"temperature={temperature} must be finite and not negative (0 is the mean)")
        if not np.isfinite(uncertainty_penalty):
            raise ValueError(f"uncertainty_penalty={uncertainty_penalty} must be finite")
        if observation == "decoded" and not world.model.can_decode:
            raise ValueError(f"a world of family {world.model.family!r} cannot decode: ask for observation='latent'")
        if halt_penalty is not None and halt_uncertainty is None:
            raise ValueError("halt_penalty needs halt_uncertainty, the quantile above which a row halts")
        self._asks_uncertainty = (
            uncertainty_penalty != 0 or halt_uncertainty is not None or truncate_uncertainty is not None
        )
        if self._asks_uncertainty and not world.model.has_uncertainty:
            raise ValueError(
                "uncertainty_penalty, halt_uncertainty and truncate_uncertainty need a world that has uncertainty; "
                f"one of family {world.model.family!r} has none"
            )
        self.world = world if device is None else world.to(resolve_device(device))
        self.observation_kind = observation
        self.horizon = int(horizon or world.spec.max_episode_steps or DEFAULT_HORIZON)
        self.temperature = float(temperature)
        self.termination = termination
        self.uncertainty_penalty = float(uncertainty_penalty)
        self.starts = starts
        self._halt = None if halt_uncertainty is None else world.uncertainty_quantile(halt_uncertainty)
        self._truncate = None if truncate_uncertainty is None else world.uncertainty_quantile(truncate_uncertainty)
        self._halt_penalty = halt_penalty
        self._generators: dict[int, torch.Generator] = {}

        # Row i of the dream's starts is row i of the world's; the kind "initial" is a subset of them.
        if starts == "initial":
            self._rows = world.contexts.initial.nonzero().squeeze(1)
            if len(self._rows) == 0:
                raise ValueError("starts='initial' needs a world whose data holds a reset; this one has none")
        else:
            self._rows = torch.arange(len(world.contexts), device=world.model.device)

        self.action_space = world.action_space
        self.observation_space: spaces.Space[Any]
        if observation == "decoded":
            self.observation_space = world.observation_space
        else:
            self.observation_space = feature_space(world.model)

    @property
    def device(self) -> torch.device:
        """Where the dream lives."""
        return self.world.model.device

    @cached_property
    def has_action_masks(self) -> bool:
        """Whether the valid actions are known at every step: where a dream starts, and wherever it goes."""
        if "action_mask" not in self.world.contexts.columns:
            return False
        space, start = self.action_space, _rows_of(self.world.starts, self._rows[:1])
        lowest = np.zeros((1, *(space.shape or ())), space.dtype) + getattr(space, "start", 0)
        with torch.no_grad():
            action = to_tensor(lowest, space, self.device)
            generator = torch.Generator(self.device).manual_seed(0)
            return "action_mask" in self.world.model.imagine(start, action, generator=generator)[1].extras

    def reset(self, batch_size: int, *, seed: int = 0) -> DreamState:
        """A fresh dream of ``batch_size`` rows.

        Raises:
            ValueError: If ``batch_size`` is less than one.
        """
        check_whole("batch_size", batch_size)
        empty = torch.zeros(batch_size, dtype=torch.int64, device=self.device)
        return self.restart(DreamState({}, empty, {}, seed), torch.ones_like(empty, dtype=torch.bool))

    def step(self, state: DreamState, action: Tensor) -> tuple[DreamState, Step]:
        """Dreams one step of every row; nobody is restarted here.

        It is differentiable where the model is, so a rollout without gradients belongs under ``torch.no_grad()``: the
        state would keep the graph of every step before it.

        Args:
            state: Where the dream is.
            action: int64 ``[B]`` or float32 ``[B, A]``, in the environment's numbering and units.

        Returns:
            Where it went, and what it returned.
        """
        model, prediction = self.world.model.imagine(
            state.model,
            action,
            temperature=self.temperature,
            uncertainty=self._asks_uncertainty,
            generator=self._generator(state, _MODEL),
        )
        elapsed = state.elapsed + 1
        truncated = elapsed >= self.horizon
        if self.termination == "sample":
            chance = torch.rand(len(state), generator=self._generator(state, _TERMINATION), device=elapsed.device)
            terminated = chance < prediction.terminated
        else:
            terminated = prediction.terminated > 0.5
        reward = prediction.reward
        if self._asks_uncertainty:
            reward, terminated, truncated = self._heed(prediction.uncertainty, reward, terminated, truncated, elapsed)
        after = DreamState(model, elapsed, prediction.extras, state.seed, state.clock + 1)
        return after, Step(reward, terminated, truncated, prediction.uncertainty)

    def restart(self, state: DreamState, rows: Tensor) -> DreamState:
        """The same dream with the rows of the mask ``rows`` (bool ``[B]``) started anew from real contexts."""
        # Drawn for the full batch, so that which rows restart does not change where the others would.
        size, device = state.elapsed.shape[0], state.elapsed.device
        draws = torch.randint(len(self._rows), (size,), generator=self._generator(state, _START), device=device)
        which = rows.nonzero().squeeze(1)
        whole = which.shape[0] == size
        chosen = self._rows.index_select(0, draws if whole else draws.index_select(0, which))

        def put(old: dict[str, Tensor], fresh: dict[str, Tensor]) -> dict[str, Tensor]:
            fresh = _rows_of(fresh, chosen)
            if whole:
                return fresh
            return {
                key: value.index_copy(0, which, fresh[key].to(value.dtype))
                if key in fresh
                else value.index_fill(0, which, 0)  # an extra that contexts do not hold: nothing of it has happened yet
                for key, value in old.items()
            }

        model, extras = put(state.model, self.world.starts), put(state.extras, self.world.contexts.columns)
        elapsed = state.elapsed.masked_fill(rows, 0)
        return DreamState(model, elapsed, extras, state.seed, state.clock, state.finished)

    def observation(self, state: DreamState) -> Observation:
        """What a policy sees, ``[B, …]``: the decoded observation, or the features of a latent dream."""
        if self.observation_kind == "decoded":
            return self.world.model.decode(state.model)
        return self.world.model.features(state.model)

    def _heed(
        self, uncertainty: Tensor | None, reward: Tensor, terminated: Tensor, truncated: Tensor, elapsed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Applies the three uses of uncertainty: penalty, halt, truncation."""
        assert uncertainty is not None
        if self.uncertainty_penalty:
            reward = reward - self.uncertainty_penalty * uncertainty
        if self._halt is not None:
            halted = (uncertainty > self._halt) & ~terminated
            if self._halt_penalty is None:
                worst = min(0.0, self.world.spec.data.get("reward_min", 0.0))
                penalty = -worst * (self.horizon - elapsed + 1).to(reward.dtype)
                reward = torch.where(halted, -penalty, reward)
            else:
                reward = torch.where(halted, reward - self._halt_penalty, reward)
            terminated = terminated | halted
        if self._truncate is not None:
            truncated = truncated | (uncertainty > self._truncate)
        return reward, terminated, truncated

    def _generator(self, state: DreamState, purpose: int) -> torch.Generator:
        """The random stream of one purpose in this step of this dream."""
        generator = self._generators.get(purpose)
        if generator is None:
            generator = self._generators[purpose] = torch.Generator(self.device)
        return generator.manual_seed(_mix(state.seed, state.clock, purpose))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_generators": {}}


def feature_space(model: WorldModel) -> spaces.Box:
    """The space of a world model's features: of latent dreams, and of real environments seen through its filter.

    Features know no bounds. The largest float stands for them, as Gymnasium's checker takes infinity for a mistake.
    """
    with torch.no_grad():
        width = int(model.features(model.initial(1)).shape[1])
    largest = np.finfo(np.float32).max
    return spaces.Box(-largest, largest, (width,), np.float32)


def _mix(*numbers: int) -> int:
    """A 63-bit hash of integers (splitmix64's finaliser over a running sum)."""
    hashed = 0
    for number in numbers:
        hashed = (hashed + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        hashed = ((hashed ^ (hashed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        hashed = ((hashed ^ (hashed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        hashed ^= hashed >> 31
    return hashed >> 1


def _rows_of(tensors: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    return {key: tensor.index_select(0, rows) for key, tensor in tensors.items()}


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, choices))}")
