"""Sokoban's rules once more, as plainly as they can be said: what the kernel is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field

WAYS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
ACTIONS = ["noop", *(f"{kind} {way}" for kind in ("push", "move", "pull") for way in WAYS)]


@dataclass
class PlainSokoban:
    """One game from the rows of a level."""

    rows: tuple[str, ...]
    walls: set[tuple[int, int]] = field(default_factory=set)
    targets: set[tuple[int, int]] = field(default_factory=set)
    boxes: set[tuple[int, int]] = field(default_factory=set)
    player: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        for y, row in enumerate(self.rows):
            for x, symbol in enumerate(row):
                if symbol == "#":
                    self.walls.add((y, x))
                if symbol in ".*+":
                    self.targets.add((y, x))
                if symbol in "$*":
                    self.boxes.add((y, x))
                if symbol in "@+":
                    self.player = (y, x)

    def step(self, action: int) -> tuple[float, bool]:
        before = len(self.boxes & self.targets)
        if action:
            kind, way = ACTIONS[action].split()
            dy, dx = WAYS[way]
            y, x = self.player
            ahead, beyond, behind = (y + dy, x + dx), (y + 2 * dy, x + 2 * dx), (y - dy, x - dx)
            if kind == "push" and ahead in self.boxes and beyond not in self.walls | self.boxes:
                self.boxes.remove(ahead)
                self.boxes.add(beyond)
                self.player = ahead
            elif ahead not in self.walls | self.boxes:
                if kind == "pull" and behind in self.boxes:
                    self.boxes.remove(behind)
                    self.boxes.add(self.player)
                self.player = ahead
        gained = len(self.boxes & self.targets) - before
        solved = self.boxes == self.targets
        return -0.1 + gained + (10.0 if solved else 0.0), solved

    def show(self) -> tuple[str, ...]:
        def symbol(cell: tuple[int, int]) -> str:
            if cell in self.walls:
                return "#"
            if cell == self.player:
                return "+" if cell in self.targets else "@"
            if cell in self.boxes:
                return "*" if cell in self.targets else "$"
            return "." if cell in self.targets else " "

        return tuple("".join(symbol((y, x)) for x in range(len(row))) for y, row in enumerate(self.rows))
