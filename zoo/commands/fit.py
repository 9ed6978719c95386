"""``imagine fit``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.arguments import KeyValues, import_packages, parser_for

__all__ = ["main"]


def main(argv: Sequence[str]) -> None:
    """Learns a world from saved steps."""
    parser = parser_for(
        "fit",
        "Learn a world from the steps that `imagine collect` saved.",
        "imagine fit --data data/cartpole --family ensemble -o worlds/cartpole -params hidden:(128,128) patience:5",
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="directory of saved steps")
    parser.add_argument("--family", default="ensemble", help="kind of world model (default: ensemble)")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="directory of the world")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the world that is there, once the new one is whole"
    )
    parser.add_argument(
        "-params", "--hyperparams", nargs="+", action=KeyValues, default={}, metavar="KEY:VALUE",
        help="arguments of the family and of the fit, such as hidden:(128,128) members:5 patience:5",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of weights, hold-out and batches (default: 0)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (default: auto)")
    args = parser.parse_args(argv)
    if Path(args.output).exists() and not args.overwrite:
        raise ValueError(f"-o {args.output} exists already; choose another name, or replace it with --overwrite")

    import torch

    import_packages([])
    from imagine_envs.experience import Replay
    from imagine_envs.world_models import make_model
    from imagine_envs.world_models.families import family_class
    from imagine_envs.world_models.fit import fit
    from imagine_envs.world_models.world import resolve_device

    family = family_class(args.family)
    model_kwargs, fit_kwargs = split_hyperparameters(args.hyperparams, family)
    replay = Replay.load(args.data)
    torch.manual_seed(args.seed)
    model = make_model(args.family, replay, **model_kwargs).to(resolve_device(args.device))
    world = fit(model, replay, seed=args.seed, progress=True, **fit_kwargs)
    world.save(args.output, overwrite=args.overwrite)
    data = world.spec.data
    print(f"{args.output}: a world of {world.spec.env_id} from {data['real_steps']} real steps", end="")
    if world.report is not None and world.report.updates:
        errors = world.report.errors
        print(
            f"; {world.report.updates} updates in {world.report.seconds:.0f} s, "
            f"held-out error {sum(errors) / len(errors):.3g}"
        )
    else:
        print()


def split_hyperparameters(hyperparams: dict[str, Any], family: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parts them into those of the family's constructor and those of ``fit``.

    Raises:
        ValueError: If one belongs to neither; the message lists what there is.
    """
    from imagine_envs.world_models.fit import fit, fit_model

    taken = {
        "self",
        "observation_space",
        "action_space",
        "world_model",
        "replay",
        "seed",
        "progress",
        "logger",
        "kwargs",
    }
    of_family = set(inspect.signature(family).parameters) - taken
    of_fit = (set(inspect.signature(fit).parameters) | set(inspect.signature(fit_model).parameters)) - taken
    for name in hyperparams:
        if name not in of_family | of_fit:
            raise ValueError(
                f"-params {name}: unknown; the family has {', '.join(sorted(of_family)) or 'none'}, the fit has "
                f"{', '.join(sorted(of_fit))}"
            )
    return (
        {name: value for name, value in hyperparams.items() if name in of_family},
        {name: value for name, value in hyperparams.items() if name in of_fit - of_family},
    )
