"""Tabular worlds: what was seen, counted."""

from imagine_envs.world_models.tabular.tables import Tables, draw, expected, learn, learn_all
from imagine_envs.world_models.tabular.tabular import Tabular

__all__ = ["Tables", "Tabular", "draw", "expected", "learn", "learn_all"]
