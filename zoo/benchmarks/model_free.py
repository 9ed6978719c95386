"""Model-free algorithms as rl_zoo3 tuned them: what imagination is compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
import yaml
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecNormalize, unwrap_vec_wrapper

from imagine_agents.common.dream_defaults import algorithm_class

__all__ = ["model_free", "model_free_settings", "normalized", "wrapped_alike"]

_PIXELS = {"policy": "CnnPolicy", "frame_stack": 3}  # velocities can be seen in three pictures
_OURS: dict[tuple[str, str], dict[str, Any]] = {
    # rl_zoo3's for Pendulum-v1, with SB3's learning rate and shorter rollouts: the real steps are few.
    ("PixelPendulum-v0", "ppo"): {
        **_PIXELS,
        "n_envs": 4,
        "n_steps": 256,
        "batch_size": 128,
        "gamma": 0.9,
        "gae_lambda": 0.95,
        "learning_rate": 3e-4,
        "use_sde": True,
        "sde_sample_freq": 4,
    },
    ("PixelPendulum-v0", "sac"): {**_PIXELS, "learning_starts": 1_000, "buffer_size": 20_000, "batch_size": 128},
    ("InvertedPendulum-v5", "sac"): {"policy": "MlpPolicy"},
    ("dm_control/cartpole-swingup-v0", "sac"): {"policy": "MultiInputPolicy"},
    ("dm_control/reacher-easy-v0", "sac"): {"policy": "MultiInputPolicy"},
}
"""Of tasks that rl_zoo3 does not know, in its words; what is not said is SB3's default."""


def model_free_settings(task: str, name: str) -> dict[str, Any]:
    """rl_zoo3's settings of an algorithm for a task, or ours where it has none."""
    if (task, name) in _OURS:
        return dict(_OURS[task, name])
    import rl_zoo3

    found = yaml.safe_load((Path(rl_zoo3.__file__).parent / "hyperparams" / f"{name}.yml").read_text())[task]
    return {key: value for key, value in found.items() if key != "n_timesteps"}


def model_free(task: str, name: str, seed: int, make: Callable[[], gym.Env] | str | None = None) -> BaseAlgorithm:
    """An algorithm with the settings of :func:`model_free_settings`, ready to learn.

    Args:
        task: The environment's id.
        name: rl_zoo3's name of the algorithm.
        seed: Of everything.
        make: Makes the environment; None takes the id.
    """
    from rl_zoo3.exp_manager import ExperimentManager

    params = model_free_settings(task, name)
    normalize, stacked = params.pop("normalize", False), params.pop("frame_stack", 0)
    env = make_vec_env(make or task, n_envs=params.pop("n_envs", 1), seed=seed)
    env = normalized(env, normalize, params.get("gamma", 0.99))
    if stacked:
        env = VecFrameStack(env, stacked)
    for key in ("policy_kwargs", "train_freq"):
        if isinstance(params.get(key), str):
            params[key] = eval(params[key], {"dict": dict, "nn": torch.nn})
    params = ExperimentManager._preprocess_schedules(params)
    return algorithm_class(name)(params.pop("policy"), env, seed=seed, device="cpu", **params)


def normalized(env: VecEnv, normalize: bool | str, gamma: float) -> VecEnv:
    """Environments as rl_zoo3's word ``normalize`` wants them: True, or the arguments of ``VecNormalize``."""
    if not normalize:
        return env
    return VecNormalize(env, gamma=gamma, **({} if normalize is True else eval(normalize)))


def wrapped_alike(env: VecEnv, model: BaseAlgorithm) -> VecEnv:
    """Environments as the algorithm sees its own: normalised, stacked. Returns stay the real ones."""
    normalize = model.get_vec_normalize_env()
    if normalize is not None:
        env = VecNormalize(env, training=False, norm_obs=normalize.norm_obs, norm_reward=False)
        if normalize.norm_obs:
            env.obs_rms = normalize.obs_rms
    stacked = None if model.env is None else unwrap_vec_wrapper(model.env, VecFrameStack)
    return env if stacked is None else VecFrameStack(env, stacked.stacked_obs.n_stack)
