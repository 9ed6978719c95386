"""Sokoban with the rules and rewards of the I2A paper: the task, its levels, and the generator of more."""

from imagine_envs.tasks.sokoban.generator import GenerationError, Generator, generate_levels
from imagine_envs.tasks.sokoban.levels import Level, LevelError, read_levels, write_levels
from imagine_envs.tasks.sokoban.solver import shortest_plan

__all__ = [
    "GenerationError",
    "Generator",
    "Level",
    "LevelError",
    "generate_levels",
    "read_levels",
    "shortest_plan",
    "write_levels",
]
