"""A world simple enough to be computed in one's head."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from imagine_envs.world_models.protocol import Prediction, State, WorldModel
from imagine_envs.world_models.world import Contexts, World, WorldSpec


class Walk(WorldModel):
    """x' = x + a + temperature · noise, reward 10 x' + a, uncertainty |x'|, termination with a fixed probability."""

    family: ClassVar[str] = "walk"
    markov = True
    has_uncertainty = True
    can_learn = False

    def __init__(self, terminated: float = 0.0, *, masks: bool = False, decodes: bool = True) -> None:
        observation_space = spaces.Box(-100, 100, (1,), np.float32)
        super().__init__(observation_space, spaces.Discrete(3, start=-1))
        self.terminated, self.masks, self.can_decode = terminated, masks, decodes

    def initial(self, batch_size: int) -> State:
        return {"x": torch.zeros(batch_size, 1)}

    def observe(self, state: State, action: Tensor, observation: Any, first: Tensor, **_: Any) -> State:
        return {"x": observation}

    def imagine(
        self,
        state: State,
        action: Tensor,
        *,
        temperature: float = 1.0,
        uncertainty: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[State, Prediction]:
        noise = torch.randn(len(action), 1, generator=generator)
        x = state["x"] + action[:, None] + temperature * noise
        reward = 10 * x[:, 0] + action
        terminated = torch.full((len(action),), self.terminated)
        extras = {"action_mask": torch.tensor([[0.2, 0.4, 0.3]]).repeat(len(action), 1)} if self.masks else {}
        return {"x": x}, Prediction(reward, terminated, x[:, 0].abs() if uncertainty else None, extras)

    def features(self, state: State) -> Tensor:
        return torch.cat([state["x"], -2 * state["x"]], 1)

    def decode(self, state: State) -> Tensor:
        if not self.can_decode:
            return super().decode(state)  # type: ignore[return-value]
        return state["x"].clamp(-100, 100)


def walk_world(
    terminated: float = 0.0,
    *,
    masks: bool = False,
    decodes: bool = True,
    limit: int | None = 5,
    starts: int = 50,
    reward_min: float = -3.0,
) -> World:
    """A world of 50 starts x = 0.5, 1.5, …, of which every fifth is a reset; uncertainty quantiles 0 … 10."""
    x = torch.arange(starts, dtype=torch.float32)[:, None, None] + 0.5
    first = (torch.arange(starts) % 5 == 0)[:, None]
    action_mask = torch.tensor([[True, False, False], [False, True, True]]).repeat(-(-starts // 2), 1)[:starts]
    model = Walk(terminated, masks=masks, decodes=decodes)
    contexts = Contexts(x, torch.zeros(starts, 1, dtype=torch.int64), first, {"action_mask": action_mask})
    spec = WorldSpec(None, {}, limit, model.observation_space, model.action_space, {"reward_min": reward_min})
    return World(model, contexts, spec, torch.linspace(0, 10, 1001, dtype=torch.float64))
