"""What off-policy algorithms share that replay sequences of real experience."""

from __future__ import annotations

import copy
import io
import pathlib
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import MaybeCallback, RolloutReturn
from stable_baselines3.common.vec_env import VecEnv

from imagine_agents.common.checkpoint import TorchStates, torch_states
from imagine_agents.common.sequence_buffer import SequenceReplayBuffer
from imagine_envs.experience import Replay

__all__ = ["SequenceAlgorithm"]


class SequenceAlgorithm(OffPolicyAlgorithm):
    """An off-policy algorithm whose replay buffer is a :class:`SequenceReplayBuffer`: no sequence may miss a step.

    The arguments are those of SB3's ``OffPolicyAlgorithm``.
    """

    replay_buffer: SequenceReplayBuffer | None
    states_before_noise: TorchStates | None = None
    """Of torch's generators, where gSDE has drawn its noise for a rollout whose first step was not taken yet."""

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> Any:
        begins_anew = reset_num_timesteps or self._last_obs is None
        noise = None if begins_anew else copy.deepcopy(self.action_noise)  # SB3 begins it anew in every `learn`
        result = super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        if begins_anew:
            self._begin_anew()
        elif noise is not None:
            self.action_noise = noise
        return result

    def _begin_anew(self) -> None:
        """The environments were reset."""
        assert self.replay_buffer is not None
        self.replay_buffer.begin_anew()

    def collect_rollouts(self, env: VecEnv, callback: BaseCallback, *args: Any, **kwargs: Any) -> RolloutReturn:
        """See SB3's; the step that a callback stops at, which SB3 loses, is stored too."""
        # SB3 draws gSDE's noise before it says that a rollout begins; who goes on from there will draw it again.
        self.states_before_noise = torch_states(self.device) if self.use_sde else None
        rollout = super().collect_rollouts(env, callback, *args, **kwargs)
        if not rollout.continue_training:
            names = ("replay_buffer", "buffer_actions", "new_obs", "rewards", "dones", "infos")
            self._store_transition(*(callback.locals[name] for name in names))
        return rollout

    def _sample_action(self, *args: Any, **kwargs: Any) -> Any:
        self.states_before_noise = None
        return super()._sample_action(*args, **kwargs)

    def save_replay_buffer(self, path: str | pathlib.Path | io.BufferedIOBase) -> None:
        """Writes the replay as a directory of safe files, in the place of another one that may be there.

        See :meth:`~imagine_envs.experience.Replay.save`.
        """
        assert self.replay_buffer is not None
        self.replay_buffer.replay.save(pathlib.Path(path), overwrite=True)  # type: ignore[arg-type]

    def load_replay_buffer(self, path: str | pathlib.Path | io.BufferedIOBase, truncate_last_traj: bool = True) -> None:
        """Reads what :meth:`save_replay_buffer` wrote.

        Raises:
            StorageError: If a file is missing or broken.
            ValueError: If the replay is of other spaces, or of another number of environments.
        """
        assert self.replay_buffer is not None
        in_an_episode = self.replay_buffer.size() > 0  # then it is none of those that are loaded
        self.replay_buffer.take(Replay.load(pathlib.Path(path)))  # type: ignore[arg-type]
        if in_an_episode:
            self.replay_buffer.begin_anew()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "states_before_noise", "last_checkpoint"]
