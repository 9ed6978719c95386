"""How long branches are: a schedule over real steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from imagine_envs.whole_numbers import is_whole

__all__ = ["Horizon", "checked_horizon", "horizon_at"]

Horizon = tuple[float, float, int, int]
"""(start, end, from, to): ``from`` steps until ``start``, then linearly up (or down) to ``to`` steps at ``end``."""


def checked_horizon(horizon: int | Sequence[float]) -> Horizon:
    """A horizon as a schedule.

    Args:
        horizon: Steps of a branch; or ``(start, end, from, to)``, where ``start`` and ``end`` are whole real steps, or
            fractions of all of them.

    Raises:
        ValueError: If it makes no sense.
    """
    meant = "a whole number of at least 1, or (start, end, from, to) was expected"
    if is_whole(horizon) and horizon >= 1:  # type: ignore[operator]
        return 0, 0, int(horizon), int(horizon)  # type: ignore[arg-type]
    if isinstance(horizon, str) or not isinstance(horizon, Sequence) or len(horizon) != 4:
        raise ValueError(f"horizon={horizon!r}: {meant}")
    start, end, first, last = horizon
    if not (is_whole(first) and is_whole(last) and min(first, last) >= 1):
        raise ValueError(
            f"horizon={horizon!r} goes from {first!r} to {last!r} steps; whole numbers of at least 1 were expected"
        )
    if not (_is_number(start) and _is_number(end) and 0 <= start <= end):
        raise ValueError(f"horizon={horizon!r} lasts from {start!r} to {end!r}; 0 ≤ start ≤ end was expected")
    if not _is_fractional(start, end) and not (float(start).is_integer() and float(end).is_integer()):
        raise ValueError(
            f"horizon={horizon!r} lasts from {start!r} to {end!r}; whole real steps, or two fractions in [0, 1], were "
            "expected"
        )
    return start, end, int(first), int(last)


def horizon_at(schedule: Horizon, num_timesteps: int, total_timesteps: int) -> int:
    """Steps of a branch after so many real steps.

    Source: Janner et al., "When to trust your model" (MBPO, 2019), appendix C: ⌊min(max(x + (t − a) / (b − a) ·
    (y − x), x), y)⌋.

    Args:
        schedule: What :func:`checked_horizon` gave.
        num_timesteps: Real steps taken.
        total_timesteps: Real steps of the whole training.
    """
    start, end, first, last = schedule
    if _is_fractional(start, end):
        start, end = (round(part * total_timesteps) for part in (start, end))
    start, end = int(start), int(end)
    if num_timesteps <= start:
        return first
    if num_timesteps >= end:
        return last
    return first + (last - first) * (num_timesteps - start) // (end - start)  # in integers: exact at whole steps


def _is_fractional(start: float, end: float) -> bool:
    return end <= 1 and not (is_whole(start) and is_whole(end))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
