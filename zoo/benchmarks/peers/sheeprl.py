"""Gradient updates and acting of sheeprl's DreamerV3; runs where sheeprl is installed (``requirements-sheeprl.txt``).

    build/venv-sheeprl/bin/python -m zoo.benchmarks.peers.sheeprl --threads 2

For requests and answers see :func:`~zoo.benchmarks.peers.serving.serve`; a learner is ``{"recipe": "dreamer_v3_XS",
"image": true}``. The recipe is one of sheeprl's own configurations of ``dreamer_v3`` (the paper's first edition) or
``dreamer_v3_5`` (its second), composed as ``sheeprl exp=… algo=…`` composes it, in full precision on a CPU. What is
timed is sheeprl's own ``train`` on a random batch, and what its loop does with every update besides: the slow critic
follows. Batches are not sampled from a replay, and nothing is logged.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import hydra  # type: ignore[import-not-found]
import numpy as np
import torch
from lightning.fabric import Fabric  # type: ignore[import-not-found]
from omegaconf import OmegaConf
from sheeprl.utils.metric import MetricAggregator  # type: ignore[import-not-found]
from sheeprl.utils.utils import dotdict  # type: ignore[import-not-found]
from torch import Tensor, nn

from zoo.benchmarks.peers.serving import Learner, serve

BATCH, LENGTH = 16, 64


class Sheeprl(Learner):
    """An agent of one of sheeprl's recipes, for Pendulum's dimensions or for images of 64 × 64.

    Args:
        recipe: A file of ``configs/algo``, like "dreamer_v3_XS" or "dreamer_v3_5_1M".
        image: Whether it sees images in place of three numbers.
        threads: Of torch.
    """

    def __init__(self, recipe: str, image: bool, threads: int) -> None:
        family = "dreamer_v3_5" if recipe.startswith("dreamer_v3_5") else "dreamer_v3"
        self.second_edition = family == "dreamer_v3_5"
        self.key = "rgb" if image else "state"
        self.config = configuration(family, recipe, image)
        torch.manual_seed(0)
        torch.set_float32_matmul_precision(self.config.float32_matmul_precision)  # as sheeprl's command does
        self.fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
        self.fabric.launch()
        MetricAggregator.disabled = True
        self.module = import_module(f"sheeprl.algos.{family}.{family}")
        space = gym.spaces.Box(0, 255, (3, 64, 64), np.uint8) if image else gym.spaces.Box(-8, 8, (3,), np.float32)
        self.world, self.actor, self.critic, self.slow_critic, self.player = self.module.build_agent(
            self.fabric, (1,), True, self.config, gym.spaces.Dict({self.key: space})
        )
        moments = self.config.algo.actor.moments
        self.moments = self.module.Moments(moments.decay, moments.max, moments.percentile.low, moments.percentile.high)
        self.optimizers = self._optimizers()
        self.batch = self._batch(image)
        self.player.init_states()
        self.observation = {self.key: space.sample()[None]}
        torch.set_num_threads(threads)  # whatever was set on the way here

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """See :class:`Learner`."""
        parts = {"world": self.world, "actor": self.actor, "critic": self.critic}
        return {name: part.parameters() for name, part in parts.items()}

    def update(self) -> None:
        """``train`` and the step of the slow critic, in the order of sheeprl's loops."""
        tau = self.config.algo.critic.tau
        agent = (self.world, self.actor, self.critic, self.slow_critic)
        batch = {name: value.clone() for name, value in self.batch.items()}  # one of its entries is overwritten
        if self.second_edition:
            self.module.train(self.fabric, self.config, *agent, *self.optimizers, self.moments, batch, None, (1,))
            self.module.update_target_critic(self.critic, self.slow_critic, tau)
            return
        for fast, slow in zip(self.critic.module.parameters(), self.slow_critic.parameters(), strict=True):
            slow.data.copy_(tau * fast.data + (1 - tau) * slow.data)
        self.module.train(self.fabric, *agent, *self.optimizers, batch, None, self.config, True, (1,), self.moments)

    def act(self) -> None:
        """``prepare_obs`` and the player, as in sheeprl's loops."""
        with torch.inference_mode():
            cnn_keys = self.config.algo.cnn_keys.encoder
            seen = self.module.prepare_obs(self.fabric, self.observation, cnn_keys=cnn_keys, num_envs=1)
            torch.cat(self.player.get_actions(seen), -1).numpy()

    def _optimizers(self) -> tuple[Any, ...]:
        algo = self.config.algo
        if self.second_edition:
            together = [parameter for part in self.parts().values() for parameter in part]
            return (self.fabric.setup_optimizers(hydra.utils.instantiate(algo.optimizer, params=together)),)
        parts = zip((algo.world_model, algo.actor, algo.critic), self.parts().values(), strict=True)
        made = [hydra.utils.instantiate(part.optimizer, params=params, _convert_="all") for part, params in parts]
        return tuple(self.fabric.setup_optimizers(*made))

    def _batch(self, image: bool) -> dict[str, Tensor]:
        """Random sequences in which no episode ends, time first; the second edition's with the states it stores."""
        context = self.config.algo.replay_context if self.second_edition else 0
        shape = (LENGTH + context, BATCH)
        batch = {name: torch.zeros(*shape, 1) for name in ("terminated", "truncated", "is_first")}
        batch["actions"] = torch.rand(*shape, 1) * 2 - 1
        batch["rewards"] = torch.randn(*shape, 1)
        if image:
            pixels = torch.randint(0, 256, (*shape, 3, 64, 64), dtype=torch.uint8)
            batch["rgb"] = pixels if self.second_edition else pixels.float()
        else:
            batch["state"] = torch.randn(*shape, 3)
        if context:
            sizes = self.config.algo.world_model
            batch["deter"] = torch.zeros(*shape, sizes.recurrent_model.recurrent_state_size, dtype=torch.float16)
            batch["stoch"] = torch.zeros(*shape, sizes.stochastic_size, dtype=torch.uint8)
        return batch


def configuration(family: str, recipe: str, image: bool) -> Any:
    """What ``sheeprl exp=… algo=…`` would run with."""
    seen, unseen = ("cnn_keys", "mlp_keys") if image else ("mlp_keys", "cnn_keys")
    overrides = [
        f"exp={family}",
        f"algo={recipe}",
        "env=dummy",
        "env.num_envs=1",
        f"algo.per_rank_batch_size={BATCH}",
        f"algo.per_rank_sequence_length={LENGTH}",
        *(f"algo.{seen}.{side}=[{'rgb' if image else 'state'}]" for side in ("encoder", "decoder")),
        *(f"algo.{unseen}.{side}=[]" for side in ("encoder", "decoder")),
    ]
    with hydra.initialize_config_module("sheeprl.configs", version_base="1.3"):
        composed = hydra.compose("config", overrides=overrides)
    return dotdict(OmegaConf.to_container(composed, resolve=True, throw_on_missing=False))


def main() -> None:
    """Answers until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    versions = {name: version(name) for name in ("sheeprl", "torch", "lightning", "numpy")}
    serve(lambda recipe, image: Sheeprl(recipe, image, threads), versions)


if __name__ == "__main__":
    main()
