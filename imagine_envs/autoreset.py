"""When a Gymnasium ``VectorEnv`` resets its finished rows."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

__all__ = ["autoreset_mode"]


def autoreset_mode(env: VectorEnv) -> AutoresetMode:
    """When a batch resets its finished rows.

    Raises:
        ValueError: If it does not say.

    Example:
        >>> autoreset_mode(gym.make_vec("CartPole-v1", 2, vectorization_mode="sync"))
        <AutoresetMode.NEXT_STEP: 'NextStep'>
    """
    # Gymnasium 1.1 writes the mode into metadata that all environments of a class share, so its own classes are asked.
    unwrapped = env.unwrapped
    if isinstance(unwrapped, (SyncVectorEnv, AsyncVectorEnv)):
        found: Any = unwrapped.autoreset_mode
    else:
        found = env.metadata.get("autoreset_mode")
    try:
        return AutoresetMode(found)
    except ValueError:
        raise ValueError(
            f"metadata['autoreset_mode'] of {env} is {found!r}; a gymnasium.vector.AutoresetMode was expected, so that "
            "it is known where an episode begins"
        ) from None
