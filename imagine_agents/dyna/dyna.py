"""Dyna: any off-policy algorithm that learns from real steps and from imagined ones."""

from __future__ import annotations

import functools
import inspect
import io
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import maybe_make_env
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecTransposeImage
from torch import Tensor
from typing_extensions import Self

from imagine_agents.common.bounded_features import with_bounded_features
from imagine_agents.common.own_world import (
    build,
    check_names,
    family_of,
    pack,
    saved_attributes,
    unpack,
    untransposed,
    without_own_world,
)
from imagine_agents.common.sequence_algorithm import SequenceAlgorithm
from imagine_agents.dyna.acting import chosen, entropy_coefficient, explored, frozen
from imagine_agents.dyna.branching import Expansion, branches, dreaming_from, expansion
from imagine_agents.dyna.defaults import dyna_defaults, off_policy_algorithm
from imagine_agents.dyna.layout import rewards_for_policy
from imagine_agents.dyna.replay_buffer import MixedReplayBuffer
from imagine_agents.dyna.schedule import Horizon, checked_horizon, horizon_at
from imagine_agents.dyna.transitions import ImaginedBuffer, Transitions
from imagine_envs.dreams import Dream
from imagine_envs.dreams.dream import DreamState
from imagine_envs.experience.steppers import stepper_for
from imagine_envs.spaces import Observation, map_observation
from imagine_envs.storage import StorageError, load_tensors, save_tensors
from imagine_envs.whole_numbers import check_whole
from imagine_envs.world_models import World, WorldModel, fit
from imagine_envs.world_models.fit import fit_model
from imagine_envs.world_models.world import burned_in, context_length

__all__ = ["Dyna"]

_FEWEST = 10  # windows of real experience before a world is fitted
_STARTS = 1_000  # contexts in the agent's own world, for those who want to dream it
_REAL, _IMAGINED = "real", "imagined.safetensors"
# What the algorithm inside cannot be told, and why.
_NOT_FOR_THE_ALGORITHM = {
    "replay_buffer_class": "the replay buffer is Dyna's own",
    "replay_buffer_kwargs": "the replay buffer is Dyna's own",
    "optimize_memory_usage": "the replay buffer is Dyna's own",
    "n_steps": "value_expansion looks ahead by the model",
}
_NOT_FOR_THE_DREAM = ("observation", "horizon", "starts", "device")
_UNSURE = ("uncertainty_penalty", "halt_uncertainty", "truncate_uncertainty")


