"""Figure 8.5: the shortcut maze (Sutton & Barto, section 8.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.reproductions.figure import claim, lead
from zoo.reproductions.moving_walls import reproduction

__all__ = ["FIGURE"]

_BOOK = {("Dyna-Q", 6_000): 308.0, ("Dyna-Q+", 6_000): 400.0}

_LAST = 1_000
_LONG_WAY = _LAST / 16
"""The most rewards in the last steps without the shortcut, which saves six of sixteen steps."""


def _claims(earned: Mapping[str, NDArray[np.float32]]) -> list[dict[str, Any]]:
    late = lead(earned["Dyna-Q+"][:, -1], earned["Dyna-Q"][:, -1])
    using = {method: (part[:, -1] - part[:, -1 - _LAST] > _LONG_WAY).mean() for method, part in earned.items()}
    return [
        claim("Dyna-Q+ earns more in the end", late.clear, f"ahead by {late} at step 6,000"),
        claim(
            "The Dyna-Q agent does not find the shortcut, the Dyna-Q+ agent does",
            using["Dyna-Q"] < 0.1 and using["Dyna-Q+"] > 0.9,
            f"{using['Dyna-Q']:.0%} of the Dyna-Q runs and {using['Dyna-Q+']:.0%} of the Dyna-Q+ runs earn more in "
            f"their last {_LAST:,} steps than the long way can",
        ),
    ]


FIGURE = reproduction(
    "figure-8.5", "Dyna-Q and Dyna-Q+ in the shortcut maze", "shortcut", 6_000, 3_000, _BOOK, _claims, 300
)
