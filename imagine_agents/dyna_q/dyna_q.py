"""Dyna-Q: Q-learning from real steps and, many times over, from those that a tabular world imagines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import ConstantSchedule, LinearSchedule, get_device
from typing_extensions import Self

from imagine_agents.common.progress_log import record_progress
from imagine_agents.dyna_q import kernels
from imagine_agents.dyna_q.memory import BACKUPS, IMAGINED, Memory, MemoryBuffers, Settings
from imagine_agents.dyna_q.policies import TabularPolicy
from imagine_agents.dyna_q.world import world_of
from imagine_envs.discretizer import Discretizer
from imagine_envs.experience.steppers import stepper_for
from imagine_envs.whole_numbers import check_whole
from imagine_envs.world_models import World
from imagine_envs.world_models.tabular import Tables, Tabular

__all__ = ["DynaQ"]

_BACKUPS = ("sample", "expected")
_EXPLORATIONS = ("epsilon_greedy", "gradient_bandit")


class DynaQ(BaseAlgorithm):
    """Learns a table of action values from real steps, and after each of them from imagined ones.

    A real step is learned from at once (not with prioritized sweeping, which puts it into the queue), noted in a
    tabular world, and followed by ``planning_steps`` backups of what that world says. Only real steps count as
    ``num_timesteps``; :attr:`n_backups` counts every backup of a value. A time limit is no end: the value of the state
    that it struck in is bootstrapped from, that of a terminal state is not. With several environments the steps are
    learned from one after the other.

    By the time that callbacks are told of a step it has been learned from, so that what they save can be gone on from
    exactly: values, world, queue and random numbers are in the file.

    Source: Sutton & Barto, "Reinforcement Learning: An Introduction" (2nd edition), chapter 8; Dyna-Q+: section 8.3;
    prioritized sweeping: section 8.4; trajectory sampling: section 8.6; gradient bandits: section 2.8.

    Args:
        policy: "TabularPolicy".
        env: The real environment (or its id), with Discrete actions. Not VecNormalize: a table needs no scale.
        learning_rate: α, or a schedule of it.
        gamma: γ.
        planning_steps: n, the backups after each real step; 0 is Q-learning.
        search_control: Which pairs are backed up. "uniform": a state at random among those in which something was
            done, and an action at random among those done there. "trajectory": those that the policy meets in imagined
            episodes, which begin where real ones did. "prioritized": those whose value would change most (prioritized
            sweeping; fewer than n where the queue runs empty).
        backups: "sample" backs up one outcome of the model, "expected" the mean of all of them.
        stochastic: Whether the model counts every outcome of a pair; otherwise it knows the last one only.
        exploration_bonus: κ of Dyna-Q+: planning adds κ √τ to the reward of a pair that was last tried τ real steps
            ago, and considers every action of a state, those never tried too, as if they led back without a reward.
            If it is turned on later (on loading, say), τ counts from then.
        priority_threshold: θ of prioritized sweeping; changes up to it are not worth a backup.
        exploration: "epsilon_greedy" (ties broken at random), or "gradient_bandit": actions are drawn from
            softmax(H(s, ·)), with preferences H learned from real steps by
            H(a) ← H(a) + α (R − R̄)(1[a = A] − π(a)), in each state on its own. R is what the step earned and
            promises, r + γ max Q(s', ·), which is the reward itself where a step ends the episode (a bandit), and R̄
            the mean of the state's R before.
        preference_rate: α of the preferences.
        exploration_fraction: Fraction of the training over which ε goes from its first to its last value.
        exploration_initial_eps: ε at the beginning.
        exploration_final_eps: ε from then on.
        discretizer: Bins of Box observations: a :class:`~imagine_envs.discretizer.Discretizer`, or its keyword
            arguments.
        policy_kwargs: ``initial_value`` is Q₀.
        stats_window_size: Episodes that ``rollout/*`` averages over.
        tensorboard_log: Folder for TensorBoard.
        verbose: 0, 1 or 2.
        seed: Of everything.
        device: "cpu" or "auto", which is the same: kernels learn where the arrays are.
        _init_setup_model: Whether to build the tables at once.

    Attributes:
        world_model: The :class:`~imagine_envs.world_models.tabular.Tabular` that is learned along the way.
        exploration_rate: ε now.

    Raises:
        ValueError: If a space is not supported, the tables would be too large, or an argument makes no sense. On
            loading too: if ``stochastic``, ``exploration`` or ``discretizer`` is another than the file's.

    Example:
        >>> model = DynaQ("TabularPolicy", "Imagine/DynaMaze-v0", planning_steps=50, seed=0).learn(2_000)
        >>> model.world.save("worlds/maze")
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"TabularPolicy": TabularPolicy}
    resumes_exactly: ClassVar[bool] = True
    policy: TabularPolicy
    _arrays: Memory
    _tables: Tables
    _states: NDArray[np.int64]

    def __init__(
        self,
        policy: str | type[TabularPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 0.1,
        gamma: float = 0.95,
        planning_steps: int = 5,
        search_control: str = "uniform",
        backups: str = "sample",
        stochastic: bool = False,
        exploration_bonus: float = 0.0,
        priority_threshold: float = 1e-4,
        exploration: str = "epsilon_greedy",
        preference_rate: float = 0.1,
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.05,
        discretizer: Discretizer | Mapping[str, Any] | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if device != "auto" and get_device(device).type != "cpu":
            raise ValueError(f"device={device!r} must be 'cpu' or 'auto': tables are learned on the CPU")
        super().__init__(
            policy,
            env,
            learning_rate,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device="cpu",
            support_multi_env=True,
            seed=seed,
        )
        self.gamma = gamma
        self.planning_steps = planning_steps
        self.search_control = search_control
        self.backups = backups
        self.stochastic = stochastic
        self.exploration_bonus = exploration_bonus
        self.priority_threshold = priority_threshold
        self.exploration = exploration
        self.preference_rate = preference_rate
        self.exploration_fraction = exploration_fraction
        self.exploration_initial_eps = exploration_initial_eps
        self.exploration_final_eps = exploration_final_eps
        self.exploration_rate = exploration_initial_eps
        self.discretizer = discretizer
        # Id, keyword arguments and step limit of the environment, for worlds.
        self.env_identity: tuple[str | None, dict[str, Any], int | None] = (None, {}, None)
        # The arguments that the tables were made with, in JSON types: a file has those of its own.
        self._made_with: dict[str, Any] = {}
        if _init_setup_model:
            self._setup_model()

    # --- what SB3 asks of an algorithm ------------------------------------------------------------------------------

    def _setup_model(self) -> None:
        self._check_env()
        self._setup_lr_schedule()
        self.exploration_schedule: Schedule = ConstantSchedule(self.exploration_final_eps)
        if self.exploration_fraction > 0:
            self.exploration_schedule = LinearSchedule(
                self.exploration_initial_eps, self.exploration_final_eps, self.exploration_fraction
            )
        self.world_model = Tabular(
            self.observation_space, self.action_space, stochastic=self.stochastic, discretizer=self.discretizer
        )
        self._check_arguments()
        self.policy = self.policy_class(  # type: ignore[assignment]
            self.observation_space,
            self.action_space,
            self.lr_schedule,
            discretizer=self.world_model.discretizer,
            preferences=self.exploration == "gradient_bandit",
            **self.policy_kwargs,
        )
        self.memory = MemoryBuffers(self.world_model.num_states, self.world_model.num_actions)
        self.set_random_seed(self.seed)

    def _check_arguments(self) -> None:
        """Whether the arguments make sense as they are now, and what cannot change has not: kernels check nothing.

        Raises:
            ValueError: If not.
        """
        rates = ("gamma", "exploration_fraction", "exploration_initial_eps", "exploration_final_eps", "learning_rate")
        for name in rates:
            rate = getattr(self, name)
            if not callable(rate) and not 0 <= rate <= 1:
                raise ValueError(f"{name}={rate} must lie between 0 and 1")
        for name in ("exploration_bonus", "priority_threshold", "preference_rate"):
            amount = getattr(self, name)
            if not 0 <= amount < math.inf:
                raise ValueError(f"{name}={amount} must be finite and not negative")
        check_whole("planning_steps", self.planning_steps, 0)
        for name, known in (
            ("search_control", tuple(kernels.SEARCHES)),
            ("backups", _BACKUPS),
            ("exploration", _EXPLORATIONS),
        ):
            if (choice := getattr(self, name)) not in known:
                raise ValueError(f"{name}={choice!r} must be one of {', '.join(map(repr, known))}")
        if self.search_control == "prioritized":
            if self.planning_steps == 0:
                raise ValueError("search_control='prioritized' with planning_steps=0 would never back anything up")
            if self.exploration_bonus:
                raise ValueError(
                    f"exploration_bonus={self.exploration_bonus} grows while nothing happens, which no queue is told "
                    "of; search_control must be 'uniform' or 'trajectory'"
                )
        fixed = {
            "stochastic": bool(self.stochastic),
            "exploration": self.exploration,
            "discretizer": self.world_model.hyperparameters()["discretizer"],
        }
        for name, asked in fixed.items():
            if (had := self._made_with.setdefault(name, asked)) != asked:
                raise ValueError(
                    f"{name}={asked!r} was asked for, but what was learned was made with {name}={had!r}, which only a "
                    "new agent can change"
                )

    def _check_env(self) -> None:
        if self._vec_normalize_env is not None:
            raise ValueError("env is wrapped in VecNormalize; give the bare environment: a table needs no scale")
        if self.env is not None:
            self.env_identity = stepper_for(self.env).identity()

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """See SB3's."""
        super().set_env(env, force_reset)
        self._check_env()

    def set_random_seed(self, seed: int | None = None) -> None:
        """See SB3's. Acting and planning have streams of their own."""
        super().set_random_seed(seed)
        root = np.random.default_rng(seed).integers(np.iinfo(np.int64).max, size=2)
        self.memory.random.copy_(torch.from_numpy(root))

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """The policy's action; unless ``deterministic``, exploring as in training (by NumPy's and torch's generators).

        Args:
            observation: One observation or a batch.
            state: Not used.
            episode_start: Not used.
            deterministic: Whether to take the first of the best actions.

        Returns:
            Actions, and ``state``.
        """
        action, state = self.policy.predict(observation, state, episode_start, deterministic)
        if not deterministic and self.exploration == "epsilon_greedy":
            assert isinstance(self.action_space, spaces.Discrete)
            explores = np.random.random(np.shape(action)) < self.exploration_rate  # noqa: NPY002 (as SB3's DQN)
            others = np.random.randint(self.action_space.n, size=np.shape(action))  # noqa: NPY002
            action = np.where(explores, others + self.action_space.start, action).astype(self.action_space.dtype)
        return action, state

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_arrays", "_tables", "_states"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        parts = {"world_model": self.world_model, "memory": self.memory}
        return ["policy"], [f"{part}.{name}" for part, module in parts.items() for name, _ in module.named_buffers()]

    # --- learning ---------------------------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 100,
        tb_log_name: str = "DynaQ",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learns from ``total_timesteps`` real steps.

        Args:
            total_timesteps: Real steps.
            callback: Called on every real step, when it has been learned from.
            log_interval: Episodes between two dumps of the log.
            tb_log_name: Name of the TensorBoard run.
            reset_num_timesteps: Whether to count from 0 again; what was learned is kept either way.
            progress_bar: Whether to show a progress bar.

        Returns:
            Itself.

        Raises:
            ValueError: If there is no environment, an observation or a reward makes no sense, or the model of the
                world becomes too large.
        """
        if self.env is None:
            raise ValueError("learn() needs a real environment: call set_env() first")
        env = self.env
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        arrays, _, settings = self.bound()
        assert self._last_obs is not None
        self._states = self.world_model.encode(self._last_obs)  # type: ignore[arg-type]
        callback.on_training_start(locals(), globals())

        while self.num_timesteps < total_timesteps:
            callback.on_rollout_start()
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            settings = self._scheduled(settings)
            choices = np.empty(env.num_envs, np.int64)
            kernels.act(
                arrays.values,
                arrays.preferences,
                self._tables.actions,
                arrays.random,
                settings.epsilon,
                settings.bandit,
                self._states,
                choices,
            )
            actions = self._to_env(choices)
            new_obs, rewards, dones, infos = env.step(actions)
            self.num_timesteps += env.num_envs
            self._update_info_buffer(infos, dones)
            self._learn_from(settings, choices, new_obs, rewards, dones, infos)
            episodes = self._episode_num
            self._episode_num += int(np.count_nonzero(dones))
            callback.update_locals(locals())
            if not callback.on_step():
                break
            callback.on_rollout_end()
            if log_interval is not None and self._episode_num // log_interval > episodes // log_interval:
                self.dump_logs()

        callback.on_training_end()
        return self

    def plan(self, backups: int) -> Self:
        """Plans without a real step, with ε, α and the search control as they are.

        Simulated trajectories begin in the environment's next first state where no real episode has begun before.

        Args:
            backups: How many backups to make (fewer, if the queue of prioritized sweeping runs empty).

        Raises:
            ValueError: If ``backups`` is negative.
        """
        if backups < 0:
            raise ValueError(f"backups={backups} must not be negative")
        arrays, tables, settings = self.bound()
        if self.search_control == "trajectory" and not arrays.num_starts[0] and self.env is not None:
            self._last_obs = None  # learn() has to begin anew
            start = int(self.world_model.encode(self.env.reset())[0])  # type: ignore[arg-type]
            if tables.num_actions[start]:
                arrays.starts[0], arrays.num_starts[0], arrays.is_start[start] = start, 1, True
        kernels.plan(arrays, tables, settings, int(backups))
        return self

    def _learn_from(
        self,
        settings: Settings,
        choices: NDArray[np.int64],
        new_obs: Any,
        rewards: NDArray[Any],
        dones: NDArray[np.bool_],
        infos: list[dict[str, Any]],
    ) -> None:
        """One real step of every environment; they stand at ``new_obs`` then."""
        following = successors = self._encode(new_obs)
        terminated = dones
        if dones.any():
            following = self.world_model.encode(new_obs)  # the kernel does not see where an episode begins
            successors, terminated = following.copy(), dones.copy()
            for row in np.flatnonzero(dones):  # where the environment has been reset already
                last = np.asarray(infos[row]["terminal_observation"])[None]
                (successors[row],) = self.world_model.encode(last)
                terminated[row] = not infos[row].get("TimeLimit.truncated", False)
        learned, count = 0, len(dones)
        while learned < count:
            learned = kernels.step(
                self._arrays,
                self._tables,
                settings,
                self._states,
                choices,
                rewards.astype(np.float64),
                successors,
                terminated,
                self._last_episode_starts,
                learned,
            )
            if learned < 0:
                self.world_model.encode(new_obs)  # says what is wrong with an observation
                raise ValueError(f"rewards are {rewards}; finite numbers were expected")
            if learned < count:
                self.world_model.grow()
                self._tables = self.world_model.tables
        self._states, self._last_obs, self._last_episode_starts = following, new_obs, dones

    def _encode(self, observation: Any) -> NDArray[np.int64]:
        """The numbers of the states, int64 ``[N]``, which the kernel looks at before it uses them."""
        if self.world_model.discretizer is not None:
            return self.world_model.encode(observation)
        index = np.asarray(observation, np.int64)
        start = int(self.observation_space.start)  # type: ignore[attr-defined]
        return index - start if start else index

    def bound(self) -> tuple[Memory, Tables, Settings]:
        """What kernels learn and plan with: the tensors as arrays, to be changed in place, and the arguments as of now.

        Whoever calls kernels himself saves the Python of each step; the counters of SB3 then stand still.
        """
        self._bind()
        return self._arrays, self._tables, self._scheduled(self._settings())

    def _bind(self) -> None:
        """Finds the arrays where the tensors are now: loading puts others in their place, and arguments may change."""
        self._check_arguments()
        self.memory.provide(
            bonus=self.exploration_bonus > 0,
            prioritized=self.search_control == "prioritized",
            bandit=self.exploration == "gradient_bandit",
        )
        self._arrays = self.memory.with_policy(self.policy)
        self._tables = self.world_model.tables

    def _settings(self) -> Settings:
        return Settings(
            learning_rate=0.0,
            gamma=float(self.gamma),
            epsilon=0.0,
            bonus=float(self.exploration_bonus),
            threshold=float(self.priority_threshold),
            preference_rate=float(self.preference_rate),
            planning_steps=int(self.planning_steps),
            search=kernels.SEARCHES[self.search_control],
            expected=self.backups == "expected",
            stochastic=self.world_model.stochastic,
            bandit=self.exploration == "gradient_bandit",
        )

    def _scheduled(self, settings: Settings) -> Settings:
        """The settings with α and ε as they are now.

        Raises:
            ValueError: If the schedule of α leaves [0, 1].
        """
        rate = self.lr_schedule(self._current_progress_remaining)
        self.exploration_rate = epsilon = self.exploration_schedule(self._current_progress_remaining)
        if rate == settings.learning_rate and epsilon == settings.epsilon:
            return settings
        if not 0 <= rate <= 1:
            raise ValueError(f"learning_rate={rate} must lie between 0 and 1")
        return settings._replace(learning_rate=rate, epsilon=float(epsilon))

    def _to_env(self, choices: NDArray[np.int64]) -> NDArray[Any]:
        """Actions as the environment numbers them."""
        assert isinstance(self.action_space, spaces.Discrete)
        actions = choices + int(self.action_space.start)
        return actions.astype(self.action_space.dtype, copy=False)

    @property
    def n_backups(self) -> int:
        """Backups of a value so far, those of real steps included."""
        return int(self.memory.counters[BACKUPS])

    @property
    def world(self) -> World | None:
        """What was learned as a world to dream, save and view; None before the first step.

        Its model is the agent's own, and goes on learning with it.
        """
        return world_of(self.world_model, self.memory, self.env_identity)

    def dump_logs(self) -> None:
        """Writes the log."""
        record_progress(self)
        record = self.logger.record
        record("time/episodes", self._episode_num, exclude="tensorboard")
        if self.exploration == "epsilon_greedy":
            record("rollout/exploration_rate", self.exploration_rate)
        counters, tables = self.memory.counters, self._tables
        record("train/learning_rate", self.lr_schedule(self._current_progress_remaining))
        record("train/n_updates", self.n_backups, exclude="tensorboard")
        record("imagine/total_timesteps", int(counters[IMAGINED]))
        if self.search_control == "prioritized":
            record("imagine/queued", int(self.memory.queued[0]))
        record("world_model/states", int(tables.num_states[0]))
        record("world_model/pairs", int(tables.num_actions.sum()))
        self.logger.dump(step=self.num_timesteps)
