"""Tabular tasks of the Dyna chapter: mazes, a rod among obstacles, random tasks."""

from imagine_envs.tasks.mazes.grid import BlockingMaze, DynaMaze, GridMaze, ScaledMaze, ShortcutMaze
from imagine_envs.tasks.mazes.rod import RodManeuvering
from imagine_envs.tasks.mazes.table import TableTask
from imagine_envs.tasks.mazes.trajectory_sampling import TrajectorySampling

__all__ = [
    "BlockingMaze",
    "DynaMaze",
    "GridMaze",
    "RodManeuvering",
    "ScaledMaze",
    "ShortcutMaze",
    "TableTask",
    "TrajectorySampling",
]
