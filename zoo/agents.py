"""Saved agents as policies for real observations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["REAL_STEP_AGENTS", "NormalizedPolicy", "algorithms", "load_agent"]

REAL_STEP_AGENTS = ("dreamer", "dyna", "dyna_q", "imagination")
"""Our algorithms, which learn worlds by themselves and need few real steps."""


def algorithms() -> dict[str, Any]:
    """rl_zoo3's table of algorithms with ours in it.

    Raises:
        ImportError: If rl_zoo3 is not installed; the message says how to install it.
    """
    try:
        import rl_zoo3
    except ImportError as error:
        raise ImportError(f"rl_zoo3 is needed: pip install 'imagine-rl[zoo]' ({error})") from error
    from imagine_agents import Dreamer, Dyna, DynaQ, ImaginationTrainer

    rl_zoo3.ALGOS.update(dreamer=Dreamer, dyna=Dyna, dyna_q=DynaQ, imagination=ImaginationTrainer)
    table: dict[str, Any] = rl_zoo3.ALGOS
    return table


class NormalizedPolicy:
    """A policy that was trained behind ``VecNormalize``, for observations as the environment gives them.

    Args:
        policy: Anything with SB3's ``predict``.
        normalize: The saved ``VecNormalize``.
    """

    def __init__(self, policy: Any, normalize: Any) -> None:
        self._policy, self._normalize = policy, normalize
        self.action_space = policy.action_space

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """As SB3's ``predict``."""
        result: tuple[np.ndarray, tuple[np.ndarray, ...] | None] = self._policy.predict(
            self._normalize.normalize_obs(observation), state, episode_start, deterministic
        )
        return result


def load_agent(path: str, algo: str | None = None, device: str = "cpu") -> Any:
    """An agent from its file, with the statistics of its observations where rl_zoo3 left some beside it.

    Args:
        path: The ``.zip`` that SB3 wrote.
        algo: rl_zoo3's name of its algorithm; None reads it from the path, ``logs/<algo>/<run>/<file>.zip``.
        device: Where to put it.

    Raises:
        ValueError: If the file is missing or cannot be read, or the algorithm is unknown.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"--agent {path}: there is no such file")
    table = algorithms()
    if algo is None:
        algo = file.resolve().parent.parent.name
        if algo not in table:
            raise ValueError(
                f"--agent {path} does not lie in logs/<algo>/<run>/, so --algo is needed: {', '.join(table)}"
            )
    if algo not in table:
        raise ValueError(f"--algo {algo} is unknown; expected one of {', '.join(table)}")
    try:
        # What SB3 stores of schedules are pickled functions, which only training needs.
        unused = {"learning_rate": 0.0, "lr_schedule": lambda _: 0.0, "clip_range": lambda _: 0.0}
        agent = table[algo].load(file, device=device, custom_objects=unused)
    except Exception as error:
        raise ValueError(f"--agent {path} cannot be read as an agent of {algo}: {error}") from error
    statistics = sorted(file.parent.glob("*/vecnormalize.pkl"))
    if len(statistics) != 1:
        return agent
    import pickle

    with open(statistics[0], "rb") as stream:
        normalize = pickle.load(stream)  # as VecNormalize.load does, which wants an environment
    normalize.training = False
    return NormalizedPolicy(agent, normalize)