class Dyna(SequenceAlgorithm):
    """A stock off-policy algorithm that learns from real and from imagined steps.

    Real steps fill the replay. Every ``model_train_freq`` of them the world model is fitted again; every
    ``rollout_freq`` of them branches of ``horizon`` imagined steps start in real states, act with the present policy
    and fill a second, imagined buffer. Each gradient step of the stock algorithm, whose own ``train`` is called
    unchanged, learns from a batch of both. Only real steps count as ``num_timesteps``.

    The object is also one of the algorithm's class: ``Dyna("MlpPolicy", env, algorithm=SAC)`` is a ``SAC``, with its
    attributes and policies. Its files hold the world too: ``Dyna.load`` reads them.

    Source: Sutton, "Dyna, an integrated architecture for learning, planning, and reacting" (1991); Janner et al., "When
    to trust your model: model-based policy optimization" (MBPO, 2019), algorithm 2; Feinberg et al., "Model-based value
    expansion for efficient model-free reinforcement learning" (MVE, 2018), without the critic's training at imagined
    states (the imagined buffer does that). What differs from MBPO's released code: branches may start more often than
    the model is fitted, and the world is whatever family is asked for.

    Args:
        policy: The algorithm's policy ("MlpPolicy", …).
        env: The real environment, or its id.
        algorithm: DQN, QRDQN, SAC, TD3, TQC, DDPG, CrossQ or a subclass, by class or name; None is SAC for Box actions
            and DQN for Discrete ones.
        algorithm_kwargs: Its constructor's further arguments.
        world_model: Name of a family, or a model for the spaces of ``env``. A model with memory is made to filter the
            real records before a branch.
        world_model_kwargs: Constructor arguments of the family.
        fit_kwargs: Arguments of :func:`imagine_envs.world_models.fit`.
        dream_kwargs: Options of :class:`~imagine_envs.dreams.Dream`: ``truncate_uncertainty`` (cuts a branch off where
            the model is unsure), ``uncertainty_penalty``, ``temperature``, … .
        model_train_freq: Real steps between two fits.
        real_ratio: The share of real steps in each batch (MBPO: 0.05); 1 imagines nothing.
        rollouts_per_step: Branches for each real step since the last round (MBPO: 400).
        rollout_freq: Real steps between two rounds of branches, at least: rounds take place before gradient steps.
        horizon: Steps of a branch: a number, or ``(start, end, from, to)``: ``from`` until ``start``, then linearly to
            ``to`` at ``end``, in real steps or in fractions of all of them. (MBPO's [20, 150, 1, 15] is in epochs of
            1,000 steps.)
        retain_steps: For how many real steps imagined ones are kept: the imagined buffer holds ``rollouts_per_step ·
            retain_steps · horizon``.
        rollout_noise: Exploration in branches where the policy itself has none: the chance of a random action (DQN,
            QRDQN), or the standard deviation of noise on the scaled action (TD3, DDPG).
        value_expansion: H imagined steps by which every target looks further ahead: r + γ r̂ + … + γ^(H+1) Q(ŝ). Beside
            the imagined buffer, or with ``real_ratio=1`` in the place of it.
        learning_rate: As these all, of the algorithm; None is its default here
            (:mod:`imagine_agents.dyna.defaults`).
        buffer_size: Most real records in the replay.
        learning_starts: Real steps at random before anything is learned.
        batch_size: Steps in a batch, real and imagined.
        tau: Rate at which target networks follow.
        gamma: Discount.
        train_freq: Real steps between two rounds of gradient steps.
        gradient_steps: Gradient steps in a round (MBPO: 20 to 40 for each real step).
        action_noise: Noise on the actions of real steps, for algorithms whose policy is deterministic.
        policy_kwargs: Of the policy. Flat observations are scaled by their bounds
            (:class:`~imagine_agents.common.bounded_features.BoundedFeatures`) unless a features extractor is given, or
            ``VecNormalize`` scales them.
        stats_window_size: Real episodes that ``rollout/*`` averages over.
        tensorboard_log: Folder of the TensorBoard log.
        verbose: 0 is silent, 1 prints the log table.
        seed: Seeds everything.
        device: Where policy and world live.
        _init_setup_model: Whether to build the networks at once.

    Raises:
        ValueError: If an argument makes no sense; the message names it.

    Example:
        >>> from imagine_agents import Dyna
        >>> from stable_baselines3 import SAC
        >>> model = Dyna("MlpPolicy", "Pendulum-v1", algorithm=SAC, seed=0).learn(2_500)
    """

    resumes_exactly: ClassVar[bool] = True
    algorithm: type[OffPolicyAlgorithm]
    horizon: Horizon
    replay_buffer: MixedReplayBuffer | None

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str | None,
        *,
        algorithm: type[OffPolicyAlgorithm] | str | None = None,
        algorithm_kwargs: dict[str, Any] | None = None,
        world_model: str | WorldModel = "ensemble",
        world_model_kwargs: dict[str, Any] | None = None,
        fit_kwargs: dict[str, Any] | None = None,
        dream_kwargs: dict[str, Any] | None = None,
        model_train_freq: int = 250,
        real_ratio: float = 0.05,
        rollouts_per_step: int = 400,
        rollout_freq: int = 25,
        horizon: int | Sequence[float] = 1,
        retain_steps: int = 1_000,
        rollout_noise: float = 0.1,
        value_expansion: int = 0,
        learning_rate: float | Schedule | None = None,
        buffer_size: int | None = None,
        learning_starts: int | None = None,
        batch_size: int | None = None,
        tau: float | None = None,
        gamma: float | None = None,
        train_freq: int | tuple[int, str] | None = None,
        gradient_steps: int | None = None,
        action_noise: ActionNoise | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        env = None if env is None else maybe_make_env(env, verbose)
        united_with = getattr(type(self), "united_with", None)
        if united_with is None:  # else SB3's `load` makes an object of a class that has its algorithm
            if env is None:
                raise ValueError("env is None; an environment, or its id, was expected (only load() does without)")
            united_with = off_policy_algorithm(algorithm, env.action_space)
            self.__class__ = _united(type(self), united_with)
        own = {
            "learning_rate": learning_rate,
            "buffer_size": buffer_size,
            "learning_starts": learning_starts,
            "batch_size": batch_size,
            "tau": tau,
            "gamma": gamma,
            "train_freq": train_freq,
            "gradient_steps": gradient_steps,
            "action_noise": action_noise,
            "policy_kwargs": None if policy_kwargs is None else dict(policy_kwargs),  # SB3 writes into it
        }
        own = {name: value for name, value in own.items() if value is not None}
        self.algorithm = united_with
        self.family = family_of(world_model, world_model_kwargs)
        self._given_model = world_model if isinstance(world_model, WorldModel) else None
        common: dict[str, Any] = {
            "tensorboard_log": tensorboard_log,
            "verbose": verbose,
            "seed": seed,
            "device": device,
            "_init_setup_model": False,
        }
        super().__init__(policy, env, **_merged(united_with, algorithm_kwargs or {}, own), **common)  # type: ignore[arg-type]
        normalize = self._vec_normalize_env
        if env is not None and (normalize is None or not normalize.norm_obs):
            self.policy_kwargs = with_bounded_features(self.policy_kwargs, self.policy_class, self.observation_space)
        self._stats_window_size = stats_window_size  # DDPG's constructor has no word for it
        self.world_model_kwargs = dict(world_model_kwargs or {})
        self.fit_kwargs = dict(fit_kwargs or {})
        self.dream_kwargs = dict(dream_kwargs or {})
        self.model_train_freq = model_train_freq
        self.real_ratio = real_ratio
        self.rollouts_per_step = rollouts_per_step
        self.rollout_freq = rollout_freq
        self.horizon = horizon  # type: ignore[assignment]  # until it is checked
        self.retain_steps = retain_steps
        self.rollout_noise = rollout_noise
        self.value_expansion = value_expansion
        self.dream_steps = 0
        self.world_data: dict[str, Any] | None = None
        self._fitted_at: int | None = None  # real steps when the world was fitted last, in this run of `learn`
        self._branched_at: int | None = None
        self._world: World | None = None
        self._dream: Dream | None = None
        if _init_setup_model:
            self._setup_model()

    # --- what SB3 asks of an algorithm ------------------------------------------------------------------------------

    def _setup_model(self) -> None:
        self._check_settings()  # here, as `load` may have changed them
        self.replay_buffer_class = MixedReplayBuffer
        self.replay_buffer_kwargs = {**self.replay_buffer_kwargs, "real_ratio": self.real_ratio}
        if self.env is not None:
            self._check_env()
            self.replay_buffer_kwargs["world_observation_space"] = untransposed(self.env).observation_space
        super()._setup_model()
        assert self.replay_buffer is not None
        self._identify()
        replay = self.replay_buffer.replay
        self.world_model = build(
            self._given_model,
            self.family,
            self.world_model_kwargs,
            replay,
            (replay.observation_space, self.action_space),
            self.device,
        )
        self.world_model_kwargs = self.world_model.hyperparameters()
        self._check_world()

    def _check_settings(self) -> None:
        for name, least in (
            ("model_train_freq", 1),
            ("rollouts_per_step", 1),
            ("rollout_freq", 1),
            ("retain_steps", 1),
            ("value_expansion", 0),
        ):
            check_whole(name, getattr(self, name), least)
        if self.retain_steps < self.rollout_freq:
            raise ValueError(
                f"retain_steps={self.retain_steps} is less than rollout_freq={self.rollout_freq}: one round of "
                "branches would not fit into the imagined buffer"
            )
        if not 0 <= self.real_ratio <= 1:
            raise ValueError(f"real_ratio={self.real_ratio} must lie between 0 and 1")
        if not (np.isfinite(self.rollout_noise) and self.rollout_noise >= 0):
            raise ValueError(f"rollout_noise={self.rollout_noise} must be finite and not negative")
        if isinstance(self.action_space, spaces.Discrete) and self.rollout_noise > 1:
            raise ValueError(f"rollout_noise={self.rollout_noise} must be at most 1: the chance of a random action")
        self.horizon = checked_horizon(self.horizon)
        check_names("fit_kwargs", self.fit_kwargs, fit, fit_model)
        check_names("dream_kwargs", self.dream_kwargs, Dream.__init__)
        if taken := sorted(set(self.dream_kwargs) & set(_NOT_FOR_THE_DREAM)):
            raise ValueError(f"dream_kwargs has {', '.join(taken)}; where and how far branches go, Dyna itself says")

    def _identify(self) -> None:
        """Says to an empty replay what environment it will be of."""
        assert self.replay_buffer is not None
        replay = self.replay_buffer.replay
        if self.env is not None and not len(replay):
            identity = stepper_for(untransposed(self.env)).identity()
            replay.env_id, replay.env_kwargs, replay.max_episode_steps = identity

    def _check_env(self) -> None:
        if self._vec_normalize_env is not None and isinstance(self.env, VecTransposeImage):
            raise ValueError(
                "env shows images through VecNormalize; give images as they are (VecTransposeImage inside)"
            )

    def _check_world(self) -> None:
        """Says now what would fail after the first real steps have been paid for."""
        model = self.world_model
        if self.real_ratio == 1 and not self.value_expansion:
            return
        if not model.can_decode:
            raise ValueError(
                f"a world of family {self.family!r} cannot decode: Dyna learns from imagined observations, and needs a "
                "world that has them"
            )
        if self.value_expansion and not model.markov:
            raise ValueError(
                f"value_expansion={self.value_expansion} needs a world whose state is one observation; one of family "
                f"{self.family!r} remembers more"
            )
        if (asked := [name for name in _UNSURE if self.dream_kwargs.get(name)]) and not (
            model.has_uncertainty and model.markov
        ):
            raise ValueError(
                f"dream_kwargs has {', '.join(asked)}, which needs a world that has uncertainty; one of family "
                f"{self.family!r} has none"
            )

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Sets the real environment (of the same spaces); experience so far is kept."""
        super().set_env(env, force_reset)
        self._check_env()
        self._identify()

    @property
    def world(self) -> World | None:
        """The world of the last fit, None before the first one."""
        if self._world is None and self.world_data is not None:
            self._world = unpack(self.world_model, self.world_data)
        return self._world

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "Dyna",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learns from ``total_timesteps`` *real* steps; see SB3's."""
        if reset_num_timesteps:
            self._fitted_at = self._branched_at = None
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    # --- learning ---------------------------------------------------------------------------------------------------

    def train(self, gradient_steps: int, batch_size: int = 256) -> None:
        """Fits the world and imagines where that is due, then lets the stock algorithm make its gradient steps.

        Args:
            gradient_steps: Their number.
            batch_size: Steps in a batch.
        """
        if self.real_ratio < 1 or self.value_expansion:
            if self._is_due(self._fitted_at, self.model_train_freq) and self._can_fit():
                self._fit()
                self._fitted_at = self.num_timesteps
            if self.real_ratio < 1 and self.world is not None and self._is_due(self._branched_at, self.rollout_freq):
                self._branch()
                self._branched_at = self.num_timesteps
        assert self.replay_buffer is not None
        self.replay_buffer.expand = self._expand if self.value_expansion and self.world is not None else None
        super().train(gradient_steps, batch_size)

    def _is_due(self, last: int | None, every: int) -> bool:
        return last is None or self.num_timesteps - last >= every

    def _can_fit(self) -> bool:
        """Whether there is enough to fit a world on: until then all steps that are learned from are real."""
        assert self.replay_buffer is not None
        replay, length = self.replay_buffer.replay, self.world_model.sequence_length
        if self.world_data is not None and replay.num_transitions < self.model_train_freq:
            return False  # it was loaded without its experience: a few steps would only spoil it
        if not self.world_model.can_learn or length == 2:
            return replay.num_transitions >= (_FEWEST if self.world_model.can_learn else 1)
        return replay.longest >= length and len(replay.window_index(length)) >= _FEWEST

    def _fit(self) -> None:
        """Fits the world on all real experience, from the weights that it has."""
        assert self.replay_buffer is not None
        kwargs = {"seed": _drawn_seed(), "starts": _STARTS, "logger": self.logger, **self.fit_kwargs}
        with warnings.catch_warnings():
            if self.world_data is not None:  # the first fit has said so
                warnings.filterwarnings("ignore", "none of the .* transitions terminates")
            self._world = fit(self.world_model, self.replay_buffer.replay, **kwargs)
        self._dream = None
        self.world_data = pack(self._world)

    def _dreamed(self) -> Dream:
        """The dream of the present world."""
        if self._dream is None:
            assert self.world is not None
            self._dream = Dream(self.world, **self.dream_kwargs)
        return self._dream

    def _branch(self) -> None:
        """One round of branches; what was imagined long ago makes room for them."""
        buffer = self.replay_buffer
        assert buffer is not None
        length = horizon_at(self.horizon, self.num_timesteps, self._total_timesteps)
        passed = self.rollout_freq if self._branched_at is None else self.num_timesteps - self._branched_at
        rows = self.rollouts_per_step * passed
        buffer.imagined.resize(self.rollouts_per_step * self.retain_steps * length)
        with frozen(self, rows):
            state, observation = self._real_states(rows)
            imagined = branches(self._dreamed(), state, observation, self._explore, length)
        buffer.imagined.add(imagined)
        self.dream_steps += len(imagined)
        for name, value in (
            ("horizon", length),
            ("branch_length", len(imagined) / rows),
            ("reward", float(imagined.reward.mean())),
            ("terminated", float(imagined.terminated.float().mean())),
            ("buffer_size", len(buffer.imagined)),
            ("total_timesteps", self.dream_steps),
        ):
            self.logger.record(f"imagine/{name}", value)

    def _real_states(self, count: int) -> tuple[DreamState, Observation]:
        """Real states that an episode went on from, each as likely as it was met, and what was seen there."""
        assert self.replay_buffer is not None
        batch = self.replay_buffer.real(count)
        length = context_length(self.world_model)
        context = batch.map(lambda tensor: tensor[:, :1])
        if length > 1:
            context = self.replay_buffer.replay.histories(batch.index[:, 0].cpu(), length).to(self.device)
        state = burned_in(self.world_model, context.observation, context.action, context.first)
        seen = map_observation(lambda part: part[:, 0], batch.observation)
        return dreaming_from(state, _drawn_seed()), seen

    def _explore(self, observation: Observation) -> Tensor:
        """Actions in branches, all in the environment's units."""
        assert self.replay_buffer is not None
        layout = self.replay_buffer.layout
        seen = layout.to_policy(observation, self._vec_normalize_env)
        return layout.unscaled(explored(self, seen, self.rollout_noise))

    def _expand(self, rows: Transitions) -> Expansion:
        """Looks ahead from where each of the transitions led to."""
        with frozen(self, len(rows)):
            first = torch.ones_like(rows.terminated)
            state = self.world_model.observe(
                self.world_model.initial(len(rows)), rows.action, rows.next_observation, first, sample=False
            )
            return expansion(
                self._dreamed(),
                dreaming_from(state, _drawn_seed()),
                rows,
                self._choose,
                lambda reward: rewards_for_policy(reward, self._vec_normalize_env),
                self.value_expansion,
                self.gamma,
            )

    def _choose(self, observation: Observation) -> tuple[Tensor, Tensor | None]:
        """Actions of the policy in the environment's units, and what their entropy is worth."""
        assert self.replay_buffer is not None
        layout = self.replay_buffer.layout
        action, log_prob = chosen(self, layout.to_policy(observation, self._vec_normalize_env))
        worth = None if log_prob is None else -entropy_coefficient(self) * log_prob
        return layout.unscaled(action), worth

    # --- files ------------------------------------------------------------------------------------------------------

    @classmethod
    def load(  # type: ignore[override]
        cls,
        path: Any,
        env: GymEnv | None = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """See SB3's; the class of the algorithm is read from the file.

        Keyword arguments are those of the constructor, as rl_zoo3 gives them all. Algorithm and world are those of the
        file: they may be named, not changed.

        Raises:
            ValueError: If the file is of something else, or an argument makes no sense for it.
        """
        saved = saved_attributes(Dyna, path, custom_objects)
        united: Any = super(Dyna, _united(cls, saved["algorithm"]))
        model: Self = united.load(path, env, device, custom_objects, **_changes(saved, kwargs))
        return model

    def set_parameters(
        self, load_path_or_dict: Any, exact_match: bool = True, device: torch.device | str = "auto"
    ) -> None:
        """Loads the parameters of algorithm and world; see SB3's."""
        super().set_parameters(load_path_or_dict, exact_match, device)
        self._world = self._dream = None

    def save_replay_buffer(self, path: str | pathlib.Path | io.BufferedIOBase) -> None:
        """Writes a directory: the real experience (``real``, a replay) and what was imagined."""
        assert self.replay_buffer is not None
        folder = pathlib.Path(path)  # type: ignore[arg-type]
        super().save_replay_buffer(folder / _REAL)
        imagined = self.replay_buffer.imagined
        if len(imagined):
            save_tensors(folder / _IMAGINED, imagined.rows().tensors())
        else:
            (folder / _IMAGINED).unlink(missing_ok=True)

    def load_replay_buffer(self, path: str | pathlib.Path | io.BufferedIOBase, truncate_last_traj: bool = True) -> None:
        """Reads what :meth:`save_replay_buffer` wrote.

        Raises:
            StorageError: If a file is missing or broken.
            ValueError: If the experience is of other spaces, or of another number of environments.
        """
        assert self.replay_buffer is not None
        folder = pathlib.Path(path)  # type: ignore[arg-type]
        super().load_replay_buffer(folder / _REAL)
        imagined = self.replay_buffer.imagined = ImaginedBuffer()
        if (folder / _IMAGINED).is_file():
            tensors = load_tensors(folder / _IMAGINED)
            try:
                rows = Transitions.from_tensors(tensors).map(lambda tensor: tensor.to(self.device))
            except KeyError as error:
                raise StorageError(f"{folder / _IMAGINED} lacks {error}") from error
            imagined.resize(len(rows))
            imagined.add(rows)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_given_model", "_world", "_dream"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts, variables = super()._get_torch_save_params()
        return [*state_dicts, "world_model"], variables


@functools.cache
def _united(cls: type[Dyna], algorithm: type[OffPolicyAlgorithm]) -> type[Dyna]:
    """A class that is both, Dyna's methods first: ``super()`` in them is the stock algorithm."""
    if issubclass(cls, algorithm):
        return cls
    names = {"united_with": algorithm, "__module__": cls.__module__, "__doc__": cls.__doc__}
    return type(cls.__name__, (cls, algorithm), names)


def _merged(algorithm: type[OffPolicyAlgorithm], further: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the algorithm's constructor.

    Raises:
        ValueError: If one is given twice, or is not for users to give.
    """
    for name, reason in _NOT_FOR_THE_ALGORITHM.items():
        if name in further:
            raise ValueError(f"algorithm_kwargs has {name}: {reason}")
    if twice := sorted(set(further) & set(own)):
        raise ValueError(f"algorithm_kwargs has {', '.join(twice)}, which Dyna was given too; once was expected")
    known = inspect.signature(algorithm.__init__).parameters
    ours = {"self", "policy", "env", "tensorboard_log", "verbose", "seed", "device", "stats_window_size"}
    if unknown := sorted(name for name in {**further, **own} if name not in known or name in ours):
        raise ValueError(
            f"{', '.join(unknown)} cannot be given to {algorithm.__name__}; expected some of "
            f"{', '.join(sorted(set(known) - ours - set(_NOT_FOR_THE_ALGORITHM) - {'_init_setup_model'}))}"
        )
    return {**dyna_defaults(algorithm), **further, **own}


def _changes(saved: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The attributes that constructor arguments change of a file's."""
    changes = without_own_world(saved, given)
    further = changes.pop("algorithm_kwargs", None) or {}
    _merged(saved["algorithm"], further, {})  # checks their names
    return {**changes, **further}


def _drawn_seed() -> int:
    """A seed drawn from torch's global generator, which SB3 seeds and checkpoints keep."""
    return int(torch.randint(2**31 - 1, ()))
