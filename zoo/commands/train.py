"""``imagine train``: rl_zoo3's ``train`` with our algorithms, worlds to dream, and runs that can be resumed."""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo.agents import REAL_STEP_AGENTS
from zoo.arguments import KeyValues

if TYPE_CHECKING:
    from zoo.experiment import Plan

__all__ = ["main"]

_DESCRIPTION = """\
Train an agent. This is rl_zoo3's `train` with its flags, log folders and YAML files, and:

- on tasks of this suite stock algorithms train in one native batch;
- with --world-model it trains in the dream, in one batch, and evaluates in the real environment;
- --algo dreamer, dyna, dyna_q and imagination learn a world by themselves, and count real steps;
- a run that was killed goes on with the same command and --resume.
"""
_EXAMPLES = """\
examples:
  imagine train --algo ppo --env CartPole-v1 --world-model worlds/cartpole
  imagine train --algo ppo --env Imagine/Sokoban-7x7-1-v0
  imagine train --algo imagination --env CartPole-v1
  imagine train --algo dreamer --env Pendulum-v1
  imagine train --algo dyna --env Pendulum-v1
  imagine train --algo dyna_q --env Imagine/DynaMaze-v0
  imagine train --algo sac --env Pendulum-v1 -n 20000 --save-freq 2000 --resume
"""


def main(argv: Sequence[str]) -> None:
    """Trains an agent."""
    from zoo.agents import algorithms

    algorithms()
    from zoo.experiment import DreamExperimentManager, Plan
    from zoo.plugin import Parser, plugged_into

    script: Any = importlib.import_module("rl_zoo3.train")  # `rl_zoo3.train` as an attribute may be the function
    plan = Plan()
    parser = Parser(
        _add_flags,
        partial(_prepare, plan),
        # None means that the user gave none: then they follow from the run (see DreamExperimentManager).
        {"env": None, "save_freq": None, "eval_freq": None},
        prog="imagine train",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    manager = partial(DreamExperimentManager, plan=plan)
    with plan.held, plugged_into(script, argv, parser, ExperimentManager=manager):
        script.train()


def _add_flags(group: Any) -> None:
    group.add_argument(
        "--world-model", default="", metavar="DIR", help="train in the dream of this world, evaluate in reality"
    )
    group.add_argument(
        "--dream-kwargs", nargs="+", action=KeyValues, default={}, metavar="KEY:VALUE",
        help="options of the dream, such as horizon:200 temperature:1.0 uncertainty_penalty:0.5",
    )  # fmt: skip
    group.add_argument(
        "--resume", action="store_true",
        help="go on with the newest interrupted run of this algorithm and environment, given the flags it began with; "
        "start afresh where there is none. Without --save-freq there are ten checkpoints in a run",
    )  # fmt: skip


def _prepare(plan: Plan, args: Namespace) -> None:
    """Loads the world and finds the run to resume, before rl_zoo3 does anything."""
    if args.dream_kwargs and not args.world_model:
        raise ValueError("--dream-kwargs needs --world-model, the world to dream")
    if args.algo in REAL_STEP_AGENTS:
        if args.world_model:
            raise ValueError(
                f"--algo {args.algo} learns a world by itself; with --world-model train a stock algorithm, such as ppo"
            )
        if args.optimize_hyperparameters:
            raise ValueError(f"--optimize-hyperparameters is for stock algorithms; {args.algo} has no search space")
    if args.world_model:
        _load_world(plan, args)
    args.env = args.env or "CartPole-v1"
    if args.resume:
        _find_run(plan, args)


def _load_world(plan: Plan, args: Namespace) -> None:
    from imagine_envs.world_models import World

    plan.dream_kwargs = dict(args.dream_kwargs)
    plan.world = world = World.load(args.world_model, plan.dream_kwargs.pop("device", args.device))
    plan.world_path = args.world_model
    if not world.model.can_decode:
        plan.dream_kwargs.setdefault("observation", "latent")
    # The agent is evaluated in the environment that the world is a world of.
    args.env = args.env or world.spec.env_id
    if args.env == world.spec.env_id and args.env_kwargs is None and world.spec.env_kwargs:
        args.env_kwargs = dict(world.spec.env_kwargs)


def _find_run(plan: Plan, args: Namespace) -> None:
    from huggingface_sb3 import EnvironmentName

    from zoo.runs import differences, flags_of, interrupted_runs

    for run in interrupted_runs(args.log_folder, args.algo, EnvironmentName(args.env)):
        if not plan.held.enter_context(run.locked()):
            print(f"{run.folder} is being trained by another process")
            continue
        was = run.record["flags"]
        if args.seed < 0:  # without --seed rl_zoo3 draws one: take that of the run
            args.seed = was["seed"]
        changed = differences(was, flags_of(args))
        if changed:
            raise ValueError(
                f"--resume: the flags are not those of {run.folder}: {'; '.join(changed)}; give the flags that the run "
                "began with, or leave --resume out to begin a new one"
            )
        plan.resumed = run
        return
    print(f"Nothing to resume: no interrupted run of {args.algo} on {args.env} in {args.log_folder}; starting afresh")
