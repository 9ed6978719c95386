"""Sokoban with the rules and rewards of the I2A paper: levels, rules, generator."""

from imagine_envs.tasks.sokoban.levels import Level, LevelError, read_levels, write_levels

__all__ = ["Level", "LevelError", "read_levels", "write_levels"]
