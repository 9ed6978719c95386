"""The policy of Dreamer: a world model that filters what is seen, an actor and a critic on its features."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from imagine_agents.common.laprop import LaProp
from imagine_agents.dreamer.distributions import action_distribution
from imagine_agents.dreamer.presets import BEHAVIOURS
from imagine_agents.dreamer.returns import ReturnRange
from imagine_envs.spaces import to_numpy, to_tensor
from imagine_envs.world_models import RSSM, State
from imagine_envs.world_models.rssm.heads import ScalarHead
from imagine_envs.world_models.rssm.networks import MLP, linear

__all__ = ["DreamerPolicy"]

PolicyState = tuple[NDArray, ...]
"""What a row remembers, ``[B, …]`` each: the deterministic and the stochastic state, and the last (encoded) action."""


class Actor(nn.Module):
    """Features ``[…, F]`` to the parameters of a distribution over actions, in full precision.

    Args:
        trunk: The layers before the last.
        parameters: Outputs.
    """

    def __init__(self, trunk: MLP, parameters: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.out = linear(trunk.width, parameters, scale=0.01)

    def forward(self, features: Tensor) -> Tensor:
        """``[…, F] → […, parameters]``."""
        return self.out(self.trunk(features)).float()


class DreamerPolicy(BasePolicy):
    """World model, actor, critic and their optimizer.

    ``predict`` is recurrent: it filters the observations with the world model that is being trained, and returns its
    state to be handed in again.

    Args:
        observation_space: What is seen.
        action_space: ``Discrete``, or a ``Box`` with finite bounds.
        lr_schedule: Of the world model's learning rate.
        preset: "v3" or "v1".
        size: Of V3.
        representation: What shapes the state; see :class:`~imagine_envs.world_models.RSSM`.
        sequence_length: Records in a training window.
        vector_scale: Weight of the errors of vectors in the world's loss; the papers'.
        architecture: Changes of the world model's architecture.
        optimizer_class: None is the preset's (V3: LaProp, V1: Adam).
        optimizer_kwargs: Further arguments of it; ``{"warmup": 100}`` suits V3's where updates are few.

    Attributes:
        world: The world model; acting, dreaming and learning share it.
        behaviour: What the preset says of actor and critic.
        actions: The distributions that the actor chooses from.
        slow_critic: A moving average of the critic, None where the preset has none.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        preset: str = "v3",
        size: str | None = None,
        representation: str = "reconstruction",
        sequence_length: int = 64,
        vector_scale: float = 1.0,
        architecture: dict[str, Any] | None = None,
        optimizer_class: type[torch.optim.Optimizer] | None = None,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        own: tuple[type[torch.optim.Optimizer], dict[str, Any]] = (
            (LaProp, {}) if preset == "v3" else (torch.optim.Adam, {"eps": 1e-7})
        )
        super().__init__(
            observation_space,
            action_space,
            optimizer_class=optimizer_class or own[0],
            optimizer_kwargs={**(own[1] if optimizer_class is None else {}), **(optimizer_kwargs or {})},
        )
        self.preset, self.size, self.representation = preset, size, representation
        self.sequence_length, self.vector_scale, self.architecture = sequence_length, vector_scale, architecture
        self.actions = action_distribution(action_space, preset)
        self.world = RSSM(
            observation_space,
            action_space,
            preset=preset,
            size=size,
            representation=representation,  # type: ignore[arg-type]
            sequence_length=sequence_length,
            vector_scale=vector_scale,
            architecture=architecture,
        )
        self._whole = isinstance(action_space, spaces.Box) and np.issubdtype(action_space.dtype, np.integer)
        self.behaviour = BEHAVIOURS[preset]
        shape, features = self.world.architecture, self.world.num_features
        trunk = MLP(features, shape.units, self.behaviour.layers[0], shape.activation, shape.norm)
        self.actor = Actor(trunk, self.actions.parameters)
        self.critic: ScalarHead = self.world.scalar_head(self.behaviour.layers[1])
        self.slow_critic: ScalarHead | None = None
        if self.behaviour.tau:
            self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.return_range = ReturnRange()

        parts = (
            (self.world, 1.0),
            (self.actor, self.behaviour.actor_scale),
            (self.critic, self.behaviour.critic_scale),
        )
        groups = [{"params": list(part.parameters()), "scale": scale} for part, scale in parts]
        rate = lr_schedule(1)
        self.optimizer: torch.optim.Optimizer = self.optimizer_class(groups, lr=rate, **self.optimizer_kwargs)  # type: ignore[call-arg]
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]

    def compile_networks(self) -> None:
        """Lets ``torch.compile`` fuse the networks in place; parameters keep their names."""
        world = self.world
        networks = [world.encoder, world.cell, world.prior, world.reward, world.termination, self.actor, self.critic]
        if world.can_decode:
            networks.append(world.decoder)
        if self.slow_critic is not None:
            networks.append(self.slow_critic)
        for network in networks:
            network.compile(dynamic=False)

    # --- acting -----------------------------------------------------------------------------------------------------

    @property
    def remembers(self) -> tuple[int, ...]:
        """The widths of what a row remembers; see :data:`PolicyState`."""
        return self.world.architecture.deter, self.world.latent.width, self.world.actions.width

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """What is remembered before anything was seen."""
        return tuple(torch.zeros(batch_size, width, device=self.device) for width in self.remembers)

    @torch.no_grad()
    def act(
        self,
        observation: Any,
        remembered: tuple[Tensor, ...],
        first: Tensor,
        *,
        deterministic: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Filters one real step and chooses an action.

        Args:
            observation: A batch of observations as tensors.
            remembered: See :data:`PolicyState`.
            first: bool ``[B]``, rows that begin an episode.
            deterministic: Whether to take the modes of the latent state and of the action.
            generator: Of both.

        Returns:
            The encoded action ``[B, A]`` within its bounds, and what to remember (that action included).
        """
        deter, stoch, action = remembered
        state = self.world.observe(
            {"deter": deter, "stoch": stoch},
            self.world.actions.decode(action),
            observation,
            first,
            sample=not deterministic,
            generator=generator,
        )
        noise = None
        if not deterministic:
            noise = self.actions.noise((len(first),), first.device, generator)
        chosen = self.taken(self.within_bounds(self.actions.sample(self.actor(self.world.features(state)), noise)))
        return chosen, (state["deter"], state["stoch"], chosen)

    def within_bounds(self, action: Tensor) -> Tensor:
        """Encoded actions brought to [−1, 1]: a / max(1, |a|), entry by entry."""
        return action / action.detach().abs().clamp_min(1.0)

    def taken(self, action: Tensor) -> Tensor:
        """Encoded actions as the environment takes them, which rounds those of a Box of integers."""
        if not self._whole:
            return action
        return self.world.actions(to_tensor(self.to_env(action), self.action_space, self.device))

    def predict(
        self,
        observation: Any,
        state: PolicyState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray, PolicyState]:
        """As SB3's recurrent policies: without a state, an episode begins."""
        if self.training:  # to go through a hundred modules takes a third of a step
            self.set_training_mode(False)
        device = self.device  # which SB3 looks for anew each time
        tensor, vectorized = self.obs_to_tensor(observation)
        seen = to_tensor(tensor, self.observation_space, device)
        rows = len(next(iter(seen.values())) if isinstance(seen, dict) else seen)
        if state is None:
            remembered = self.initial_state(rows)
            first = np.ones(rows, dtype=bool)
        else:
            remembered = tuple(torch.as_tensor(part, device=device) for part in state)
            first = np.zeros(rows, dtype=bool) if episode_start is None else np.asarray(episode_start, dtype=bool)
        starts = torch.as_tensor(np.broadcast_to(first, (rows,)).copy(), device=device)
        chosen, remembered = self.act(seen, remembered, starts, deterministic=deterministic)
        action = self.to_env(chosen)
        return action if vectorized else action.squeeze(0), tuple(part.cpu().numpy() for part in remembered)

    def to_env(self, action: Tensor) -> NDArray:
        """Encoded actions ``[B, A]`` as the environment takes them, within its bounds."""
        decoded = to_numpy(self.world.actions.decode(action), self.action_space)
        if isinstance(self.action_space, spaces.Box):
            decoded = np.clip(decoded, self.action_space.low, self.action_space.high)
        return decoded

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        """The action of a first observation; :meth:`predict` remembers."""
        seen = to_tensor(observation, self.observation_space, self.device)
        rows = len(next(iter(seen.values())) if isinstance(seen, dict) else seen)
        first = torch.ones(rows, dtype=torch.bool, device=self.device)
        action, _ = self.act(seen, self.initial_state(rows), first, deterministic=deterministic)
        return self.world.actions.decode(action)

    def forward(self, observation: Any, deterministic: bool = False) -> Tensor:
        """See :meth:`_predict`."""
        return self._predict(observation, deterministic)

    # --- the slow critic --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def follow(self) -> None:
        """The slow critic moves towards the critic."""
        if self.slow_critic is not None:
            for slow, fast in zip(self.slow_critic.parameters(), self.critic.parameters(), strict=True):
                slow.lerp_(fast, self.behaviour.tau)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,  # for predicting; an algorithm sets its own
            "preset": self.preset,
            "size": self.size,
            "representation": self.representation,
            "sequence_length": self.sequence_length,
            "vector_scale": self.vector_scale,
            "architecture": self.architecture,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }


def detached(states: State) -> State:
    """States ``[B, T, …]`` as starts of imagination ``[B · T, …]``."""
    return {name: tensor.detach().flatten(0, 1) for name, tensor in states.items()}
