"""A policy that was made for dreams, acting in reality."""

from __future__ import annotations

from typing import Any

import numpy as np

from imagine_envs.dreams.filter import Filter
from imagine_envs.experience.batch import Batch
from imagine_envs.experience.collect import heeds_masks
from imagine_envs.experience.replay import Replay
from imagine_envs.spaces import map_observation, to_numpy
from imagine_envs.world_models.world import World

__all__ = ["Actor"]


class Actor:
    """A policy of dreams as a policy for real observations.

    Args:
        policy: An object with SB3's ``predict``.
        world: Where the policy sees features: the world that filters them; None where it sees observations.
        experience: What the environments went through so far, its newest records being where they stand now. So the
            filter catches up with episodes in progress; None is for environments that begin anew.
        seed: Of the filter.
    """

    def __init__(
        self, policy: Any, world: World | None = None, *, experience: Replay | None = None, seed: int | None = None
    ) -> None:
        self._policy, self._world, self._experience, self._seed = policy, world, experience, seed
        self._heeds_masks = heeds_masks(policy)
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
        if self._world is not None:
            observation = self._features(self._world, observation, np.asarray(episode_start, dtype=bool))
        masks = {"action_masks": action_masks} if self._heeds_masks and action_masks is not None else {}
        self._action, state = self._policy.predict(
            observation, state=state, episode_start=episode_start, deterministic=deterministic, **masks
        )
        return self._action, state

    def _features(self, world: World, observation: Any, starts: np.ndarray) -> np.ndarray:
        if self._filter is not None:
            return self._filter.step(observation, self._action, starts)
        self._filter = Filter(world, len(starts), self._seed)
        if self._experience is None:
            return self._filter.reset(observation)
        return _caught_up(self._filter, self._experience)


def _caught_up(filter: Filter, experience: Replay) -> np.ndarray:
    """The features after the newest record of each stream, filtered from the beginning of its episode."""
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
        features = filter.step(_observations(now, filter.world), _actions(now, first, filter.world), first)
    return features


def _observations(records: list[Batch], world: World) -> Any:
    parts = [to_numpy(record.observation, world.observation_space) for record in records]
    return map_observation(lambda *values: np.stack(values), *parts)


def _actions(records: list[Batch], first: np.ndarray, world: World) -> np.ndarray:
    actions = np.stack([record.action.numpy() for record in records])
    # The zero of a reset may lie below the start of a discrete space.
    actions[first] = getattr(world.action_space, "start", 0)
    return actions
