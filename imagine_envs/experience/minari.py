"""Experience from a Minari dataset."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from imagine_envs.experience.replay import Replay

__all__ = ["from_minari"]


def from_minari(dataset: Any) -> Replay:
    """The episodes of a Minari dataset, one after the other in one stream.

    Args:
        dataset: A ``minari.MinariDataset``, or the id of one on this machine (``minari download`` fetches them).

    Returns:
        A replay with the dataset's spaces and environment.

    Raises:
        ImportError: If Minari is not installed.
        TypeError: If ``dataset`` is neither.
        ValueError: If its spaces are not supported, or if an episode holds NaN or infinity.

    Example:
        >>> replay = from_minari("D4RL/door/human-v2")
    """
    try:
        import minari
    except ImportError as error:
        raise ImportError('from_minari needs Minari: pip install "imagine-rl[minari]"') from error
    if isinstance(dataset, str):
        dataset = minari.load_dataset(dataset)
    if not isinstance(dataset, minari.MinariDataset):
        raise TypeError(f"dataset is a {type(dataset).__name__}; an id or a minari.MinariDataset was expected")
    replay = Replay(dataset.observation_space, dataset.action_space)
    spec = dataset.env_spec
    if spec is not None:
        kwargs = {key: value for key, value in spec.kwargs.items() if key != "render_mode"}
        replay.env_id, replay.env_kwargs = spec.id, json.loads(json.dumps(kwargs))
        replay.max_episode_steps = spec.max_episode_steps
    for episode in dataset.iterate_episodes():
        terminated, truncated = (np.asarray(flag, bool) for flag in (episode.terminations, episode.truncations))
        actions = np.asarray(episode.actions)
        first = np.zeros(len(actions) + 1, bool)
        first[0] = True
        try:
            # Minari's row t is (observation, action, reward, …) of leaving: on arriving, all but the observation
            # belong to the next row, and the reset has none.
            replay.extend(
                episode.observations,
                np.concatenate([np.zeros_like(actions[:1]), actions]),
                np.append(0.0, episode.rewards),
                np.append(False, terminated),
                np.append(False, truncated),
                first,
            )
        except ValueError as error:
            raise ValueError(f"dataset {dataset.id}, episode {episode.id}: {error}") from error
    return replay
