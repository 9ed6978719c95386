"""Steps of jumanji's Sokoban, in JAX; runs where jumanji is installed (``requirements-jumanji.txt``).

    build/venv-jumanji/bin/python -m zoo.benchmarks.peers.jumanji_steps

For requests and answers see :func:`~zoo.benchmarks.peers.stepping.serve`; a batch is ``{"num_envs": 64}``. What is
timed is its ``VmapWrapper`` around its ``AutoResetWrapper``, compiled as a whole, on the CPU, until its results are
there; actions lie in JAX's memory already. As many threads as XLA chooses.

Ten rows by ten columns, 4 boxes; 4 actions; observations ``[B, 10, 10, 2]``, uint8. Its levels would be downloaded from
Hugging Face; here they are the two of its ``ToyGenerator``. A finished row begins anew in the same step.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import jax  # type: ignore[import-not-found]
from jumanji.environments import Sokoban  # type: ignore[import-not-found]
from jumanji.environments.routing.sokoban.generator import ToyGenerator  # type: ignore[import-not-found]
from jumanji.wrappers import AutoResetWrapper, VmapWrapper  # type: ignore[import-not-found]

from zoo.benchmarks.peers.stepping import drawn_actions, serve


def batch(num_envs: int) -> Callable[[int], object]:
    """Steps of a batch; the first one compiles."""
    envs = VmapWrapper(AutoResetWrapper(Sokoban(generator=ToyGenerator())))
    step = jax.jit(envs.step)
    state, _ = jax.jit(envs.reset)(jax.random.split(jax.random.PRNGKey(0), num_envs))
    actions = [jax.device_put(action) for action in drawn_actions(4, num_envs)]

    def advance(clock: int) -> None:
        nonlocal state
        state, timestep = step(state, actions[clock % len(actions)])
        jax.block_until_ready(timestep)

    return advance


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    serve(batch, {name: version(name) for name in ("jumanji", "jax", "numpy")})
