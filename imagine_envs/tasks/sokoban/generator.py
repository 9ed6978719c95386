"""Makes levels that can be solved, and that are worth solving."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from imagine_envs.tasks.sokoban.box_sets import binomials
from imagine_envs.tasks.sokoban.levels import Level, LevelError
from imagine_envs.tasks.sokoban.reverse_play import make
from imagine_envs.tasks.sokoban.solver import shortest_plan
from imagine_envs.whole_numbers import check_whole, is_whole

__all__ = ["GenerationError", "Generator", "generate_levels"]

_LARGEST_SIDE = 100
_STATES_TO_SOLVE = 3_000_000


class GenerationError(ValueError):
    """No level came out of all attempts."""


def generate_levels(
    count: int, size: int | tuple[int, int] = 10, boxes: int = 4, seed: int = 0, *, threads: int = 1, **effort: int
) -> list[Level]:
    """Makes levels as the I2A paper does.

    Level i of a seed is the same whatever the count and the number of threads.

    Args:
        count: How many.
        size: Rows and columns, walls included; one number for a square.
        boxes: Boxes in each level.
        seed: Of all that is random, at least 0.
        threads: How many levels are made at a time.
        **effort: Of :class:`Generator`: ``states``, ``depth``, ``topologies``, ``placements``, ``attempts``.

    Returns:
        The levels with their plans, see :meth:`Generator.level`.

    Raises:
        ValueError: If an argument makes no sense, among them a size that cannot hold the boxes; nothing was searched.
        GenerationError: If a level does not come out of all attempts.

    Example:
        >>> level = generate_levels(1, size=7, boxes=2, seed=3)[0]
        >>> print(level, len(level.plan))
    """
    check_whole("count", count, 0)
    return list(Generator(size, boxes, seed, **effort).levels(count, threads=threads))


@dataclass(frozen=True)
class Generator:
    """A seed's endless row of levels, each of which can be made by itself.

    The recipe is that of the I2A paper (Weber et al. 2017, appendix D.2). A room is dug by a random walk. Targets, with
    a box on each, and the player are placed at random, and the game is played backwards, depth first, pulling boxes and
    walking: whatever is reached can be solved. The state with the highest score wins, among all placements in all
    rooms; the score is the box swaps on the way to it times the Manhattan distances of the boxes from their targets.

    Args:
        size: Rows and columns, walls included; one number for a square.
        boxes: Boxes in each level.
        seed: Of all that is random, at least 0.
        states: States that one placement's backward play visits at most. The paper's budget is 1,000,000 and 300,000 is
            gym-sokoban's; the default makes levels as hard (``zoo/benchmarks/sokoban_levels.py``) in a fraction of the
            time, for the best of a hundred short searches is no worse than one long search.
        depth: Steps that it goes back at most.
        topologies: Rooms for each level.
        placements: Placements in each room.
        attempts: How often all of this is tried anew where every score is 0.

    Raises:
        ValueError: If an argument makes no sense, among them a size that cannot hold the boxes.
    """

    size: int | tuple[int, int] = 10
    boxes: int = 4
    seed: int = 0
    states: int = 3_000
    depth: int = 300
    topologies: int = 10
    placements: int = 10
    attempts: int = 20

    def __post_init__(self) -> None:
        check_whole("boxes", self.boxes)
        check_whole("seed", self.seed, 0)
        for name in ("states", "depth", "topologies", "placements", "attempts"):
            check_whole(name, getattr(self, name))
        height, width = self.shape
        cells = (height - 2) * (width - 2)
        if cells < 2 * self.boxes + 1:
            raise ValueError(
                f"size={self.size!r} cannot hold boxes={self.boxes}: {cells} cells lie within the walls; the boxes, "
                f"their targets and the player need {2 * self.boxes + 1}"
            )
        object.__setattr__(self, "_choose", binomials(cells, self.boxes))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        sides = self.size if isinstance(self.size, (tuple, list)) else (self.size, self.size)
        if len(sides) != 2 or not all(is_whole(side) and 3 <= side <= _LARGEST_SIDE for side in sides):
            raise ValueError(f"size={self.size!r} must be one or two whole numbers from 3 to {_LARGEST_SIDE}")
        return int(sides[0]), int(sides[1])

    @property
    def settings(self) -> dict[str, Any]:
        """All arguments, in JSON types: whoever passes them again gets the same levels."""
        return {**asdict(self), "size": list(self.shape)}

    def level(self, number: int) -> Level:
        """The level with a number, at least 0.

        Its plan is the shortest one. In rooms so large that this cannot be told from 3,000,000 states it is the
        backward play read forwards, which may wander.

        Raises:
            GenerationError: If no attempt makes a level with a score above 0.
        """
        level, played = self.played(number)
        try:
            return Level(level.rows, shortest_plan(level, states=_STATES_TO_SOLVE))
        except LevelError:
            return Level(level.rows, played)

    def levels(self, count: int, *, threads: int = 1) -> Iterator[Level]:
        """The levels from 0 to ``count`` − 1, in order, made on several threads.

        Raises:
            ValueError: If ``threads`` is no number of threads.
            GenerationError: As :meth:`level`.
        """
        check_whole("threads", threads)
        if threads == 1:
            yield from map(self.level, range(count))
            return
        pool = ThreadPoolExecutor(threads)
        try:
            yield from pool.map(self.level, range(count))
        finally:  # after an error, or when nobody wants the rest
            pool.shutdown(cancel_futures=True)

    def played(self, number: int) -> tuple[Level, tuple[int, ...]]:
        """The level with a number, without a plan, and the actions by which the backward play proves that it is one."""
        random = np.random.SeedSequence(int(self.seed), spawn_key=(int(number),)).generate_state(1, np.uint64)[0]
        grid, path, score, _ = make(
            random,
            *self.shape,
            self.boxes,
            self.states,
            self.depth,
            self.topologies,
            self.placements,
            self.attempts,
            self._choose,  # type: ignore[attr-defined]
        )
        if score == 0:
            height, width = self.shape
            raise GenerationError(
                f"no level of {height} × {width} cells with {self.boxes} boxes came out of {self.attempts} attempts "
                f"with {self.topologies} rooms and {self.placements} placements in each; larger boards, fewer boxes, "
                "or more states and depth make it likelier"
            )
        level = Level.from_grid(grid)
        # What was reached by going one way is left by going the other: up (0) and down (1), left (2) and right (3).
        return level, _until_solved(level, ((path[::-1] ^ 1) + 1).tolist())


def _until_solved(level: Level, plan: list[int]) -> tuple[int, ...]:
    """The plan up to the step that solves the level; backward play may come back to where all boxes are home."""
    rows, width = "".join(level.rows), level.shape[1]
    boxes = {cell for cell, symbol in enumerate(rows) if symbol in "$*"}
    targets = {cell for cell, symbol in enumerate(rows) if symbol in ".*+"}
    player = max(rows.find("@"), rows.find("+"))
    for step, action in enumerate(plan, start=1):
        ahead = (-width, width, -1, 1)[action - 1]
        player += ahead
        if player in boxes:
            boxes.remove(player)
            boxes.add(player + ahead)
            if boxes == targets:
                return tuple(plan[:step])
    return tuple(plan)
