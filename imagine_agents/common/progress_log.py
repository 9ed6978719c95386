"""What SB3's algorithms log of their progress, for agents that have a loop of their own."""

from __future__ import annotations

import sys
import time

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import safe_mean

__all__ = ["record_progress"]


def record_progress(model: BaseAlgorithm) -> None:
    """Records the real episodes of late (``rollout/*``) and the time taken (``time/*``) under SB3's names."""
    record = model.logger.record
    if model.ep_info_buffer:
        record("rollout/ep_rew_mean", safe_mean([info["r"] for info in model.ep_info_buffer]))
        record("rollout/ep_len_mean", safe_mean([info["l"] for info in model.ep_info_buffer]))
    if model.ep_success_buffer:
        record("rollout/success_rate", safe_mean(model.ep_success_buffer))
    elapsed = max((time.time_ns() - model.start_time) / 1e9, sys.float_info.epsilon)
    record("time/fps", int((model.num_timesteps - model._num_timesteps_at_start) / elapsed))
    record("time/time_elapsed", int(elapsed), exclude="tensorboard")
    record("time/total_timesteps", model.num_timesteps, exclude="tensorboard")
