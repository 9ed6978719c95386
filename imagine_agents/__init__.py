"""Imagination agents: Stable-Baselines3 algorithms that learn and use a world model."""

from imagine_agents.dreamer import Dreamer
from imagine_agents.dyna import Dyna
from imagine_agents.dyna_q import DynaQ
from imagine_agents.imagination_trainer import ImaginationTrainer

__all__ = ["Dreamer", "Dyna", "DynaQ", "ImaginationTrainer"]
