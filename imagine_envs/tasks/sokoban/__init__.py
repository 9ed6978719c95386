"""Sokoban with the rules and rewards of the I2A paper: the task, its levels, and the generator of more."""

from imagine_envs.tasks.sokoban.generator import GenerationError, Generator, generate_levels
from imagine_envs.tasks.sokoban.levels import Level, LevelError, read_levels, write_levels
from imagine_envs.tasks.sokoban.pool import LevelPool
from imagine_envs.tasks.sokoban.solver import shortest_plan
from imagine_envs.tasks.sokoban.task import Sokoban

__all__ = [
    "GenerationError",
    "Generator",
    "Level",
    "LevelError",
    "LevelPool",
    "Sokoban",
    "generate_levels",
    "read_levels",
    "shortest_plan",
    "write_levels",
]
