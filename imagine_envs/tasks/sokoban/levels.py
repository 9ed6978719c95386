"""Sokoban levels as text: what a level is, and how files of them are read and written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagine_envs.storage import atomic_file

__all__ = ["BOX", "PLAYER", "SYMBOLS", "TARGET", "WALL", "Level", "LevelError", "read_levels", "write_levels"]

WALL, TARGET, BOX, PLAYER = 1, 2, 4, 8
"""The bits of a cell; 0 is floor."""

SYMBOLS = {"#": WALL, " ": 0, "$": BOX, ".": TARGET, "*": BOX | TARGET, "@": PLAYER, "+": PLAYER | TARGET}
"""Symbol → bits of the cell. These are the symbols of XSB, the common text format, and of Boxoban."""

_SYMBOL_OF = {bits: symbol for symbol, bits in SYMBOLS.items()}


class LevelError(ValueError):
    """A level that cannot be played or a file that holds none; the message says where (file, level, line) and why."""


@dataclass(frozen=True)
class Level:
    """One level, checked: whoever holds a ``Level`` can play it.

    Args:
        rows: Its rows as strings of equal length, of the symbols ``#`` wall, space floor, ``.`` target, ``$`` box,
            ``*`` box on a target, ``@`` player, ``+`` player on a target. One string with line breaks will do.
        plan: Actions (1 up, 2 down, 3 left, 4 right) that solve it, or None where none is known.

    Raises:
        LevelError: For wrong symbols, ragged rows, no player or two, boxes and targets that are not equally many, no
            boxes at all, none that is off its target, or a player that can walk out of the board. The message names
            the row, counted from 1.

    Example:
        >>> level = Level('''
        ... #####
        ... #@$.#
        ... #####
        ... ''', plan=(4,))
        >>> level.rows
        ('#####', '#@$.#', '#####')
    """

    rows: tuple[str, ...]
    plan: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        rows = self.rows.strip("\r\n").splitlines() if isinstance(self.rows, str) else self.rows
        object.__setattr__(self, "rows", tuple(rows))
        fault = _fault(self.rows)
        if fault is not None:
            row, text = fault
            raise LevelError(text if row is None else f"row {row + 1}: {text}")
        if self.plan is not None:
            object.__setattr__(self, "plan", tuple(int(action) for action in self.plan))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, walls around included."""
        return len(self.rows), len(self.rows[0])

    @property
    def boxes(self) -> int:
        """How many boxes there are, and targets."""
        return sum(row.count("$") + row.count("*") for row in self.rows)

    @property
    def grid(self) -> np.ndarray:
        """Its cells as bits (``WALL``, ``TARGET``, ``BOX``, ``PLAYER``), uint8 ``[H, W]``."""
        return np.array([[SYMBOLS[symbol] for symbol in row] for row in self.rows], dtype=np.uint8)

    @classmethod
    def from_grid(cls, grid: np.ndarray, plan: Sequence[int] | None = None) -> Level:
        """The level of which :attr:`grid` is ``grid`` (uint8 ``[H, W]``)."""
        rows = tuple("".join(_SYMBOL_OF[cell] for cell in row) for row in grid.tolist())
        return cls(rows, None if plan is None else tuple(plan))

    def __str__(self) -> str:
        return "\n".join(self.rows)


def read_levels(path: str | Path) -> list[Level]:
    """Reads the levels of a text file, or of all ``*.txt`` files in a folder and the folders in it, in order of name.

    The format is Boxoban's (Guez et al. 2018, github.com/google-deepmind/boxoban-levels): rows of symbols, with empty
    lines or lines that begin with ``;`` between the levels.

    Args:
        path: The file or folder.

    Returns:
        The levels; their ``plan`` is None.

    Raises:
        LevelError: If there is nothing to read, or a level makes no sense. The message names the file, the level
            (counted from 0, as Boxoban does) and the line (counted from 1).

    Example:
        >>> len(read_levels("boxoban-levels/unfiltered/train/000.txt"))
        1000
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.txt") if file.is_file())
        if not files:
            raise LevelError(f"{path} holds no levels: files *.txt in the format of Boxoban were expected")
    elif path.is_file():
        files = [path]
    else:
        raise LevelError(f"{path} is missing; a file of levels, or a folder of such files, was expected")
    return [level for file in files for level in _read_file(file)]


def write_levels(path: str | Path, levels: Iterable[Level]) -> None:
    """Writes levels as one text file in the format of Boxoban, which has no place for plans.

    What :func:`read_levels` read from a file of Boxoban is written as the same bytes.
    """
    text = "".join(f"; {number}\n{level}\n\n" for number, level in enumerate(levels))
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _read_file(file: Path) -> list[Level]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise LevelError(f"{file} is no text file of levels: {error}") from error
    levels: list[Level] = []
    for first, rows in _blocks(lines):
        fault = _fault(rows)
        if fault is not None:
            row, text = fault
            raise LevelError(f"{file}, level {len(levels)}, line {first + (row or 0)}: {text}")
        levels.append(Level(rows))
    if not levels:
        raise LevelError(f"{file} holds no levels: rows of the symbols {''.join(SYMBOLS)!r} were expected")
    return levels


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The runs of rows, each with the number of its first line, counted from 1."""
    rows: list[str] = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip() and not line.startswith(";"):
            rows.append(line)
        elif rows:
            yield number - len(rows), tuple(rows)
            rows = []


def _fault(rows: tuple[str, ...]) -> tuple[int | None, str] | None:
    """What is wrong with a level, and in which row if it is in one; None if nothing is."""
    if not rows:
        return None, "a level has no rows"
    for number, row in enumerate(rows):
        unknown = sorted(set(row) - set(SYMBOLS))
        if unknown:
            return number, f"{unknown[0]!r} is no symbol of a level; each is one of {''.join(SYMBOLS)!r}"
        if len(row) != len(rows[0]):
            return number, f"the row has {len(row)} symbols, the first row {len(rows[0])}; all must be equally long"
    text = "".join(rows)
    players = [number for number, row in enumerate(rows) for symbol in row if symbol in "@+"]
    if not players:
        return None, "there is no player ('@', or '+' on a target)"
    if len(players) > 1:
        return players[1], f"there are {len(players)} players; one was expected"
    boxes, targets = text.count("$") + text.count("*"), text.count(".") + text.count("*") + text.count("+")
    if boxes != targets:
        return None, f"there are {boxes} boxes and {targets} targets; as many of one as of the other were expected"
    if boxes == 0:
        return None, "there are no boxes"
    if "$" not in text:
        return None, "every box is on a target already"
    return _way_out(rows, players[0])


def _way_out(rows: tuple[str, ...], start: int) -> tuple[int, str] | None:
    """Where a player, who might push every box aside, gets to the edge of the board."""
    height, width = len(rows), len(rows[0])
    seen = {(start, max(rows[start].find("@"), rows[start].find("+")))}
    todo = list(seen)
    while todo:
        y, x = todo.pop()
        if y in (0, height - 1) or x in (0, width - 1):
            return y, f"the player can walk out of the board at column {x + 1}; walls must enclose it"
        for cell in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if rows[cell[0]][cell[1]] != "#" and cell not in seen:
                seen.add(cell)
                todo.append(cell)
    return None
