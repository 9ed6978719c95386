"""Imagined steps that begin in real states: branched rollouts, and the targets of value expansion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from imagine_agents.dyna.transitions import Transitions
from imagine_envs.dreams import Dream
from imagine_envs.dreams.dream import DreamState
from imagine_envs.spaces import Observation, map_observation
from imagine_envs.world_models import State

__all__ = ["Expansion", "branches", "dreaming_from", "expansion"]


def dreaming_from(state: State, seed: int) -> DreamState:
    """A dream that begins in these states of its world model."""
    first = next(iter(state.values()))
    return DreamState(state, torch.zeros(len(first), dtype=torch.int64, device=first.device), {}, seed)


def branches(
    dream: Dream,
    state: DreamState,
    observation: Observation,
    act: Callable[[Observation], Tensor],
    length: int,
) -> Transitions:
    """Steps of ``length`` at most from each row; a row that ends, by itself or cut off by the dream, goes no further.

    Source: Janner et al., "When to trust your model" (MBPO, 2019), algorithm 2, lines 7–9.

    Args:
        dream: The dream.
        state: Where it begins, B rows.
        observation: What was really seen there, ``[B, …]``.
        act: Observations ``[b, …]`` to actions, all in the environment's units.
        length: Steps of a branch.

    Returns:
        All steps of all branches, the first ones of all branches first.
    """
    parts = []
    for _ in range(length):
        action = act(observation)
        state, step = dream.step(state, action)
        seen = dream.observation(state)
        parts.append(Transitions(observation, action, step.reward, seen, step.terminated))
        alive = (~(step.terminated | step.truncated)).nonzero().squeeze(1)
        if len(alive) == 0:
            break
        if len(alive) < len(state):
            state, seen = _rows(state, alive), map_observation(lambda part, alive=alive: part[alive], seen)
        observation = seen
    return Transitions.cat(parts)


@dataclass(frozen=True)
class Expansion:
    """What value expansion makes of the targets r + γ V(s'), ``[B]`` each: r + ``reward`` + ``discount`` · V(ŝ).

    Attributes:
        reward: Discounted rewards of the imagined steps.
        discount: γ to the power of all steps, the real one included.
        observation: ŝ, where the imagined steps end, ``[B, …]``.
        terminated: bool, whether the episode ended there, or in the real step: then V(ŝ) is zero.
    """

    reward: Tensor
    discount: Tensor
    observation: Observation
    terminated: Tensor


def expansion(
    dream: Dream,
    state: DreamState,
    rows: Transitions,
    act: Callable[[Observation], tuple[Tensor, Tensor | None]],
    value_of: Callable[[Tensor], Tensor],
    steps: int,
    gamma: float,
) -> Expansion:
    """Imagines ``steps`` steps from where each transition led to.

    A row that ends goes no further; one that is cut off is bootstrapped where it was cut off.

    Source: Feinberg et al., "Model-based value expansion" (MVE, 2018), equation 1 at the states of the replay. With
    SAC and its kin the value of a state holds the entropy of the action there, so each imagined step adds it.

    Args:
        dream: The dream.
        state: It at the next observations of ``rows``.
        rows: The transitions, B of them.
        act: Observations ``[B, …]`` to actions in the environment's units, and what entropy adds to their value
            ``[B]`` or None.
        value_of: Rewards of the dream to those that are learned from (``VecNormalize``).
        steps: H.
        gamma: γ.
    """
    alive = ~rows.terminated
    ended = rows.terminated
    reward = torch.zeros_like(rows.reward)
    discount = torch.full_like(rows.reward, gamma)
    observation = rows.next_observation
    for _ in range(steps):
        action, entropy = act(observation)
        state, step = dream.step(state, action)
        earned = value_of(step.reward)
        if entropy is not None:
            earned = earned + entropy
        reward = torch.where(alive, reward + discount * earned, reward)
        discount = torch.where(alive, discount * gamma, discount)
        seen = dream.observation(state)
        observation = map_observation(lambda new, old, alive=alive: _where(alive, new, old), seen, observation)
        ended = ended | (alive & step.terminated)
        alive = alive & ~(step.terminated | step.truncated)
    return Expansion(reward, discount, observation, ended)


def _where(rows: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _rows(state: DreamState, rows: Tensor) -> DreamState:
    return replace(
        state,
        model={name: tensor[rows] for name, tensor in state.model.items()},
        elapsed=state.elapsed[rows],
        extras={name: tensor[rows] for name, tensor in state.extras.items()},
    )
