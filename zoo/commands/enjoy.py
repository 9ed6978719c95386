"""``imagine enjoy``: rl_zoo3's ``enjoy`` with our algorithms, in reality or in a dream."""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from zoo.arguments import KeyValues

__all__ = ["main"]

_DESCRIPTION = """\
Watch a trained agent. This is rl_zoo3's `enjoy` with its flags; the log folder is `logs` unless -f says otherwise.

An agent is shown in the real environment, wherever it was trained; with --world-model in the dream.
"""
_EXAMPLES = """\
examples:
  imagine enjoy --algo ppo --env CartPole-v1
  imagine enjoy --algo ppo --env CartPole-v1 --world-model worlds/cartpole
"""


def main(argv: Sequence[str]) -> None:
    """Shows a trained agent."""
    from zoo.agents import algorithms

    algorithms()
    from zoo.experiment import DreamExperimentManager
    from zoo.plugin import Parser, plugged_into

    script: Any = importlib.import_module("rl_zoo3.enjoy")
    chosen = Namespace()
    parser = Parser(
        _add_flags,
        lambda args: chosen.__dict__.update(vars(args)),
        {"folder": "logs"},
        prog="imagine enjoy",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    create_test_env = script.create_test_env

    def create_env(env_id: str, *, hyperparams: dict[str, Any], env_kwargs: dict[str, Any], **kwargs: Any) -> Any:
        if chosen.world_model:
            # The wrappers are those of the real environment; that of a latent dream says what the agent sees.
            latent = "LatentObservation" in str(hyperparams.pop("env_wrapper", ""))
            kind = {"observation": "latent"} if latent else {}
            env_id, env_kwargs = "Imagine/Dream-v0", {"world_model": chosen.world_model, **kind, **chosen.dream_kwargs}
        return create_test_env(env_id, hyperparams=hyperparams, env_kwargs=env_kwargs, **kwargs)

    with plugged_into(script, argv, parser, ExperimentManager=DreamExperimentManager, create_test_env=create_env):
        script.enjoy()


def _add_flags(group: Any) -> None:
    group.add_argument("--world-model", default="", metavar="DIR", help="show the agent in the dream of this world")
    group.add_argument(
        "--dream-kwargs", nargs="+", action=KeyValues, default={}, metavar="KEY:VALUE", help="options of the dream"
    )
