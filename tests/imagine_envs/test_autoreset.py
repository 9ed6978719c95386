from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from imagine_envs.autoreset import autoreset_mode


class Native(VectorEnv):
    """A batch that is none of Gymnasium's own; only its metadata can tell."""

    num_envs = 1

    def __init__(self, **metadata: Any) -> None:
        self.metadata = metadata


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("batch", [SyncVectorEnv, AsyncVectorEnv])
def test_gymnasiums_own_batches_are_asked_themselves(batch: Any, mode: AutoresetMode) -> None:
    env = batch([lambda: gym.make("CartPole-v1")], autoreset_mode=mode)
    for other in AutoresetMode:
        env.metadata["autoreset_mode"] = other  # which batches of one class share in Gymnasium 1.1
        assert autoreset_mode(env) is mode
        assert autoreset_mode(RecordEpisodeStatistics(env)) is mode
    env.close()


@pytest.mark.parametrize("mode", AutoresetMode)
def test_other_batches_say_it_in_their_metadata(mode: AutoresetMode) -> None:
    assert autoreset_mode(Native(autoreset_mode=mode)) is mode
    assert autoreset_mode(Native(autoreset_mode=mode.value)) is mode


@pytest.mark.parametrize(("metadata", "found"), [({}, "None"), ({"autoreset_mode": "sometimes"}, "'sometimes'")])
def test_a_batch_must_say_it(metadata: dict[str, Any], found: str) -> None:
    with pytest.raises(ValueError, match=rf"metadata\['autoreset_mode'\] of .* is {found}; a gymnasium\.vector\.Auto"):
        autoreset_mode(Native(**metadata))
