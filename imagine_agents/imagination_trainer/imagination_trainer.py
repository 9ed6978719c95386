"""Any stock algorithm, trained in dreams of a world that is learned along the way."""

from __future__ import annotations

import io
import pathlib
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_masked_policy
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm, maybe_make_env
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import ActionNoise, VectorizedActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import check_for_correct_spaces, safe_mean
from stable_baselines3.common.vec_env import VecMonitor
from typing_extensions import Self

from imagine_agents.common.bounded_features import with_bounded_features
from imagine_agents.common.dream_defaults import algorithm_class, dream_defaults, dreams_of
from imagine_agents.common.inner_algorithm import counters, make_algorithm, schedules_between
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
from imagine_agents.common.prefix_logger import PrefixLogger
from imagine_agents.common.progress_log import record_progress
from imagine_agents.imagination_trainer.acting import Noisy
from imagine_agents.imagination_trainer.progress import DreamProgress
from imagine_agents.imagination_trainer.validation import MemberValidation
from imagine_envs.dreams import Dream, DreamVectorEnv
from imagine_envs.dreams.acting import Actor
from imagine_envs.dreams.dream import feature_space
from imagine_envs.experience import Collector, Replay
from imagine_envs.experience.collect import heeds_masks
from imagine_envs.whole_numbers import check_whole
from imagine_envs.world_models import World, WorldModel, fit, make_model
from imagine_envs.world_models.fit import fit_model
from wrappers import SB3VecEnv

__all__ = ["ImaginationTrainer"]


