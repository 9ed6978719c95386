"""Known reward and termination functions, by name.

A world may be given the true reward or termination in place of a learned one. What it stores is the *name*: a world
on disk holds no code, so whoever loads it must have registered the function first. The classic control tasks are
registered here, under their Gymnasium ids and with their default arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

from imagine_envs.world_models.classic_control import TASKS, Task

__all__ = [
    "KnownFunction",
    "register_reward",
    "register_termination",
    "reward_function",
    "termination_function",
]

KnownFunction = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``function(observation [B, D], action, next_observation [B, D]) -> [B]``, in torch operations.

A reward has the observations' floating type, a termination is bool. All is in the environment's units, and on whatever
device the observations are.
"""

_Function = TypeVar("_Function", bound=KnownFunction)

_rewards: dict[str, KnownFunction] = {}
_terminations: dict[str, KnownFunction] = {}


def register_reward(name: str) -> Callable[[_Function], _Function]:
    """Decorator that makes a reward function known under ``name``.

    Raises:
        ValueError: If another function has that name already.

    Example:
        >>> @register_reward("stay-close")
        ... def stay_close(observation, action, next_observation):
        ...     return -next_observation[:, 0].abs()
    """
    return _registrar("reward", _rewards, name)


def register_termination(name: str) -> Callable[[_Function], _Function]:
    """Decorator that makes a termination function (bool ``[B]``) known under ``name``.

    Raises:
        ValueError: If another function has that name already.
    """
    return _registrar("termination", _terminations, name)


def reward_function(name: str) -> KnownFunction:
    """The reward function called ``name``.

    Raises:
        ValueError: If no such function is registered.
    """
    return _look_up("reward", _rewards, name)


def termination_function(name: str) -> KnownFunction:
    """The termination function called ``name``.

    Raises:
        ValueError: If no such function is registered.
    """
    return _look_up("termination", _terminations, name)


def _registrar(kind: str, table: dict[str, KnownFunction], name: str) -> Callable[[_Function], _Function]:
    if not isinstance(name, str):
        raise TypeError(f"register_{kind} takes a name: register_{kind}('my-name'), not {name!r}")

    def register(function: _Function) -> _Function:
        if name in table and _identity(table[name]) != _identity(function):
            raise ValueError(f"the name {name!r} belongs to another {kind} function already; choose another name")
        table[name] = function
        return function

    return register


def _identity(function: Any) -> Any:
    """Where a function was written: a cell of a notebook that is run again defines the same function anew."""
    name = getattr(function, "__qualname__", None)
    return function if name is None or "<lambda>" in name else (function.__module__, name)


def _look_up(kind: str, table: dict[str, KnownFunction], name: str) -> KnownFunction:
    if name not in table:
        raise ValueError(
            f"no {kind} function is known as {name!r}; known are {', '.join(sorted(table))}. A world stores only the "
            f"name of such a function: register it with @register_{kind}({name!r}) before building or loading the world"
        )
    return table[name]


class _TaskReward:
    def __init__(self, port: Task) -> None:
        self._port = port

    def __call__(self, observation: Tensor, action: Tensor, next_observation: Tensor) -> Tensor:
        return self._port.reward(self._port.state_of(observation), action, self._port.state_of(next_observation))


class _TaskTermination:
    def __init__(self, port: Task) -> None:
        self._port = port

    def __call__(self, observation: Tensor, action: Tensor, next_observation: Tensor) -> Tensor:
        return self._port.terminated(self._port.state_of(next_observation))


for _env_id, _port in TASKS.items():
    register_reward(_env_id)(_TaskReward(_port))
    register_termination(_env_id)(_TaskTermination(_port))
