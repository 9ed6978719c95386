"""Imagined transitions per second of mbrl-lib's ``ModelEnv``; runs where mbrl-lib is installed.

    build/venv-mbrl/bin/python -m zoo.benchmarks.peers.mbrl_lib --threads 2

It answers every line of its input, ``{"batch": 63, "numpy": true, "calls": 20}``, by one: what so many steps took,
``{"seconds": 0.013}``. The first line it writes names the versions. ``batch`` must be a multiple of the members.

The network is that of ``dynamics_model/gaussian_mlp_ensemble.yaml``, mbrl-lib's own configuration of PETS and MBPO: 7
members of 4 × 200 swish units, one random member for each row, with normalised inputs and learned rewards. The weights
are those it starts with: speed does not depend on them. ``numpy`` says whether observations and rewards are handed out
as arrays, which is ``ModelEnv``'s default, or as tensors.
"""

from __future__ import annotations

import argparse
import time
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from mbrl.models import GaussianMLP, ModelEnv, OneDTransitionRewardModel
from mbrl.types import TransitionBatch

from zoo.benchmarks.peers.answering import answer_all

MEMBERS = 7


def make(threads: int) -> ModelEnv:
    """Pendulum's dimensions, never terminating."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    env = gym.make("Pendulum-v1")
    width, actions = 3, 1
    network = GaussianMLP(
        in_size=width + actions,
        out_size=width + 1,
        device="cpu",
        num_layers=4,
        ensemble_size=MEMBERS,
        hid_size=200,
        propagation_method="random_model",
        activation_fn_cfg={"_target_": "torch.nn.SiLU"},
    )
    model = OneDTransitionRewardModel(network, target_is_delta=True, normalize=True, learned_rewards=True)
    rng = np.random.default_rng(0)
    observation = rng.normal(size=(1000, width)).astype(np.float32)
    action = rng.uniform(-2, 2, size=(1000, actions)).astype(np.float32)
    nothing = np.zeros(1000, np.float32)
    model.update_normalizer(TransitionBatch(observation, action, observation, nothing, nothing, nothing))

    def never(_action: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(after), 1, dtype=torch.bool)

    return ModelEnv(env, model, never, generator=torch.Generator().manual_seed(0))


def main() -> None:
    """Answers until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    env = make(parser.parse_args().threads)
    rng = np.random.default_rng(0)

    def answer(asked: dict[str, Any]) -> dict[str, float]:
        observation = rng.normal(size=(asked["batch"], 3)).astype(np.float32)
        state = env.reset(observation, return_as_np=asked["numpy"])
        array = rng.uniform(-2, 2, size=(asked["batch"], 1)).astype(np.float32)
        action = array if asked["numpy"] else torch.from_numpy(array)
        start = time.perf_counter()
        for _ in range(asked["calls"]):
            # Every step starts from the same observations: with weights that were never fitted a dream would run away.
            env.step(action, dict(state), sample=True)
        return {"seconds": time.perf_counter() - start}

    answer_all({name: version(name) for name in ("mbrl", "torch", "gymnasium", "numpy")}, answer)


if __name__ == "__main__":
    main()
