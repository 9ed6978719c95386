"""When a Gymnasium ``VectorEnv`` resets its finished rows."""

from __future__ import annotations

from imagine_envs.autoreset import autoreset_mode

__all__ = ["autoreset_mode"]
