"""The perfect model: the environment's own physics behind the world model protocol. A control for every comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import Self

from imagine_envs.env_kwargs import task_kwargs
from imagine_envs.registration import registered_task
from imagine_envs.spaces import Observation
from imagine_envs.world_models.array_task import ArrayTask
from imagine_envs.world_models.classic_control import TASKS, Task, task
from imagine_envs.world_models.protocol import Prediction, State, WorldModel
from imagine_envs.world_models.tensor_task import TensorTask

if TYPE_CHECKING:
    from imagine_envs.experience.replay import Replay
    from imagine_envs.tasks import BatchedTask

__all__ = ["PerfectModel"]


class PerfectModel(WorldModel):
    """Dreams that are the real environment: classic control (as tensor ports), and all of :mod:`imagine_envs.tasks`.

    What an agent reaches in the dreams of a perfect model is the ceiling of what any learned model can give it.

    The state of classic control is ``{"state": float64 [B, S]}``. It is deterministic, so that ``sample`` and
    ``generator`` change nothing, and differentiable where the physics is (Pendulum and MountainCarContinuous, in state
    and action).

    The state of a task is its arrays as tensors, ``random`` (the random numbers to come) among them. ``imagine`` draws
    from ``generator``, as of any model; without one it draws from the state, which therefore has one and the same
    future: that of the environment whose snapshot it is (:meth:`state_of`). ``observe`` lets the rules go on by one
    step and then believes what is seen; what an observation does not show (clocks, where a ghost is heading) is what
    the rules make of it. ``temperature`` changes nothing. The extras of a prediction are the infos of the step.

    Args:
        observation_space: The environment's space.
        action_space: The environment's space.
        env_id: A Gymnasium id of :data:`~imagine_envs.world_models.classic_control.TASKS`, or of a ``TaskEnv``.
        env_kwargs: Keyword arguments of the environment's constructor.

    Raises:
        ValueError: If there is no port of the environment, or the spaces are not the environment's own (a wrapper
            changed them).

    Example:
        >>> model = PerfectModel.for_env("Pendulum-v1")
        >>> state, prediction = model.imagine(model.initial(64), torch.zeros(64, 1))
        >>> env = gym.make("Imagine/MiniPacman-Hunt-v0")
        >>> env.reset(seed=0)
        >>> model = PerfectModel.for_env(env)
        >>> future, prediction = model.imagine(model.state_of(env.unwrapped.snapshot()), torch.tensor([1]))
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
        self.env_id = env_id
        self.env_kwargs = task_kwargs(env_kwargs or {})
        self.task: Task | BatchedTask
        self._rules: TensorTask | ArrayTask
        if env_id in TASKS:
            self.task = task(env_id, env_kwargs)
            self._rules = TensorTask(self.task, observation_space)
        else:
            self.task = _task_behind(env_id, self.env_kwargs)
            self._rules = ArrayTask(self.task)
            self.markov = self.task.markov
        env = gymnasium.make(env_id, **self.env_kwargs)
        for name, found, expected in (
            ("observation_space", observation_space, env.observation_space),
            ("action_space", action_space, env.action_space),
        ):
            if found != expected:
                raise ValueError(f"{name} is {found}, but {env_id} has {expected}: a perfect model knows no wrappers")
        if isinstance(observation_space, spaces.Box):
            self.register_buffer("low", torch.as_tensor(observation_space.low, dtype=torch.float32).clone())
            self.register_buffer("high", torch.as_tensor(observation_space.high, dtype=torch.float32).clone())

    @classmethod
    def for_env(cls, env: str | gymnasium.Env[Any, Any] | gymnasium.vector.VectorEnv[Any, Any, Any]) -> Self:
        """The perfect model of an environment, given by its id or as an object (single or vector).

        Raises:
            ValueError: If the environment has no ``spec``, or its physics is not known.
        """
        if isinstance(env, str):
            if env not in TASKS:
                _task_behind(env, {})  # for the error that lists what there is, before gymnasium's own
            env = gymnasium.make(env)
        if env.spec is None:
            raise ValueError(f"{env} has no spec, so its id is unknown; an environment of gymnasium.make was expected")
        observation_space = getattr(env, "single_observation_space", env.observation_space)
        action_space = getattr(env, "single_action_space", env.action_space)
        return cls(observation_space, action_space, env.spec.id, task_kwargs(env.spec.kwargs))

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
        """Zeros (classic control) or an episode that begins (tasks); the first observation replaces what it shows."""
        return self._rules.initial(batch_size, self.device)

    def state_of(self, snapshot: dict[str, NDArray[Any]]) -> State:
        """The state of the episodes in a snapshot of a ``TaskEnv`` or ``TaskVectorEnv``, random numbers included.

        Raises:
            ValueError: If the snapshot is of another task, or this is a model of classic control.
        """
        return self._rules.state_of(snapshot, self.device)

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
        """The state that shows itself as ``observation``, see the class for what an observation does not show."""
        assert isinstance(observation, Tensor)
        return self._rules.observe(state, action, observation, first)

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
        return self._rules.imagine(state, action, generator)

    def features(self, state: State) -> Tensor:
        """The observation, flat, float32 ``[B, D]``: one-hot of a Discrete, images in [0, 1]."""
        return self._rules.features(state)

    def decode(self, state: State) -> Observation:
        """The observation, clipped to its space."""
        observation = self._rules.observation(state)
        return observation.clamp(self.low, self.high) if observation.is_floating_point() else observation

    def hyperparameters(self) -> dict[str, Any]:
        """``env_id`` and ``env_kwargs``."""
        return {"env_id": self.env_id, "env_kwargs": dict(self.env_kwargs)}


def _task_behind(env_id: str, env_kwargs: Mapping[str, Any]) -> BatchedTask:
    found = registered_task(env_id, env_kwargs)
    if found is None:
        raise ValueError(
            f"there is no perfect model of {env_id!r}: it is no task of imagine_envs.tasks, and there are tensor ports "
            f"of {', '.join(TASKS)} only"
        )
    return found
