"""Many levels of one size as one compact file of plain arrays, and the files that come with the package."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_envs.storage import StorageError, atomic_file
from imagine_envs.tasks.sokoban.levels import BOX, PLAYER, TARGET, WALL, Level

__all__ = ["LevelPool", "shipped_pool", "shipped_pools"]

_FORMAT = 1
_SHIPPED = Path(__file__).parent / "pools"


@dataclass(frozen=True)
class LevelPool:
    """Levels with as many cells and boxes each, and their plans, as arrays.

    On disk it is a NumPy ``.npz`` without pickle: walls as bits, boxes, targets and players as positions, plans with
    four actions in a byte.

    Attributes:
        grids: Bits of the cells, uint8 ``[N, H, W]``.
        lengths: Actions of each plan, int64 ``[N]``.
        actions: All plans, one after the other, uint8.
        made: How the levels were made, in JSON types: whoever repeats it gets the same bits.
    """

    grids: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    actions: NDArray[np.uint8]
    made: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, levels: Sequence[Level], made: Mapping[str, Any] | None = None) -> LevelPool:
        """A pool of these levels.

        Raises:
            ValueError: If there are none, they differ in size or in the number of boxes, or one has no plan.
        """
        if not levels:
            raise ValueError("a pool needs at least one level")
        for number, level in enumerate(levels):
            if (level.shape, level.boxes) != (levels[0].shape, levels[0].boxes):
                raise ValueError(
                    f"level {number} is {_said(level.shape, level.boxes)}, level 0 "
                    f"{_said(levels[0].shape, levels[0].boxes)}; the levels of a pool are alike in both"
                )
            if level.plan is None:
                raise ValueError(f"level {number} has no plan; a pool holds levels that are known to be solvable")
        plans = [np.array(level.plan, dtype=np.uint8) for level in levels]
        return cls(
            np.stack([level.grid for level in levels]),
            np.array([len(plan) for plan in plans], dtype=np.int64),
            np.concatenate(plans),
            dict(made or {}),
        )

    def __len__(self) -> int:
        return len(self.grids)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of each level."""
        return self.grids.shape[1], self.grids.shape[2]

    @property
    def boxes(self) -> int:
        """Boxes in each level."""
        return int(np.count_nonzero(self.grids[0] & BOX))

    def level(self, number: int) -> Level:
        """One of the levels, with its plan."""
        end = int(self.lengths[: number + 1].sum())
        return Level.from_grid(self.grids[number], self.actions[end - int(self.lengths[number]) : end].tolist())

    def save(self, path: str | Path) -> None:
        """Writes the pool; equal pools are written as equal bytes."""
        flat = self.grids.reshape(len(self), -1)
        quarters = np.zeros(-(-len(self.actions) // 4) * 4, dtype=np.uint8)
        quarters[: len(self.actions)] = self.actions - 1
        with atomic_file(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(
                file,
                format=np.int64(_FORMAT),
                shape=np.array(self.shape, dtype=np.int64),
                walls=np.packbits(flat & WALL, axis=1),
                boxes=_positions(flat & BOX),
                targets=_positions(flat & TARGET),
                players=_positions(flat & PLAYER),
                lengths=self.lengths.astype(np.uint16),
                plans=quarters[0::4] | quarters[1::4] << 2 | quarters[2::4] << 4 | quarters[3::4] << 6,
                made=np.array(json.dumps(dict(self.made), sort_keys=True)),
            )

    @classmethod
    def load(cls, path: str | Path) -> LevelPool:
        """Reads a pool and checks it.

        Raises:
            StorageError: If the file is missing or is not a whole pool.
        """
        path = Path(path)
        if not path.is_file():
            raise StorageError(f"{path} is missing; a pool of levels (.npz) was expected")
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if int(arrays["format"]) != _FORMAT:
                raise StorageError(f"{path} has format {arrays['format']}; this version reads format {_FORMAT}")
            pool = cls(*_unpacked(arrays))
            fault = _fault(pool)
        except (zipfile.BadZipFile, OSError, EOFError, KeyError, IndexError, TypeError, ValueError) as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"{path} is not a whole pool of levels: {error}") from error
        if fault:
            raise StorageError(f"{path} is not a whole pool of levels: {fault}")
        return pool


def shipped_pools() -> dict[tuple[tuple[int, int], int], Path]:
    """(Rows and columns, boxes) → the file of each pool that comes with the package."""
    found = {}
    for file in sorted(_SHIPPED.glob("*.npz")):
        height, width, boxes = (int(number) for number in file.stem.replace("x", "-").split("-"))
        found[(height, width), boxes] = file
    return found


@lru_cache(maxsize=8)
def shipped_pool(shape: tuple[int, int], boxes: int) -> LevelPool:
    """The pool of a size that comes with the package; its levels were made with seed 0.

    Raises:
        ValueError: If there is none of that size.
    """
    files = shipped_pools()
    if (shape, boxes) not in files:
        raise ValueError(
            f"there is no pool of levels of {_said(shape, boxes)}, only of "
            f"{'; '.join(_said(*key) for key in files)}; levels='generate' makes fresh ones of any size"
        )
    return LevelPool.load(files[shape, boxes])


def _said(shape: tuple[int, int], boxes: int) -> str:
    return f"{shape[0]} × {shape[1]} cells with {boxes} box{'es' if boxes > 1 else ''}"


def _positions(flat: NDArray[Any]) -> NDArray[np.uint16]:
    """Where each row is not 0, uint16 ``[N, k]``; every row has k such places."""
    return np.nonzero(flat)[1].reshape(len(flat), -1).astype(np.uint16)


def _unpacked(arrays: Mapping[str, NDArray[Any]]) -> tuple[Any, ...]:
    height, width = arrays["shape"].tolist()
    flat = np.unpackbits(arrays["walls"], axis=1, count=height * width) * np.uint8(WALL)
    rows = np.arange(len(flat))[:, None]
    for name, bit in (("boxes", BOX), ("targets", TARGET), ("players", PLAYER)):
        flat[rows, arrays[name]] |= bit
    lengths = arrays["lengths"].astype(np.int64)
    actions = (arrays["plans"][:, None] >> np.array([0, 2, 4, 6], dtype=np.uint8) & 3).reshape(-1) + 1
    made = json.loads(str(arrays["made"]))
    return flat.reshape(-1, height, width), lengths, actions[: lengths.sum()].astype(np.uint8), made


def _fault(pool: LevelPool) -> str:
    """What keeps the pool from being played, "" if nothing does."""
    grids = pool.grids
    if len(grids) == 0 or pool.lengths.shape != (len(grids),) or pool.lengths.sum() != len(pool.actions):
        return "levels and plans do not belong together"
    edge = np.ones(pool.shape, dtype=bool)
    edge[1:-1, 1:-1] = False
    counts = {bit: np.count_nonzero(grids & bit, axis=(1, 2)) for bit in (BOX, TARGET, PLAYER)}
    if (grids[:, edge] != WALL).any() or (grids & WALL).astype(bool)[grids & (BOX | TARGET | PLAYER) > 0].any():
        return "walls do not enclose the levels"
    if (counts[PLAYER] != 1).any() or (counts[BOX] != counts[TARGET]).any() or (counts[BOX] < 1).any():
        return "a level has not one player, or not as many boxes as targets"
    return ""
