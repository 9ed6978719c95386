"""Arguments that must be whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["check_whole", "is_whole"]


def is_whole(value: Any) -> bool:
    """Whether a number is an integer, of Python or NumPy."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_whole(name: str, value: Any, least: int = 1, *, or_none: bool = False) -> None:
    """Checks an argument.

    Args:
        name: How the user knows it.
        value: What was given.
        least: The smallest that makes sense.
        or_none: Whether None makes sense too.

    Raises:
        ValueError: If it is something else.

    Example:
        >>> check_whole("horizon", 15)
    """
    if not ((or_none and value is None) or (is_whole(value) and value >= least)):
        meant = f"whole number of at least {least}" + (", or None" if or_none else "")
        hint = f" (write {int(value)})" if isinstance(value, float) and value.is_integer() and value >= least else ""
        raise ValueError(f"{name}={value!r} must be a {meant}{hint}")
