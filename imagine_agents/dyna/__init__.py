"""Dyna: any off-policy algorithm that learns from real steps and from imagined ones."""

from imagine_agents.dyna.dyna import Dyna

__all__ = ["Dyna"]
