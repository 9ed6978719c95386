"""An agent that was trained in dreams, acting in reality."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import ActionNoise, VectorizedActionNoise
from stable_baselines3.common.policies import BasePolicy

from imagine_agents.common.inner_algorithm import heeds_masks
from imagine_envs.dreams import Filter
from imagine_envs.experience import Batch, Replay
from imagine_envs.spaces import map_observation, to_numpy
from imagine_envs.world_models import World

__all__ = ["Actor"]


class Actor:
    """The stock algorithm as a policy for real observations.

    Args:
        agent: The algorithm.
        world: Where its policy sees features: the world that filters them; None where it sees observations.
        experience: What the environments went through so far, its newest records being where they stand now. So the
            filter catches up with episodes in progress; None is for environments that begin anew.
        noise: Added to actions, in units of half the range of the action space as everywhere in SB3.
        seed: Of the filter.
    """

    def __init__(
        self,
        agent: BaseAlgorithm,
        world: World | None = None,
        *,
        experience: Replay | None = None,
        noise: ActionNoise | None = None,
        seed: int | None = None,
    ) -> None:
        self._agent, self._world, self._experience = agent, world, experience
        self._noise, self._seed = noise, seed
        self._heeds_masks = heeds_masks(agent)
        self._filter: Filter | None = None
        self._action: Any = None

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[Any, Any]:
        """As SB3's ``predict``, for batches."""
        starts = np.asarray(episode_start, dtype=bool)
        if self._world is not None:
            observation = self._features(observation, starts)
        masks = {"action_masks": action_masks} if self._heeds_masks and action_masks is not None else {}
        action, state = self._agent.predict(observation, state, episode_start, deterministic, **masks)
        if self._noise is not None:
            action = self._noisy(action, starts)
        self._action = action
        return action, state

    def _features(self, observation: Any, starts: np.ndarray) -> np.ndarray:
        assert self._world is not None
        if self._filter is None:
            self._filter = Filter(self._world, len(starts), self._seed)
            return self._filter.reset(observation) if self._experience is None else self._caught_up(self._experience)
        return self._filter.step(observation, self._action, starts)

    def _caught_up(self, experience: Replay) -> np.ndarray:
        """The features after the newest record of each stream, filtered from the beginning of its episode."""
        assert self._filter is not None
        rows = experience.num_envs
        newest = {episode.env: episode for episode in experience.episodes()}
        episodes = [newest[row] for row in range(rows)]
        records = [
            experience.windows([episode.start * rows + row], episode.stop - episode.start)[0]
            for row, episode in enumerate(episodes)
        ]
        longest = max(len(record.first) for record in records)
        features = np.empty(0)
        for step in range(longest):  # aligned at the end: shorter episodes begin again and again until their turn comes
            places = [step - longest + len(record.first) for record in records]
            first = np.array([place <= 0 for place in places])
            now = [record[max(place, 0)] for record, place in zip(records, places, strict=True)]
            features = self._filter.step(self._stacked(now), self._actions(now, first), first)
        return features

    def _stacked(self, records: list[Batch]) -> Any:
        assert self._world is not None
        space = self._world.observation_space
        parts = [to_numpy(record.observation, space) for record in records]
        return map_observation(lambda *values: np.stack(values), *parts)

    def _actions(self, records: list[Batch], first: np.ndarray) -> np.ndarray:
        assert self._world is not None
        space = self._world.action_space
        actions = np.stack([record.action.numpy() for record in records])
        # The zero of a reset may lie below the start of a discrete space.
        actions[first] = getattr(space, "start", 0)
        return actions

    def _noisy(self, action: np.ndarray, starts: np.ndarray) -> np.ndarray:
        policy, space = self._agent.policy, self._agent.action_space
        assert isinstance(policy, BasePolicy)
        assert isinstance(space, spaces.Box)
        assert self._noise is not None
        if isinstance(self._noise, VectorizedActionNoise):
            if starts.any():
                self._noise.reset(indices=np.flatnonzero(starts))
        elif starts.all():
            self._noise.reset()
        scaled = np.clip(policy.scale_action(action) + self._noise(), -1, 1)
        return np.asarray(policy.unscale_action(scaled), dtype=space.dtype)
