"""Model-free algorithms as rl_zoo3 tuned them: what imagination is compared with."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from imagine_agents.common.dream_defaults import algorithm_class

__all__ = ["model_free"]


def model_free(task: str, name: str, seed: int) -> BaseAlgorithm:
    """An algorithm with rl_zoo3's settings for the task, ready to learn.

    Args:
        task: The environment's id.
        name: rl_zoo3's name of the algorithm.
        seed: Of everything.
    """
    import rl_zoo3
    from rl_zoo3.exp_manager import ExperimentManager

    found = yaml.safe_load((Path(rl_zoo3.__file__).parent / "hyperparams" / f"{name}.yml").read_text())[task]
    params = {key: value for key, value in found.items() if key not in ("n_timesteps", "normalize")}
    env = make_vec_env(task, n_envs=params.pop("n_envs", 1), seed=seed)
    if found.get("normalize"):
        env = VecNormalize(env, gamma=params.get("gamma", 0.99))
    for key in ("policy_kwargs", "train_freq"):
        if isinstance(params.get(key), str):
            params[key] = eval(params[key], {"dict": dict, "nn": torch.nn})
    params = ExperimentManager._preprocess_schedules(params)
    return algorithm_class(name)(params.pop("policy"), env, seed=seed, device="cpu", **params)
