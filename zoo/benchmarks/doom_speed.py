"""How fast Take Cover is: steps a second with pictures, natively, in ViZDoom and in envpool's, taking turns.

    python -m zoo.benchmarks.doom_speed             # some minutes
    python -m zoo.benchmarks.doom_speed --quick
    python -m zoo.benchmarks.doom_speed --report    # only the table of what was measured before

For what is measured natively see ``picture_speed``; a step is one tic, pictures are in colour, and the other three
scenarios are measured too. ViZDoom plays one game: by its own calls, with pictures of 160 × 120 that nobody resizes,
and as its Gymnasium environment, 320 × 240. envpool (ViZDoom in C++ threads) has 64 games.
"""

from __future__ import annotations

from pathlib import Path

from zoo.benchmarks.env_speed import Steps, batch
from zoo.benchmarks.picture_speed import OURS, ROWS, PictureSpeed

__all__ = ["SPEED"]

ID = "Imagine/DoomTakeCover-v0"
OTHERS = ("Imagine/DoomBasic-v0", "Imagine/DoomHealthGathering-v0", "Imagine/DoomMyWayHome-v0")


def _contestants() -> dict[str, Steps]:
    return {
        f"native, {ROWS} at 64x64, one thread": batch(ID, ROWS, threads=1),
        OURS: batch(ID, ROWS, threads=2),
        **{f"{env_id}, {OURS}": batch(env_id, ROWS, threads=2) for env_id in OTHERS},
    }


SPEED = PictureSpeed(
    title="Take Cover",
    env_id=ID,
    target=50_000,
    contestants=_contestants,
    peers={
        "vizdoom": (
            "vizdoom_steps",
            {
                "ViZDoom's own calls, one at 160x120": {"interface": "raw"},
                "ViZDoom's Gymnasium environment, one at 320x240": {"interface": "gymnasium"},
            },
        ),
        "envpool": (
            "envpool_doom",
            {f"envpool, {ROWS} at 64x64, 2 threads": {"num_envs": ROWS, "threads": 2}},
        ),
    },
    results=Path(__file__).parent / "results" / "doom_speed.json",
    description=__doc__,
)

if __name__ == "__main__":
    SPEED.main()
