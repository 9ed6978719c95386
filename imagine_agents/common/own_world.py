"""The world that an agent learns by itself: chosen, built, kept in the agent's own file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import VecEnv, VecTransposeImage

from imagine_agents.common.dream_defaults import algorithm_class
from imagine_envs.experience import Replay
from imagine_envs.world_models import World, WorldModel, make_model
from imagine_envs.world_models.families import family_class
from imagine_envs.world_models.world import Contexts, WorldSpec

__all__ = [
    "build",
    "check_names",
    "family_of",
    "pack",
    "saved_attributes",
    "unpack",
    "untransposed",
    "without_own_world",
]


def family_of(world_model: str | WorldModel, world_model_kwargs: dict[str, Any] | None) -> str:
    """The family of a world model that is given, or named.

    Raises:
        ValueError: If there is no such family, or arguments are given of a model that is made already.
    """
    if not isinstance(world_model, WorldModel):
        return family_class(world_model).family
    if world_model_kwargs:
        raise ValueError(f"world_model is made already; world_model_kwargs={world_model_kwargs} came too late")
    return world_model.family


def build(
    given: WorldModel | None,
    family: str,
    world_model_kwargs: dict[str, Any],
    replay: Replay,
    spaces_: tuple[spaces.Space[Any], spaces.Space[Any]],
    device: torch.device,
) -> WorldModel:
    """The model that was given, or one of its family.

    Args:
        given: The model, or None.
        family: Its family.
        world_model_kwargs: Constructor arguments of the family.
        replay: The experience that it will be fitted on.
        spaces_: The environment's observation space and action space.
        device: Where it will be.

    Raises:
        ValueError: If it is a model of other spaces.
    """
    model = given or make_model(family, replay, **world_model_kwargs)
    for name, space in zip(("observation_space", "action_space"), spaces_, strict=True):
        if getattr(model, name) != space:
            raise ValueError(f"the world model's {name} is {getattr(model, name)}; the environment's is {space}")
    return model.to(device)


def pack(world: World) -> dict[str, Any]:
    """What a world holds besides its model, for the agent's file."""
    quantiles = world.uncertainty_quantiles
    return {
        "contexts": {key: value.cpu().numpy() for key, value in world.contexts.tensors().items()},
        "spec": world.spec.to_json(),
        "quantiles": None if quantiles is None else quantiles.cpu().numpy(),
    }


def unpack(model: WorldModel, data: dict[str, Any]) -> World:
    """The world of a model and what :func:`pack` kept."""
    contexts = Contexts.from_tensors({key: torch.from_numpy(value) for key, value in data["contexts"].items()})
    quantiles = None if data["quantiles"] is None else torch.from_numpy(data["quantiles"])
    return World(model, contexts, WorldSpec.from_json(data["spec"]), quantiles)


def untransposed(env: VecEnv) -> VecEnv:
    """The environment without SB3's transposition of images: worlds are of the environment itself."""
    return env.venv if isinstance(env, VecTransposeImage) else env


def check_names(argument: str, given: dict[str, Any] | None, *functions: Callable[..., Any]) -> None:
    """Checks that all names are keyword arguments of ``functions``.

    Raises:
        ValueError: If one is not.
    """
    known = [
        parameter.name
        for function in functions
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    if unknown := set(given or {}) - set(known):
        raise ValueError(f"{argument} has {', '.join(sorted(unknown))}; expected some of {', '.join(known)}")


def saved_attributes(cls: type, path: Any, custom_objects: dict[str, Any] | None) -> dict[str, Any]:
    """The attributes in a file of an agent with an algorithm and a world of its own.

    Raises:
        ValueError: If the file is of something else.
    """
    saved = load_from_zip_file(path, custom_objects=custom_objects, device="cpu")[0] or {}
    if not {"algorithm", "family", "world_model_kwargs"} <= set(saved):
        raise ValueError(f"{path} does not say what world it is of; a file that {cls.__name__} saved was expected")
    return saved


def without_own_world(saved: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Constructor arguments that ``load`` was given, without the algorithm and the world: those are the file's.

    rl_zoo3 gives ``load`` all hyper-parameters of a task.

    Args:
        saved: The attributes in the file.
        given: What ``load`` was given.

    Raises:
        ValueError: If another algorithm or another world was given.
    """
    changes = dict(given)
    algorithm = changes.pop("algorithm", None)
    if algorithm is not None and algorithm_class(algorithm) is not saved["algorithm"]:
        raise ValueError(f"algorithm={algorithm!r} was given; the file is of {saved['algorithm'].__name__}")
    world_model = changes.pop("world_model", saved["family"])
    if isinstance(world_model, WorldModel):
        raise ValueError("world_model is made already; the file has its own")
    if family_of(world_model, None) != saved["family"]:
        raise ValueError(f"world_model={world_model!r} was given; the file's is of family {saved['family']!r}")
    known = saved["world_model_kwargs"]
    for name, value in (changes.pop("world_model_kwargs", None) or {}).items():
        if name not in known or _listed(value) != _listed(known[name]):
            raise ValueError(f"world_model_kwargs has {name}={value!r}; the file's world has {known.get(name)!r}")
    return changes


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, list)) else value
