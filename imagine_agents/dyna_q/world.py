"""What Dyna-Q has learned of its environment as a world: a model with starts, to dream, save and view."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from imagine_agents.dyna_q.memory import CLOCK, MemoryBuffers
from imagine_envs.world_models import World, WorldSpec
from imagine_envs.world_models.tabular import Tabular
from imagine_envs.world_models.world import Contexts

__all__ = ["world_of"]


def world_of(
    model: Tabular, memory: MemoryBuffers, identity: tuple[str | None, dict[str, Any], int | None]
) -> World | None:
    """The world of a model that is learned step by step, which no replay stands behind.

    Dreams start in every state in which something was done, of the kind "initial" where real episodes have begun.

    Args:
        model: The model; the world shares it.
        memory: What else the agent knows.
        identity: Id, keyword arguments and step limit of the environment.

    Returns:
        The world, or None before the first step.
    """
    tables = model.tables
    known = tables.states[: int(tables.num_states[0])]
    if not len(known):
        return None
    begins = memory.is_start.numpy()[known]
    order = np.argsort(~begins, kind="stable")
    index = torch.from_numpy(known[order])
    observation = model.decode({"index": index})
    assert isinstance(observation, torch.Tensor)
    assert isinstance(model.action_space, spaces.Discrete)
    contexts = Contexts(
        observation=observation[:, None],
        action=torch.full((len(known), 1), int(model.action_space.start)),
        first=torch.from_numpy(begins[order])[:, None],
        columns={},
    )
    used = tables.count > 0
    env_id, env_kwargs, max_episode_steps = identity
    spec = WorldSpec(
        env_id=env_id,
        env_kwargs=env_kwargs,
        max_episode_steps=max_episode_steps,
        observation_space=model.observation_space,
        action_space=model.action_space,
        data={
            "real_steps": int(memory.counters[CLOCK]),
            "states": len(known),
            "pairs": int(tables.num_actions.sum()),
            "reward_min": float(tables.reward[used].min()),
            "reward_max": float(tables.reward[used].max()),
        },
    )
    return World(model, contexts, spec, _uncertainty_quantiles(tables.count))


def _uncertainty_quantiles(count: NDArray[np.int64]) -> torch.Tensor:
    """Quantiles of the model's uncertainty 1/√(1 + n) over all real steps that it knows, float64 ``[1001]``."""
    times = np.sort(count.sum(2)[count[..., 0] > 0])[::-1]  # the most certain pair first
    up_to = times.cumsum()
    step = np.linspace(0, up_to[-1] - 1, 1001).astype(np.int64)
    return torch.from_numpy(1 / np.sqrt(1 + times[np.searchsorted(up_to, step, side="right")]))
