"""What every comparison of two engines yields: numbers, targets, and a picture of both side by side."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import imageio.v3
import numpy as np
from numpy.typing import NDArray

from imagine_envs.dreams.rendering import caption
from imagine_envs.storage import atomic_file, save_json
from zoo.benchmarks.measure import machine

__all__ = ["Check", "Report", "strip"]

_RELATIONS = {"<=": operator.le, ">=": operator.ge}
_GAP = 4


@dataclass(frozen=True)
class Check:
    """One number that is to be small, or large, enough.

    Attributes:
        name: What was measured.
        measured: The number.
        relation: "<=" or ">=".
        target: What it is held against.
        unit: Such as "units" or "%"; empty where it has none.
    """

    name: str
    measured: float
    relation: str
    target: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether the target is reached; a number that is NaN reaches none."""
        return bool(_RELATIONS[self.relation](self.measured, self.target))

    def __str__(self) -> str:
        verdict = "yes" if self.holds else "NO "
        unit = f" {self.unit}" if self.unit else ""
        return f"{verdict}  {self.name}: {self.measured:.4g}{unit} (target {self.relation} {self.target:g}{unit})"


@dataclass(frozen=True)
class Report:
    """What came out of a comparison.

    Attributes:
        name: Of the task, as on the command line.
        checks: The numbers that have targets.
        results: All numbers, in JSON types.
        picture: Both engines side by side, uint8 ``[H, W, 3]``.
    """

    name: str
    checks: Sequence[Check]
    results: dict[str, Any]
    picture: NDArray[np.uint8]

    def save(self, directory: str | Path) -> tuple[Path, Path]:
        """Writes ``<name>.json`` and ``<name>.png``; returns where they are."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        numbers, picture = directory / f"{self.name}.json", directory / f"{self.name}.png"
        checks = [{**asdict(check), "holds": check.holds} for check in self.checks]
        save_json(numbers, {"task": self.name, "checks": checks, **self.results, "machine": machine()})
        with atomic_file(picture) as file:
            imageio.v3.imwrite(file, self.picture, extension=".png")
        return numbers, picture


def strip(rows: Sequence[Sequence[NDArray[np.uint8]]], titles: Sequence[str], height: int = 192) -> NDArray[np.uint8]:
    """Pictures of several engines, one row each, with the title of each row below it.

    Args:
        rows: For each engine its pictures, uint8 ``[H, W, 3]``, as many in every row and all of one size.
        titles: One for each row.
        height: Pixels of a picture's height, about: they are enlarged by a whole factor.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    factor = max(1, round(height / rows[0][0].shape[0]))
    lines = []
    for pictures, title in zip(rows, titles, strict=True):
        large = [picture.repeat(factor, 0).repeat(factor, 1) for picture in pictures]
        gap = np.full((large[0].shape[0], _GAP, 3), 255, np.uint8)
        line = np.concatenate([part for picture in large for part in (picture, gap)][:-1], 1)
        lines.append(caption(line, title))
    return np.concatenate(lines)
