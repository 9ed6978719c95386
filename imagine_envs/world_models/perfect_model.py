"""The perfect model: the environment's own physics behind the world model protocol. A control for every comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium
import torch
from gymnasium import spaces
from torch import Tensor
from typing_extensions import Self

from imagine_envs.spaces import Observation
from imagine_envs.world_models.classic_control import task
from imagine_envs.world_models.protocol import Prediction, State, WorldModel

if TYPE_CHECKING:
    from imagine_envs.experience.replay import Replay

__all__ = ["PerfectModel"]

_NOT_PHYSICS = {"render_mode", "max_episode_steps", "num_envs", "vectorization_mode", "vector_kwargs", "wrappers"}
"""What a spec's keyword arguments say of how the environment was made."""


class PerfectModel(WorldModel):
    """Dreams that are the real environment, for the environments that have a tensor port.

    What an agent reaches in the dreams of a perfect model is the ceiling of what any learned model can give it. The
    state is ``{"state": float64 [B, S]}``. It is deterministic: ``temperature``, ``sample`` and ``generator`` change
    nothing. It is differentiable where the physics is (Pendulum and MountainCarContinuous, in state and action).

    Args:
        observation_space: The environment's space.
        action_space: The environment's space.
        env_id: A Gymnasium id of :data:`~imagine_envs.world_models.classic_control.TASKS`.
        env_kwargs: Keyword arguments of the environment's constructor.

    Raises:
        ValueError: If there is no port of the environment, or the spaces are not the environment's own (a wrapper
            changed them).

    Example:
        >>> model = PerfectModel.for_env("Pendulum-v1")
        >>> state, prediction = model.imagine(model.initial(64), torch.zeros(64, 1))
    """

    family: ClassVar[str] = "perfect"
    markov = True
    can_decode = True
    has_uncertainty = False
    can_learn = False

    low: Tensor
    high: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        env_id: str,
        env_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(observation_space, action_space)
        self.task = task(env_id, env_kwargs)
        self.env_id = env_id
        self.env_kwargs = {key: value for key, value in (env_kwargs or {}).items() if key != "render_mode"}
        env = gymnasium.make(env_id, **self.env_kwargs)
        for name, found, expected in (
            ("observation_space", observation_space, env.observation_space),
            ("action_space", action_space, env.action_space),
        ):
            if found != expected:
                raise ValueError(f"{name} is {found}, but {env_id} has {expected}: a perfect model knows no wrappers")
        assert isinstance(observation_space, spaces.Box)
        self.register_buffer("low", torch.as_tensor(observation_space.low, dtype=torch.float32).clone())
        self.register_buffer("high", torch.as_tensor(observation_space.high, dtype=torch.float32).clone())

    @classmethod
    def for_env(cls, env: str | gymnasium.Env[Any, Any] | gymnasium.vector.VectorEnv[Any, Any, Any]) -> Self:
        """The perfect model of an environment, given by its id or as an object (single or vector).

        Raises:
            ValueError: If the environment has no ``spec``, or no tensor port.
        """
        if isinstance(env, str):
            task(env)  # for the error that lists the ports, before gymnasium's own
            env = gymnasium.make(env)
        if env.spec is None:
            raise ValueError(f"{env} has no spec, so its id is unknown; an environment of gymnasium.make was expected")
        observation_space = getattr(env, "single_observation_space", env.observation_space)
        action_space = getattr(env, "single_action_space", env.action_space)
        env_kwargs = {key: value for key, value in env.spec.kwargs.items() if key not in _NOT_PHYSICS}
        return cls(observation_space, action_space, env.spec.id, env_kwargs)

    @classmethod
    def for_replay(cls, replay: Replay, **kwargs: Any) -> Self:
        """The perfect model of the environment that ``replay`` comes from.

        Raises:
            ValueError: If the replay does not know its environment's id, or there is no port of it.
        """
        if "env_id" not in kwargs:
            if replay.env_id is None:
                raise ValueError("the replay does not know its environment's id (env_id), which a perfect model needs")
            kwargs = {"env_id": replay.env_id, "env_kwargs": replay.env_kwargs, **kwargs}
        return super().for_replay(replay, **kwargs)

    def initial(self, batch_size: int) -> State:
        """Zeros, ``[B, S]``; the first observation replaces them."""
        observation = torch.zeros(batch_size, *self.low.shape, dtype=torch.float64, device=self.device)
        return {"state": self.task.state_of(observation)}

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
        """The state that shows itself as ``observation``; nothing else matters."""
        assert isinstance(observation, Tensor)
        return {"state": self.task.state_of(observation.to(torch.float64))}

    def imagine(
        self,
        state: State,
        action: Tensor,
        *,
        temperature: float = 1.0,
        uncertainty: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[State, Prediction]:
        """One real step, without autoreset.

        Raises:
            ValueError: If ``uncertainty`` is asked for.
        """
        if uncertainty:
            raise ValueError("uncertainty=True was asked of a perfect model, which has none")
        next_state, reward, terminated = self.task.step(state["state"], action)
        return {"state": next_state}, Prediction(reward.to(torch.float32), terminated.to(torch.float32))

    def features(self, state: State) -> Tensor:
        """The observation, float32 ``[B, D]``."""
        return self.task.observation(state["state"])

    def decode(self, state: State) -> Observation:
        """The observation, clipped to its space."""
        return self.features(state).clamp(self.low, self.high)

    def hyperparameters(self) -> dict[str, Any]:
        """``env_id`` and ``env_kwargs``."""
        return {"env_id": self.env_id, "env_kwargs": dict(self.env_kwargs)}
