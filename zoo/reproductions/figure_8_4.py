"""Figure 8.4: the blocking maze (Sutton & Barto, section 8.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.reproductions.figure import claim, lead
from zoo.reproductions.moving_walls import reproduction

__all__ = ["FIGURE"]

_BOOK = {("Dyna-Q", 1_000): 45.0, ("Dyna-Q+", 1_000): 77.0, ("Dyna-Q", 3_000): 97.0, ("Dyna-Q+", 3_000): 151.0}


def _claims(earned: Mapping[str, NDArray[np.float32]]) -> list[dict[str, Any]]:
    early, late = (lead(earned["Dyna-Q+"][:, step - 1], earned["Dyna-Q"][:, step - 1]) for step in (1_000, 3_000))
    gained = earned["Dyna-Q+"][:, -1] - earned["Dyna-Q+"][:, 999]
    return [
        claim("Dyna-Q+ is faster before the wall moves", early.clear, f"ahead by {early} at step 1,000"),
        claim("Dyna-Q+ finds the way around the new wall sooner", late.clear, f"ahead by {late} at step 3,000"),
        claim(
            "Dyna-Q+ finds it in every run",
            gained.min() > 0,
            f"at least {gained.min():.0f} rewards after the wall has moved",
        ),
    ]


FIGURE = reproduction(
    "figure-8.4", "Dyna-Q and Dyna-Q+ in the blocking maze", "blocking", 3_000, 1_000, _BOOK, _claims, 300
)
