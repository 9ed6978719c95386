"""MiniPacman: one world, five tasks that differ in what its events are worth."""

from imagine_envs.tasks.mini_pacman.mini_pacman import EVENTS, MODES, MiniPacman, Mode

__all__ = ["EVENTS", "MODES", "MiniPacman", "Mode"]
