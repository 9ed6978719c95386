"""Planning of rl-blox's Dyna-Q, in JAX; runs where rl-blox is installed (``requirements-rl-blox.txt``).

    build/venv-rl-blox/bin/python -m zoo.benchmarks.peers.rl_blox

For requests and answers see :func:`~zoo.benchmarks.peers.planning.serve`; there is "uniform". What is timed is its
``planning``, on the CPU, until the values are there. It draws pairs from a buffer, which holds each pair once here, and
takes a pair's likeliest successor.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import jax  # type: ignore[import-not-found]
import jax.numpy as jnp  # type: ignore[import-not-found]
from rl_blox.algorithm.dynaq import planning  # type: ignore[import-not-found]

from zoo.benchmarks.peers.planning import UNIT, Transition, serve


def uniform(transitions: list[Transition]) -> Callable[[int], object]:
    """Its ``planning``; the first call compiles."""
    states = 1 + max(max(before, after) for before, _, _, after, _ in transitions)
    actions = 1 + max(action for _, action, *_ in transitions)
    observed, done, rewards, following = (
        jnp.array([transition[part] for transition in transitions]) for part in range(4)
    )
    chance = jnp.zeros((states, actions, states)).at[observed, done, following].set(1.0)
    reward = jnp.zeros((states, actions, states)).at[observed, done, following].set(rewards)
    values, key = jnp.zeros((states, actions)), jax.random.key(0)

    def plan(backups: int) -> None:
        nonlocal values, key
        for _ in range(0, backups, UNIT):  # other numbers would be compiled anew
            key, used = jax.random.split(key)
            values = planning(chance, reward, observed, done, UNIT, used, 0.95, 0.1, values)
        values.block_until_ready()

    return plan


if __name__ == "__main__":
    serve({"uniform": uniform}, {name: version(name) for name in ("rl-blox", "jax")})
