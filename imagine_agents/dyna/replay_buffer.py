"""A replay buffer that hands out real and imagined steps in one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from imagine_agents.common.sequence_buffer import SequenceReplayBuffer
from imagine_agents.dyna.branching import Expansion
from imagine_agents.dyna.layout import Layout, rewards_for_policy
from imagine_agents.dyna.transitions import ImaginedBuffer, Transitions
from imagine_envs.experience import Batch, Replay
from imagine_envs.spaces import map_observation

__all__ = ["MixedReplayBuffer"]


class MixedReplayBuffer(SequenceReplayBuffer):
    """What stock algorithms sample from in their ``train``: a share of real steps, the rest imagined.

    Everything is stored in the environment's own units, and handed out as SB3's buffers would: Box actions scaled to
    [−1, 1], channels first, normalised by the present statistics of ``VecNormalize``.

    Args:
        buffer_size: Most real records alive, of all environments together.
        observation_space: What the policy sees.
        action_space: What is done.
        device: Where batches are wanted.
        n_envs: Environments.
        optimize_memory_usage: Without meaning: an observation is stored once anyway.
        world_observation_space: What the environment shows (images with their channels last).
        real_ratio: The share of real steps in a batch, rounded to whole steps. All are real while nothing is imagined.

    Attributes:
        replay: The real records.
        imagined: The imagined steps.
        expand: Value expansion of a batch, None where the targets are those of single steps.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        *,
        world_observation_space: spaces.Space[Any],
        real_ratio: float,
    ) -> None:
        self.world_observation_space = world_observation_space
        self.real_ratio = real_ratio
        self.imagined = ImaginedBuffer()
        self.expand: Callable[[Transitions], Expansion] | None = None
        super().__init__(
            buffer_size, observation_space, action_space, device, n_envs, optimize_memory_usage, sequence_length=2
        )
        self.layout = Layout(observation_space, world_observation_space, action_space, torch.device(self.device))

    def reset(self) -> None:
        """Forgets all records, and all that was imagined."""
        self.imagined = ImaginedBuffer()
        before: Replay | None = getattr(self, "replay", None)
        self.replay = Replay(
            self.world_observation_space, self.action_space, capacity=self.buffer_size, num_envs=self.n_envs
        )
        if before is not None:
            for name in ("env_id", "env_kwargs", "max_episode_steps"):
                setattr(self.replay, name, getattr(before, name))
        self.begin_anew()

    def add(
        self,
        obs: Any,
        next_obs: Any,
        action: NDArray,
        reward: NDArray,
        done: NDArray,
        infos: list[dict[str, Any]],
    ) -> None:
        """One real step of all environments, as SB3's off-policy algorithms hand it over."""
        to_world = self.layout.to_world
        super().add(to_world(obs), to_world(next_obs), self.layout.unscaled(action), reward, done, infos)

    def real(self, count: int) -> Batch:
        """Real steps ``[count, 2, …]``, uniformly and with replacement, chosen by torch's global generator.

        Raises:
            ValueError: If there is none.
        """
        if self.replay.num_transitions == 0:
            raise ValueError("the replay holds no step; at least one real step was expected")
        return self.replay.transitions(torch.randint(self.replay.num_transitions, (count,))).to(self.device)

    def sample(  # type: ignore[override]
        self, batch_size: int, env: VecNormalize | None = None
    ) -> ReplayBufferSamples | DictReplayBufferSamples:
        """A batch, the real steps first.

        Args:
            batch_size: Steps in it.
            env: Normalises observations and rewards with its present statistics.
        """
        count = round(batch_size * self.real_ratio) if len(self.imagined) else batch_size
        parts = []
        if count:
            parts.append(_steps(self.real(count)))
        if count < batch_size:
            parts.append(self.imagined.sample(batch_size - count))
        rows = Transitions.cat(parts)
        layout, reward = self.layout, rewards_for_policy(rows.reward, env)
        following, terminated, discounts = rows.next_observation, rows.terminated, None
        if self.expand is not None:
            expanded = self.expand(rows)
            reward = reward + expanded.reward
            following, terminated = expanded.observation, expanded.terminated
            discounts = expanded.discount.reshape(-1, 1)
        samples: Any = DictReplayBufferSamples if isinstance(rows.observation, dict) else ReplayBufferSamples
        batch: ReplayBufferSamples | DictReplayBufferSamples = samples(
            observations=layout.to_policy(rows.observation, env),
            actions=layout.scaled(rows.action),
            next_observations=layout.to_policy(following, env),
            dones=terminated.float().reshape(-1, 1),
            rewards=reward.reshape(-1, 1),
            discounts=discounts,
        )
        return batch


def _steps(batch: Batch) -> Transitions:
    """Windows of two records as transitions."""
    before, after = (map_observation(lambda part, t=t: part[:, t], batch.observation) for t in (0, 1))
    return Transitions(before, batch.action[:, 1], batch.reward[:, 1], after, batch.terminated[:, 1])
