"""Dreamer (V1 and V3): learning in the imagination of a recurrent world model."""

from imagine_agents.dreamer.dreamer import Dreamer
from imagine_agents.dreamer.policies import DreamerPolicy

__all__ = ["Dreamer", "DreamerPolicy"]
