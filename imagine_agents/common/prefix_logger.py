"""A logger that hands everything to another one under a prefix."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.logger import Logger

__all__ = ["PrefixLogger"]


class PrefixLogger(Logger):
    """Keeps what an inner algorithm logs apart from the agent that drives it.

    An agent that trains a stock algorithm in a dream gives it this logger, so that ``rollout/ep_rew_mean`` of the dream
    appears as ``imagine/rollout/ep_rew_mean`` beside the real one. Dumping is left to the outer agent.

    Args:
        parent: The logger of the outer agent.
        prefix: Put before every key, with a slash.
    """

    def __init__(self, parent: Logger, prefix: str) -> None:
        super().__init__(folder=parent.dir, output_formats=[])
        self.parent, self.prefix = parent, prefix

    def record(self, key: str, value: Any, exclude: Any = None) -> None:
        """Records the latest value of ``key``."""
        self.parent.record(f"{self.prefix}/{key}", value, exclude)

    def record_mean(self, key: str, value: float | None, exclude: Any = None) -> None:
        """Records a value to be averaged."""
        self.parent.record_mean(f"{self.prefix}/{key}", value, exclude)

    def dump(self, step: int = 0) -> None:
        """Does nothing: the outer agent dumps, at its own real steps."""
