"""A replay of sequences in the place of Stable-Baselines3's replay of transitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import BaseBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize

from imagine_envs.experience import Batch, Replay
from imagine_envs.spaces import map_observation, to_tensor

__all__ = ["SequenceReplayBuffer"]


class SequenceReplayBuffer(ReplayBuffer):
    """What SB3's off-policy algorithms add to; a :class:`~imagine_envs.experience.Replay` is behind it.

    SB3 hands over transitions, with the terminal observation in the place of the one that follows the reset. They
    become records on arrival: a ``first`` record where an episode begins, then one for each step. Nothing is allocated
    before it is used.

    Args:
        buffer_size: Most records alive, of all environments together.
        observation_space: What is seen.
        action_space: What is done.
        device: Where batches are wanted.
        n_envs: Environments.
        optimize_memory_usage: Without meaning: an observation is stored once anyway.
        sequence_length: Records in a sequence.

    Attributes:
        replay: The records.

    Raises:
        ValueError: If the buffer cannot hold one sequence of each environment.
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
        sequence_length: int = 64,
    ) -> None:
        if buffer_size // n_envs < sequence_length:
            raise ValueError(
                f"buffer_size={buffer_size} leaves {buffer_size // n_envs} records for each of {n_envs} environments; "
                f"a sequence of {sequence_length} needs buffer_size={sequence_length * n_envs} at least"
            )
        # Not ReplayBuffer's: it would allocate arrays of transitions.
        BaseBuffer.__init__(self, buffer_size, observation_space, action_space, device, n_envs)
        self.optimize_memory_usage, self.handle_timeout_termination = False, True
        self.sequence_length = sequence_length
        self._begins = np.ones(n_envs, dtype=bool)
        self.reset()

    def size(self) -> int:
        """Records alive."""
        return len(self.replay)

    def reset(self) -> None:
        """Forgets all records."""
        self.replay = Replay(self.observation_space, self.action_space, capacity=self.buffer_size, num_envs=self.n_envs)
        self.begin_anew()

    @property
    def can_sample(self) -> bool:
        """Whether some environment was followed for a whole sequence."""
        return self.replay.longest >= self.sequence_length

    def begin_anew(self) -> None:
        """The environments were reset: the episodes in progress stay open, and the next records are ``first``."""
        self._begins[:] = True

    def take(self, replay: Replay) -> None:
        """Goes on with other records. Episodes that are open in them go on too, unless :meth:`begin_anew` is called.

        Raises:
            ValueError: If they are of other spaces, or of another number of environments.
        """
        for name, theirs, ours in (
            ("observation_space", replay.observation_space, self.observation_space),
            ("action_space", replay.action_space, self.action_space),
            ("num_envs", replay.num_envs, self.n_envs),
        ):
            if theirs != ours:
                raise ValueError(f"the replay's {name} is {theirs}; {ours} was expected")
        self.replay = replay
        self._begins = ~replay.open

    def add(
        self,
        obs: Any,
        next_obs: Any,
        action: NDArray,
        reward: NDArray,
        done: NDArray,
        infos: list[dict[str, Any]],
    ) -> None:
        """One step of all environments, as SB3's off-policy algorithms hand it over."""
        rows = np.flatnonzero(self._begins)
        if len(rows):
            self.replay.add_reset(map_observation(lambda part: np.asarray(part)[rows], obs), envs=rows)
        done = np.asarray(done, dtype=bool)
        truncated = done & np.array([info.get("TimeLimit.truncated", False) for info in infos], dtype=bool)
        action = np.asarray(action).reshape(self.n_envs, *(self.action_space.shape or ()))
        self.replay.add(next_obs, action, reward, done & ~truncated, truncated, np.zeros(self.n_envs, dtype=bool))
        self._begins = done.copy()

    def sample(  # type: ignore[override]
        self, batch_size: int, env: VecNormalize | None = None, rng: np.random.Generator | None = None
    ) -> Batch:
        """Sequences ``[batch_size, sequence_length, …]``, uniform over all that are alive.

        Args:
            batch_size: Their number.
            env: Normalises observations and rewards with its present statistics.
            rng: Source of the choice.
        """
        batch = self.replay.sample(batch_size, self.sequence_length, rng or np.random.default_rng())
        if env is not None:
            batch = self._normalized(batch, env)
        return batch.to(self.device)

    def _normalized(self, batch: Batch, env: VecNormalize) -> Batch:
        seen = map_observation(lambda tensor: tensor.numpy(), batch.observation)
        reward = torch.as_tensor(env.normalize_reward(batch.reward.numpy()), dtype=torch.float32)
        return replace(
            batch,
            observation=to_tensor(env.normalize_obs(seen), self.observation_space, "cpu"),
            reward=reward.masked_fill(batch.first, 0.0),
        )
