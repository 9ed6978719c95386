"""Dreamer: an actor and a critic that learn in the imagination of a recurrent world model."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from torch import Tensor
from typing_extensions import Self

from imagine_agents.common.sequence_algorithm import SequenceAlgorithm
from imagine_agents.common.sequence_buffer import SequenceReplayBuffer
from imagine_agents.dreamer.behaviour import actor_loss, critic_loss, imagine, replay_value_loss
from imagine_agents.dreamer.policies import DreamerPolicy, detached
from imagine_agents.dreamer.presets import BEHAVIOURS
from imagine_envs.allocation import keep_freed_memory
from imagine_envs.experience import Batch
from imagine_envs.spaces import to_tensor
from imagine_envs.whole_numbers import check_whole

__all__ = ["Dreamer"]


class Dreamer(SequenceAlgorithm):
    """Learns a recurrent world from real sequences, and to act in it from imagined ones.

    Every update samples real windows, lets the world model learn from them, dreams ``horizon`` steps from each of
    their records, and lets actor and critic learn from what was dreamed. Only real steps count as ``num_timesteps``.

    Source: Hafner et al., "Mastering diverse domains through world models" (DreamerV3, 2023); "Dream to control"
    (Dreamer V1, 2020). Pseudo-code: the appendix of either.

    What differs from danijar/dreamerv3 and danijar/dreamer, besides what its world model
    (:class:`~imagine_envs.world_models.RSSM`) lists:

    - Sequences are drawn uniformly; there is no queue of fresh ones.
    - V3: the weight of an imagined sequence begins with whether its start really ended, not with a prediction of it.
    - V3: the moving average of the range of returns is corrected for beginning at zero.
    - V1: the mode of the actor's distribution is tanh(μ), not the likeliest of 100 samples; discrete actions have
      straight-through gradients; exploration keeps its noise throughout; there is no action repeat (wrap the
      environment in ``gymnasium.wrappers.RepeatAction``); the termination head is learned always; the actor's last
      layer begins small, as V3's does; windows and prefill are V3's unless they are given (V1: ``batch_size=50,
      batch_length=50, learning_starts=5_000``).
    - Both: the first ``learning_starts`` actions are random; there are no updates at all before.

    Args:
        policy: "MlpPolicy", "CnnPolicy" or "MultiInputPolicy"; they are one, which looks at the space by itself.
        env: The real environment (or its id).
        preset: "v3" or "v1".
        size: Of V3: "1m" (None), "12m", "25m", "50m", "100m", "200m" or "400m".
        representation: What shapes the state: "reconstruction", "reward" or "contrastive".
        learning_rate: Of the world model; actor and critic follow in the preset's proportion. None is the preset's
            (V3: 4e-5, V1: 6e-4).
        buffer_size: Most real records in the replay, of all environments together.
        learning_starts: Random real steps before the first update.
        random_repeat: Chance that one of those random actions is repeated in the next step. Actions that last explore
            further (Dabney et al., "Temporally-extended ε-greedy exploration", 2021): independent ones hardly ever find
            the goal of Acrobot-v1.
        batch_size: Windows in an update.
        batch_length: Records in a window.
        train_ratio: Replayed steps per real step: ``train_ratio / (batch_size · batch_length)`` updates a step.
        horizon: Imagined steps from each record.
        imag_last: How many records of a window, counted from its end, are dreamed from and teach the critic what they
            earned; None is all. Dreaming is most of an update: the same time allows more updates that dream less.
        gamma: Discount. None is the preset's (V3: 1 − 1/333, V1: 0.99).
        gae_lambda: λ of the λ-returns.
        ent_coef: Weight of the policy's entropy. None is the preset's (V3: 3e-4, V1: 0).
        exploration_noise: Added to real actions while learning. None is the preset's (V3: 0, V1: 0.3).
        max_grad_norm: V1 clips the gradients of world, actor and critic at this norm each.
        compile: Whether ``torch.compile`` fuses the networks, the recurrent step among them. It takes minutes before
            the first update, and again for every other batch size; it is for GPUs and long trainings.
        replay_buffer_class: :class:`~imagine_agents.common.sequence_buffer.SequenceReplayBuffer` or a class like it.
        replay_buffer_kwargs: Further arguments of it.
        policy_kwargs: ``architecture`` changes the world model's; see
            :class:`~imagine_envs.world_models.rssm.architecture.Architecture`.
        stats_window_size: Episodes that ``rollout/*`` averages over.
        tensorboard_log: Folder for TensorBoard.
        verbose: 0, 1 or 2.
        seed: Of everything.
        device: "auto" takes a GPU if there is one.
        _init_setup_model: Whether to build the networks at once.

    Raises:
        ValueError: If a space is not supported, an image is too small, the buffer cannot hold a sequence, or
            ``learning_starts`` is not reached within the budget of :meth:`learn`.

    Example:
        >>> model = Dreamer("MlpPolicy", "Pendulum-v1", learning_rate=3e-4, seed=0)
        >>> model.learn(10_000, progress_bar=True)
        >>> mean, std = evaluate_policy(model, model.get_env())
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": DreamerPolicy,
        "CnnPolicy": DreamerPolicy,
        "MultiInputPolicy": DreamerPolicy,
    }
    resumes_exactly: ClassVar[bool] = True
    policy: DreamerPolicy

    def __init__(
        self,
        policy: str | type[DreamerPolicy],
        env: GymEnv | str | None,
        preset: str = "v3",
        size: str | None = None,
        representation: str = "reconstruction",
        learning_rate: float | Schedule | None = None,
        buffer_size: int = 1_000_000,
        learning_starts: int = 1_000,
        random_repeat: float = 0.0,
        batch_size: int = 16,
        batch_length: int = 64,
        train_ratio: float = 512.0,
        horizon: int = 15,
        imag_last: int | None = None,
        gamma: float | None = None,
        gae_lambda: float = 0.95,
        ent_coef: float | None = None,
        exploration_noise: float | None = None,
        max_grad_norm: float = 100.0,
        compile: bool = False,
        replay_buffer_class: type[SequenceReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if preset not in BEHAVIOURS:
            raise ValueError(f"preset={preset!r} must be one of {', '.join(map(repr, BEHAVIOURS))}")
        behaviour = BEHAVIOURS[preset]
        if "sequence_length" in (replay_buffer_kwargs or {}):
            raise ValueError("replay_buffer_kwargs has sequence_length, which batch_length says")
        super().__init__(
            policy=policy,
            env=env,  # type: ignore[arg-type]
            learning_rate=behaviour.learning_rate if learning_rate is None else learning_rate,
            buffer_size=buffer_size,
            learning_starts=learning_starts,
            batch_size=batch_size,
            tau=behaviour.tau,
            gamma=behaviour.gamma if gamma is None else gamma,
            train_freq=1,
            gradient_steps=0,
            replay_buffer_class=replay_buffer_class or SequenceReplayBuffer,
            replay_buffer_kwargs=replay_buffer_kwargs,
            policy_kwargs={
                "preset": preset,
                "size": size,
                "representation": representation,
                "sequence_length": batch_length,
                **(policy_kwargs or {}),
            },
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
            sde_support=False,
            supported_action_spaces=(spaces.Box, spaces.Discrete),
        )
        self.preset = preset
        self.random_repeat = random_repeat
        self.batch_length = batch_length
        self.train_ratio = train_ratio
        self.horizon = horizon
        self.imag_last = imag_last
        self.gae_lambda = gae_lambda
        self.ent_coef = behaviour.ent_coef if ent_coef is None else ent_coef
        self.exploration_noise = behaviour.exploration_noise if exploration_noise is None else exploration_noise
        self.max_grad_norm = max_grad_norm
        self.compile = compile
        self._due = 0.0  # updates that real steps have earned
        # What the policy remembers of the environments that are collected from.
        self._remembered: tuple[NDArray, ...] | None = None
        self._streams: dict[str, Any] | None = None  # the random streams' states, when they were saved
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        self._check_settings()  # here, as `load` may have changed them
        self.replay_buffer_kwargs = {**self.replay_buffer_kwargs, "sequence_length": self.batch_length}
        super()._setup_model()
        if self.device.type == "cpu":
            keep_freed_memory()
        if self.compile:
            self.policy.compile_networks()
        if self._streams is not None:
            self._choosing.bit_generator.state = self._streams["choosing"]
            if self._streams["device"] == self.device.type:  # other kinds have other states
                self._acting.set_state(torch.tensor(self._streams["acting"], dtype=torch.uint8))
                self._learning.set_state(torch.tensor(self._streams["learning"], dtype=torch.uint8))

    def _check_settings(self) -> None:
        for name, smallest in (("batch_size", 1), ("batch_length", 2), ("horizon", 1), ("learning_starts", 0)):
            check_whole(name, getattr(self, name), smallest)
        if self.imag_last is not None and not 2 <= self.imag_last <= self.batch_length:
            raise ValueError(f"imag_last={self.imag_last} must lie between 2 and batch_length={self.batch_length}")
        for name in ("random_repeat", "gamma", "gae_lambda"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name}={value} must lie between 0 and 1")
        for name in ("train_ratio", "max_grad_norm"):
            if not (value := getattr(self, name)) > 0:
                raise ValueError(f"{name}={value} must be positive")
        for name in ("ent_coef", "exploration_noise"):
            if not isinstance(value := getattr(self, name), (int, float)) or not 0 <= value < np.inf:
                raise ValueError(f"{name}={value!r} must be a number, and not negative")
        for name in ("preset", "size", "representation"):  # the networks are those of the file
            saved = self.policy_kwargs[name]
            if (value := vars(self).get(name, saved)) != saved:
                raise ValueError(f"{name}={value!r} was given; the networks of the file are of {saved!r}")

    def set_random_seed(self, seed: int | None = None) -> None:
        """See SB3's. Acting, learning and the choice of sequences have streams that do not disturb one another."""
        super().set_random_seed(seed)
        root = int(np.random.default_rng(seed).integers(2**62))
        self._acting = torch.Generator(self.device).manual_seed(root)
        self._learning = torch.Generator(self.device).manual_seed(root + 1)
        self._choosing = np.random.default_rng(root + 2)
        if seed is not None:
            # SB3 gives the environment the same seed: random actions would be the numbers that the environment draws.
            self.action_space.seed(root + 3)

    # --- collecting -------------------------------------------------------------------------------------------------

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> Any:
        budget = total_timesteps + (0 if reset_num_timesteps else self.num_timesteps)
        if self.learning_starts >= budget:
            raise ValueError(
                f"learning_starts={self.learning_starts} is not reached within total_timesteps={budget}: nothing "
                "would be learned"
            )
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)

    def _begin_anew(self) -> None:
        super()._begin_anew()
        self._remembered = None

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[NDArray, NDArray]:
        """Filters what the environments show, and acts upon it; at random before ``learning_starts``."""
        policy, device = self.policy, self.device
        assert self._last_obs is not None
        assert self._last_episode_starts is not None
        first = torch.as_tensor(self._last_episode_starts, dtype=torch.bool, device=device)
        remembered = (
            policy.initial_state(n_envs)
            if self._remembered is None
            else tuple(torch.as_tensor(part, device=device) for part in self._remembered)
        )
        seen = to_tensor(self._last_obs, self.observation_space, device)
        last = remembered[-1]
        chosen, remembered = policy.act(seen, remembered, first, generator=self._acting)
        if self.num_timesteps < learning_starts:
            random = np.stack([self.action_space.sample() for _ in range(n_envs)])
            chance = torch.rand(n_envs, generator=self._acting, device=device)
            repeated = (chance < self.random_repeat) & ~first
            fresh = policy.world.actions(to_tensor(random, self.action_space, device))
            chosen = torch.where(repeated[:, None], last, fresh)
        elif self.exploration_noise:
            chosen = policy.taken(self._explore(chosen))
        self._remembered = tuple(part.cpu().numpy() for part in (*remembered[:-1], chosen))
        action = policy.to_env(chosen)
        return action, action

    def _explore(self, action: Tensor) -> Tensor:
        """Gaussian noise on continuous actions; some discrete ones are replaced by random ones."""
        if isinstance(self.action_space, spaces.Box):
            noise = torch.randn(action.shape, generator=self._acting, device=action.device)
            return (action + self.exploration_noise * noise).clamp(-1, 1)
        random = torch.rand(action.shape, generator=self._acting, device=action.device).argmax(-1, keepdim=True)
        replaced = torch.rand(len(action), 1, generator=self._acting, device=action.device) < self.exploration_noise
        return torch.where(replaced, torch.zeros_like(action).scatter_(-1, random, 1.0), action)

    def _store_transition(
        self,
        replay_buffer: Any,
        buffer_action: NDArray,
        new_obs: Any,
        reward: NDArray,
        dones: NDArray,
        infos: list[dict[str, Any]],
    ) -> None:
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        self._last_episode_starts = dones

    def _on_step(self) -> None:
        """Real steps earn updates; SB3 asks for ``gradient_steps`` of them after the step."""
        assert self.replay_buffer is not None
        if self.num_timesteps > self.learning_starts and self.replay_buffer.can_sample:
            self._due += self.n_envs * self.train_ratio / (self.batch_size * self.batch_length)
        self.gradient_steps = int(self._due)
        self._due -= self.gradient_steps

    # --- learning ---------------------------------------------------------------------------------------------------

    def train(self, gradient_steps: int, batch_size: int | None = None) -> None:
        """Updates of everything: world model, actor, critic.

        Args:
            gradient_steps: Their number.
            batch_size: Windows in each; None is that of the constructor.

        Raises:
            FloatingPointError: If a loss or a weight is not finite. Nothing that follows from it was saved.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        assert self.replay_buffer is not None
        names: list[str] = []
        history: list[Tensor] = []
        for _ in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size or self.batch_size, self._vec_normalize_env, self._choosing)
            if self._n_updates == 0 and not history:
                self.policy.world.standardize(batch)
            metrics = self._update(batch)
            names = list(metrics)
            history.append(torch.stack([value.float() for value in metrics.values()]))
        weights = torch.stack([parameter.detach().norm() for parameter in self.policy.parameters()]).norm()
        values: list[float] = []
        for values in torch.stack(history).tolist() if history else ():  # the first that anybody waits for
            self._n_updates += 1
            for name, value in zip(names, values, strict=True):
                self._check_finite(name, value)
        self._check_finite("the norm of all weights", float(weights))  # a loss would say so one update too late
        for name, value in zip(names, values, strict=True):
            self.logger.record(name, value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _check_finite(self, name: str, value: float) -> None:
        if not np.isfinite(value):
            saved = getattr(self, "last_checkpoint", None)
            raise FloatingPointError(
                f"{name} is {value} in update {self._n_updates} after {self.num_timesteps} real steps; "
                + (f"the last good checkpoint is {saved}" if saved else "no checkpoint was saved before")
            )

    def _update(self, batch: Batch) -> dict[str, Tensor]:
        """One update; its metrics as tensors that nobody has waited for."""
        policy = self.policy
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            total, of_actor, metrics = self._losses(batch)
        policy.optimizer.zero_grad(set_to_none=True)
        if policy.behaviour.through_dynamics:
            of_actor.backward(inputs=list(policy.actor.parameters()))
            total.backward()
            for group in policy.optimizer.param_groups:
                torch.nn.utils.clip_grad_norm_(group["params"], self.max_grad_norm)
        else:
            (total + of_actor).backward()
        policy.optimizer.step()
        policy.follow()
        return metrics

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """What world model and critic minimise, what the actor minimises, and metrics."""
        policy = self.policy
        loss = policy.world.loss(batch, generator=self._learning)
        assert loss.states is not None
        begin = 0 if self.imag_last is None else batch.shape[1] - self.imag_last
        last = batch.map(lambda tensor: tensor[:, begin:])
        states = {name: tensor[:, begin:] for name, tensor in loss.states.items()}
        imagined = imagine(
            policy,
            detached(states),
            last.terminated.flatten(),
            self.horizon,
            self.gamma,
            self.gae_lambda,
            self._learning,
        )
        # Weights that were cast to lower precision without gradients are not for those who need gradients: older
        # versions of torch would hand them out (https://github.com/pytorch/pytorch/issues/112583).
        torch.clear_autocast_cache()
        if not policy.behaviour.through_dynamics:
            policy.return_range.update(imagined.returns)
        of_actor, entropy = actor_loss(policy, imagined, self.ent_coef)
        of_critic = critic_loss(policy, imagined)
        total = loss.total + of_critic
        metrics = {f"world_model/{name}": value for name, value in loss.metrics.items()}
        if policy.behaviour.replay_value_coef:
            features = policy.world.features(states)
            of_replay = replay_value_loss(policy, features, last, imagined, self.gamma, self.gae_lambda)
            total = total + policy.behaviour.replay_value_coef * of_replay
            metrics["train/replay_value_loss"] = of_replay.detach()
        metrics.update(
            {
                "train/actor_loss": of_actor.detach(),
                "train/critic_loss": of_critic.detach(),
                "imagine/return": imagined.returns.detach().mean(),
                "imagine/reward": imagined.reward.detach().mean(),
            }
        )
        if not policy.behaviour.through_dynamics:
            metrics["train/entropy"] = entropy
            metrics["imagine/return_scale"] = policy.return_range.scale
        return total, of_actor, metrics

    def _update_learning_rate(self, optimizers: Any) -> None:
        super()._update_learning_rate(optimizers)
        for group in self.policy.optimizer.param_groups:
            group["lr"] *= group["scale"]

    # --- the rest of SB3's contract ---------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "Dreamer",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learns from ``total_timesteps`` real steps; see SB3's."""
        super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)
        assert self.replay_buffer is not None
        if self.num_timesteps > self.learning_starts and not self.replay_buffer.can_sample:
            warnings.warn(
                f"nothing was learned: no environment has made batch_length={self.batch_length} records yet, in "
                f"{self.num_timesteps} real steps of {self.n_envs} environments",
                stacklevel=2,
            )
        return self

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_acting", "_learning", "_choosing"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """See SB3's. The states of the random streams are saved too."""
        self._streams = {
            "device": self.device.type,
            "acting": self._acting.get_state().tolist(),
            "learning": self._learning.get_state().tolist(),
            "choosing": self._choosing.bit_generator.state,
        }
        super().save(path, exclude, include)