class ImaginationTrainer(BaseAlgorithm):
    """Learns a world from few real steps and trains a stock SB3 algorithm in its dreams.

    It alternates: collect real steps (at first at random, then with the agent) → refit the world on all of them →
    train the agent purely in the dream → evaluate. ``total_timesteps`` and ``num_timesteps`` count *real* steps; what
    the inner algorithm logs appears under ``imagine/``, the fit under ``world_model/``.

    Source: the loop is that of model-based policy optimisation in its plain form (Kurutach et al., ME-TRPO, ICLR 2018,
    algorithm 1), with any model of this suite and any algorithm of SB3 and sb3-contrib.

    Args:
        policy: The inner algorithm's policy ("MlpPolicy", …).
        env: The real environment, or its id. Not VecNormalize: worlds normalise for themselves.
        algorithm: Class or name of the stock algorithm.
        algorithm_kwargs: Its constructor's arguments, on top of settings that suit batched dreams
            (:mod:`imagine_agents.common.dream_defaults`).
        world_model: Name of a family, or a model for the spaces of ``env``.
        world_model_kwargs: Constructor arguments of the family.
        fit_kwargs: Arguments of :func:`imagine_envs.world_models.fit`.
        dream_kwargs: Options of :class:`~imagine_envs.dreams.Dream`: ``horizon``, ``uncertainty_penalty`` (MOPO),
            ``halt_uncertainty`` (MOReL), … .
        num_dreams: Dreams side by side; None is 1,024 for on-policy and 64 for off-policy algorithms.
        learning_starts: Real steps at random before the first fit.
        train_freq: Real steps between two fits.
        dream_timesteps: Imagined steps of training after each fit.
        final_dream_timesteps: Imagined steps after the last fit; None is ``dream_timesteps``.
        refit: "warm" goes on from the last weights, "fresh" learns every world from scratch.
        stop_rule: ME-TRPO's: stop training in a dream when fewer than this fraction of the members report improvement
            (0.7 in the paper); None trains for all of ``dream_timesteps``.
        stop_rule_freq: Imagined steps between two looks of the stop rule.
        exploration_bonus: Rewards uncertainty in dreams by this factor, decayed linearly to 0 at the last real step, so
            that the agent collects where the members disagree and the final policy is not biased.
        action_noise: Noise on the actions of real steps, for algorithms whose policy is deterministic; in units of half
            the action space's range, as in SB3.
        eval_env: Where to evaluate after each training in a dream; its steps are not counted, and nothing is selected.
        n_eval_episodes: Episodes of an evaluation.
        learning_rate: Of the inner algorithm; None is its default in dreams. Schedules (ε of DQN, too) run from the
            first real step to the last: each training in a dream spans the real steps that were taken since the last.
        policy_kwargs: Of the inner policy. Flat observations are scaled by their bounds
            (:class:`~imagine_agents.common.bounded_features.BoundedFeatures`) unless a features extractor is given.
        stats_window_size: Real episodes in ``rollout/ep_rew_mean``.
        tensorboard_log: Folder of the TensorBoard log.
        verbose: 0 is silent, 1 prints the log table.
        seed: Seeds everything.
        device: Where the policy and the world live.

    Raises:
        ValueError: If an argument makes no sense; the message names it.

    Example:
        >>> from imagine_agents import ImaginationTrainer
        >>> from stable_baselines3 import PPO
        >>> model = ImaginationTrainer("MlpPolicy", "CartPole-v1", algorithm=PPO).learn(total_timesteps=300)
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str | None,
        *,
        algorithm: type[BaseAlgorithm] | str = PPO,
        algorithm_kwargs: dict[str, Any] | None = None,
        world_model: str | WorldModel = "ensemble",
        world_model_kwargs: dict[str, Any] | None = None,
        fit_kwargs: dict[str, Any] | None = None,
        dream_kwargs: dict[str, Any] | None = None,
        num_dreams: int | None = None,
        learning_starts: int = 100,
        train_freq: int = 100,
        dream_timesteps: int = 200_000,
        final_dream_timesteps: int | None = None,
        refit: str = "warm",
        stop_rule: float | None = None,
        stop_rule_freq: int = 50_000,
        exploration_bonus: float = 0.0,
        action_noise: ActionNoise | None = None,
        eval_env: GymEnv | str | None = None,
        n_eval_episodes: int = 10,
        learning_rate: float | Callable[[float], float] | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        self.algorithm = algorithm_class(algorithm)
        if eval_env is not None and eval_env is env:
            raise ValueError("eval_env is the training environment; an environment of its own was expected")
        super().__init__(
            self._get_policy_from_name(policy) if isinstance(policy, str) else policy,
            env,
            learning_rate=0.0,  # the inner algorithm's, as soon as there is one
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
        )
        for name, value in (
            ("learning_starts", learning_starts),
            ("train_freq", train_freq),
            ("dream_timesteps", dream_timesteps),
            ("n_eval_episodes", n_eval_episodes),
            ("stop_rule_freq", stop_rule_freq),
        ):
            check_whole(name, value)
        for name, count in (("num_dreams", num_dreams), ("final_dream_timesteps", final_dream_timesteps)):
            check_whole(name, count, or_none=True)
        if refit not in ("warm", "fresh"):
            raise ValueError(f"refit={refit!r} must be 'warm' or 'fresh'")
        if stop_rule is not None and not 0 < stop_rule <= 1:
            raise ValueError(f"stop_rule={stop_rule} must be a fraction of the members in (0, 1]")
        if not (np.isfinite(exploration_bonus) and exploration_bonus >= 0):
            raise ValueError(f"exploration_bonus={exploration_bonus} must be finite and not negative")
        check_names("fit_kwargs", fit_kwargs, fit, fit_model)
        check_names("dream_kwargs", dream_kwargs, Dream.__init__)
        self.num_dreams = num_dreams or dreams_of(self.algorithm)
        self.algorithm_kwargs = dream_defaults(self.algorithm, self.num_dreams, algorithm_kwargs)
        suggested = self.algorithm_kwargs.pop("learning_rate", None)
        self.learning_rate = suggested if learning_rate is None else learning_rate
        self.family = family_of(world_model, world_model_kwargs)
        self.world_model_kwargs = dict(world_model_kwargs or {})
        self._given_model = world_model if isinstance(world_model, WorldModel) else None
        self.fit_kwargs = dict(fit_kwargs or {})
        self.dream_kwargs = dict(dream_kwargs or {})
        self.learning_starts = learning_starts
        self.train_freq = train_freq
        self.dream_timesteps = dream_timesteps
        self.final_dream_timesteps = final_dream_timesteps or dream_timesteps
        self.refit = refit
        self.stop_rule = stop_rule
        self.stop_rule_freq = stop_rule_freq
        self.exploration_bonus = exploration_bonus
        self.action_noise = action_noise
        self.eval_env = None if eval_env is None else self._wrap_env(maybe_make_env(eval_env, verbose), verbose)
        self.n_eval_episodes = n_eval_episodes
        self.dream_steps = 0
        self.fitted_timesteps = 0
        self.world_data: dict[str, Any] | None = None
        self.agent_counters: dict[str, Any] = {}
        self._given_policy = policy
        self._world: World | None = None
        self._collector: Collector | None = None
        if _init_setup_model:
            self._setup_model()

    # --- what SB3 asks of an algorithm ------------------------------------------------------------------------------

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        """What a name means to the inner algorithm."""
        if policy_name not in self.algorithm.policy_aliases:
            raise ValueError(f"Policy {policy_name} unknown")  # SB3's own words
        return self.algorithm.policy_aliases[policy_name]

    def _setup_model(self) -> None:
        if self.env is None and not hasattr(self, "real_observation_space"):
            raise ValueError("env is None; an environment, or its id, was expected (only load() does without)")
        self.set_random_seed(self.seed)
        if self.env is not None:
            # Worlds are of the environment itself; only SB3's networks want the channels of images first.
            self.real_observation_space = untransposed(self.env).observation_space
        self._collector = self._new_collector()
        replay = self._collector.replay if self._collector else Replay(self.real_observation_space, self.action_space)
        self.world_model = build(
            self._given_model,
            self.family,
            self.world_model_kwargs,
            replay,
            (self.real_observation_space, self.action_space),
            self.device,
        )
        self.world_model_kwargs = self.world_model.hyperparameters()
        self.latent = (
            self.dream_kwargs.get("observation", "decoded" if self.world_model.can_decode else "latent") == "latent"
        )
        self._check_options(replay)
        self.agent = self._new_agent()
        self.policy = self.agent.policy
        self.learning_rate = self.agent.learning_rate
        self._setup_lr_schedule()

    def _check_options(self, replay: Replay) -> None:
        """Says now what would fail after the first real steps have been paid for."""
        if self.exploration_bonus and not self.world_model.has_uncertainty:
            raise ValueError(f"exploration_bonus needs a world with uncertainty; family {self.family!r} has none")
        if self.stop_rule is not None and not hasattr(self.world_model, "members"):
            raise ValueError(f"stop_rule needs an ensemble; a world of family {self.family!r} has no members")
        if self.action_noise is not None and not isinstance(self.action_space, spaces.Box):
            raise ValueError(f"action_noise needs a Box action space, not {self.action_space}")
        if self.env is not None and heeds_masks(self.algorithm) and "action_mask" not in replay.columns:
            raise ValueError(
                f"algorithm {self.algorithm.__name__} needs an environment with action_masks(); "
                "sb3-contrib's ActionMasker gives it one"
            )
        if self.eval_env is not None:
            self.eval_env = self._wrap_env(self.eval_env)  # one given to `load` is bare
            check_for_correct_spaces(self.eval_env, self.observation_space, self.action_space)
            if self.seed is not None:
                self.eval_env.seed(self.seed)

    def _new_collector(self) -> Collector | None:
        if self.env is None:
            return None
        if self._vec_normalize_env is not None:
            raise ValueError("env is wrapped in VecNormalize; give the bare environment: a world normalises for itself")
        previous = self._collector.replay if self._collector and len(self._collector.replay) else None
        # Another seed whenever the environment begins anew, so that it does not repeat what is known already.
        taken = max(self.num_timesteps, 0 if previous is None else previous.num_steps)
        return Collector(untransposed(self.env), previous, seed=self._seed_after(taken))

    def _new_agent(self) -> BaseAlgorithm:
        """The stock algorithm with the dream's spaces, before there is a dream."""
        observation_space = feature_space(self.world_model) if self.latent else self.real_observation_space
        kwargs = {} if self.learning_rate is None else {"learning_rate": self.learning_rate}
        agent = make_algorithm(
            self.algorithm,
            self._given_policy,
            observation_space,
            self.action_space,
            self.num_dreams,
            policy_kwargs=with_bounded_features(self.policy_kwargs, self.policy_class, observation_space) or None,
            seed=self.seed,
            device=self.device,
            **kwargs,
            **self.algorithm_kwargs,
        )
        vars(agent).update(self.agent_counters)
        return agent

    @property
    def replay_buffer(self) -> Replay | None:
        """The real experience; SB3's ``CheckpointCallback(save_replay_buffer=True)`` looks for this name."""
        return self._collector.replay if self._collector else None

    @property
    def world(self) -> World | None:
        """The world of the last fit, None before the first one."""
        if self._world is None and self.world_data is not None:
            self._world = unpack(self.world_model, self.world_data)
        return self._world

    def save_replay_buffer(self, path: str | pathlib.Path) -> None:
        """Saves the real experience as a directory, in the place of another run's that may be there.

        See :class:`~imagine_envs.experience.Replay`.

        Raises:
            ValueError: If there is no environment, hence no experience.
        """
        if self.replay_buffer is None:
            raise ValueError("there is no experience to save: the model has no environment")
        self.replay_buffer.save(path, overwrite=True)

    def load_replay_buffer(self, path: str | pathlib.Path) -> None:
        """Goes on from saved real experience.

        Raises:
            StorageError: If the directory is missing or damaged.
            ValueError: If there is no environment, or the experience is of another one.
        """
        if self.env is None:
            raise ValueError("call set_env() first: experience belongs to an environment")
        replay = Replay.load(path)
        seed = self._seed_after(max(self.num_timesteps, replay.num_steps))
        self._collector = Collector(untransposed(self.env), replay, seed=seed)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Sets the real environment (of the same spaces); experience collected so far is kept."""
        before = self.env
        super().set_env(env, force_reset)
        if force_reset or self.env is not before:
            self._collector = self._new_collector()

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """The inner algorithm's ``predict``.

        A policy of latent dreams expects features: those of ``LatentObservation(env, model.world)``.

        Args:
            observation: One observation or a batch.
            state: Of a recurrent policy, from the call before; None begins anew.
            episode_start: Where an episode begins, ``[B]``.
            deterministic: Whether to take the most likely action.
            action_masks: Valid actions, for an algorithm that heeds them (MaskablePPO).

        Returns:
            Actions, and the state of a recurrent policy.
        """
        masks = {} if action_masks is None or not heeds_masks(self.algorithm) else {"action_masks": action_masks}
        return self.agent.predict(observation, state, episode_start, deterministic, **masks)

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Saves agent, world and counters as a zip; real experience is saved by :meth:`save_replay_buffer`."""
        self.agent_counters = counters(self.agent)
        super().save(path, exclude, include)

    @classmethod
    def load(  # type: ignore[override]
        cls,
        path: Any,
        env: GymEnv | None = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """See SB3's. Keyword arguments are those of the constructor, as rl_zoo3 gives them all.

        Algorithm and world are those of the file: they may be named, not changed.

        Raises:
            ValueError: If the file is of something else, or an argument makes no sense for it.
        """
        saved = saved_attributes(cls, path, custom_objects)
        changes = without_own_world(saved, kwargs)
        if "algorithm_kwargs" in changes:
            changes["algorithm_kwargs"] = {**saved["algorithm_kwargs"], **(changes["algorithm_kwargs"] or {})}
        return super().load(path, env, device, custom_objects, **changes)

    def set_parameters(
        self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """Loads the parameters of the world and the agent, as by any SB3 algorithm."""
        super().set_parameters(load_path_or_dict, exact_match, device)
        self._world = None
        if hasattr(self.agent, "weights"):  # ARS learns on a flat copy of the policy's parameters
            self.agent.weights = th.nn.utils.parameters_to_vector(self.policy.parameters()).detach()
        if self.agent.use_sde:
            self.policy.reset_noise()  # type: ignore[operator]

    def _excluded_save_params(self) -> list[str]:
        return [
            *super()._excluded_save_params(),
            "agent",
            "world_model",
            "eval_env",
            "_world",
            "_collector",
            "_given_model",
            "_given_policy",
        ]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts, variables = self.agent._get_torch_save_params()
        return (
            ["world_model", *(f"agent.{name}" for name in state_dicts)],
            [f"agent.{name}" for name in variables],
        )

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 1,
        tb_log_name: str = "imagination",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learns for ``total_timesteps`` *real* steps, and from them in dreams.

        Args:
            total_timesteps: Real steps.
            callback: Called on every real step, as by any SB3 algorithm.
            log_interval: Iterations (collect, fit, dream) between two dumps of the log.
            tb_log_name: Name of the TensorBoard run.
            reset_num_timesteps: Whether to count from 0 again; experience and world are kept either way.
            progress_bar: Whether to show progress bars of the real steps, the fits and the dreams.

        Returns:
            Itself.
        """
        if self.env is None:
            raise ValueError("learn() needs a real environment: call set_env() first")
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        if reset_num_timesteps:
            self.fitted_timesteps = 0
            self._collector = self._new_collector()  # the environment has been reset
        assert self.replay_buffer is not None
        if not len(self.replay_buffer):
            self.fitted_timesteps = self.num_timesteps  # experience that was not loaded cannot be fitted
        callback.on_training_start(locals(), globals())
        iteration, go_on = 0, True
        while go_on:
            due = self.fitted_timesteps + self.train_freq if self.fitted_timesteps else max(self.learning_starts, 2)
            missing = min(due, total_timesteps) - self.num_timesteps
            if missing > 0:
                callback.on_rollout_start()
                go_on = self._collect(missing, callback, tb_log_name, total_timesteps)
                if go_on:
                    callback.on_rollout_end()
            elif self.fitted_timesteps < self.num_timesteps:
                iteration += 1
                self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
                self._fit(progress_bar)
                self._train_in_dream(final=self.num_timesteps >= total_timesteps, progress_bar=progress_bar)
                self.fitted_timesteps = self.num_timesteps
                self._evaluate()
                if log_interval is not None and iteration % log_interval == 0:
                    self.dump_logs(iteration)
            else:
                break
        callback.on_training_end()
        return self

    # --- the four parts of an iteration -----------------------------------------------------------------------------

    def _collect(self, steps: int, callback: BaseCallback, tb_log_name: str, total_timesteps: int) -> bool:
        """Takes real steps; returns whether to go on."""
        assert self._collector is not None

        def on_step(new_obs: Any, rewards: Any, dones: Any, infos: Any, num_steps: int, **_: Any) -> bool:
            self.num_timesteps += num_steps
            self._last_obs, self._last_episode_starts = new_obs, dones
            self._update_info_buffer(infos, dones)
            callback.update_locals(
                {
                    "self": self,
                    "total_timesteps": total_timesteps,
                    "tb_log_name": tb_log_name,
                    "new_obs": new_obs,
                    "rewards": rewards,
                    "dones": dones,
                    "infos": infos,
                }
            )
            return callback.on_step()

        policy = None
        if self.fitted_timesteps and self.world is not None:
            noise = _noise_of(self.action_noise, self.n_envs)
            policy = Actor(
                self.agent if noise is None else Noisy(self.agent, noise),
                self.world if self.latent else None,
                experience=self._collector.replay,
                seed=self._seed_after(self.num_timesteps),
            )
        return not self._collector.collect(policy, steps, deterministic=False, on_step=on_step).stopped

    def _fit(self, progress_bar: bool) -> None:
        """Refits the world on all real experience."""
        assert self.replay_buffer is not None
        if self.refit == "fresh" and self.world_data is not None:
            fresh = make_model(self.family, self.replay_buffer, **self.world_model_kwargs)
            self.world_model.load_state_dict(fresh.state_dict())
        seed = self._seed_after(self.replay_buffer.num_steps)
        kwargs = {"seed": seed, "progress": progress_bar, "logger": self.logger, **self.fit_kwargs}
        with warnings.catch_warnings():
            if self.world_data is not None:  # the first fit has said so
                warnings.filterwarnings("ignore", "none of the .* transitions terminates")
            self._world = fit(self.world_model, self.replay_buffer, **kwargs)
        self.world_data = pack(self._world)

    def _train_in_dream(self, *, final: bool, progress_bar: bool) -> None:
        """Trains the stock algorithm in dreams of the world."""
        assert self._world is not None
        assert self.replay_buffer is not None
        bonus = self.exploration_bonus * self._current_progress_remaining
        kwargs = dict(self.dream_kwargs)
        if bonus:
            kwargs["uncertainty_penalty"] = kwargs.get("uncertainty_penalty", 0.0) - bonus
        kwargs.setdefault("observation", "latent" if self.latent else "decoded")
        dream = Dream(self._world, **kwargs)
        env = VecMonitor(SB3VecEnv(DreamVectorEnv(dream, self.num_dreams)))
        env.seed(self._seed_after(self.replay_buffer.num_steps))
        self.agent.set_env(env)
        self.agent.ep_info_buffer = None  # what was earned in dreams of an older world
        if isinstance(self.agent, OffPolicyAlgorithm) and self.agent.replay_buffer is not None:
            self.agent.replay_buffer.reset()  # what it holds was dreamed by an older world
        self.agent.set_logger(PrefixLogger(self.logger, "imagine"))
        steps = self.final_dream_timesteps if final else self.dream_timesteps
        callbacks: list[BaseCallback] = [DreamProgress(steps)] if progress_bar else []
        if self.stop_rule is not None:
            callbacks.append(
                MemberValidation(
                    self._world,
                    threshold=self.stop_rule,
                    every=self.stop_rule_freq,
                    horizon=dream.horizon,
                    seed=self.seed or 0,
                )
            )
        before = self.agent.num_timesteps
        begin, end = (
            max(0.0, 1 - taken / self._total_timesteps) for taken in (self.fitted_timesteps, self.num_timesteps)
        )
        with schedules_between(self.agent, begin, end, steps):
            self.agent.learn(steps, callback=callbacks, log_interval=1, reset_num_timesteps=False)
        self.dream_steps += self.agent.num_timesteps - before
        if self.agent.ep_info_buffer:
            self.logger.record("imagine/ep_rew_mean", safe_mean([info["r"] for info in self.agent.ep_info_buffer]))
            self.logger.record("imagine/ep_len_mean", safe_mean([info["l"] for info in self.agent.ep_info_buffer]))
        self.logger.record("imagine/total_timesteps", self.dream_steps)

    def _evaluate(self) -> None:
        """Evaluates in reality, if there is an environment for it; nothing is selected by it."""
        if self.eval_env is None:
            return
        actor = Actor(self.agent, self.world if self.latent else None, seed=self.seed)
        evaluate = evaluate_masked_policy if heeds_masks(self.algorithm) else evaluate_policy
        returns, lengths = evaluate(
            actor, untransposed(self.eval_env), n_eval_episodes=self.n_eval_episodes, return_episode_rewards=True
        )
        self.logger.record("eval/mean_reward", float(np.mean(returns)))
        self.logger.record("eval/std_reward", float(np.std(returns)))
        self.logger.record("eval/mean_ep_length", float(np.mean(lengths)))

    def dump_logs(self, iteration: int = 0) -> None:
        """Writes the log.

        Args:
            iteration: Collect–fit–dream cycles of this call of ``learn``.
        """
        record_progress(self)
        self.logger.record("time/iterations", iteration, exclude="tensorboard")
        self.logger.dump(step=self.num_timesteps)

    def _seed_after(self, steps: int) -> int | None:
        """A seed for what happens after so many real steps, None where the agent has none."""
        return None if self.seed is None else (self.seed + 1_000_003 * steps) % 2**31


def _noise_of(noise: ActionNoise | None, num_envs: int) -> ActionNoise | None:
    """Noise of one process for each environment."""
    if noise is None or num_envs == 1 or isinstance(noise, VectorizedActionNoise):
        return noise
    return VectorizedActionNoise(noise, num_envs)
