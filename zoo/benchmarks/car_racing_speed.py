"""How fast CarRacing is: steps a second with pictures, natively, on Box2D, and of envpool's, taking turns.

    python -m zoo.benchmarks.car_racing_speed             # some minutes
    python -m zoo.benchmarks.car_racing_speed --quick
    python -m zoo.benchmarks.car_racing_speed --report    # only the table of what was measured before

For what is measured natively see ``picture_speed``. Box2D plays one environment, for Gymnasium's vector environments
play one after the other, or in processes, which share the cores. envpool is C++, Box2D in threads.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from zoo.benchmarks.env_speed import Steps, batch, single
from zoo.benchmarks.picture_speed import ROWS, PictureSpeed

__all__ = ["SPEED"]

ID = "Imagine/CarRacing-v0"
THREADS = {"one thread": 1, "2 threads": 2}


def _contestants() -> dict[str, Steps]:
    found = {
        f"native, {ROWS} at {size}x{size}, {named}": batch(ID, ROWS, size=size, threads=threads)
        for named, threads in THREADS.items()
        for size in (64, 96)
    }
    found["native, one at 64x64"] = single(ID, size=64)
    with contextlib.suppress(ImportError):
        for size in (64, 96):
            found[f"Box2D, one at {size}x{size}"] = single(ID, backend="box2d", size=size)
    return found


SPEED = PictureSpeed(
    title="CarRacing",
    env_id=ID,
    target=40_000,
    contestants=_contestants,
    peers={
        "envpool": (
            "envpool_car_racing",
            {
                f"envpool, {ROWS} at 96x96, {named}": {"num_envs": ROWS, "threads": threads}
                for named, threads in THREADS.items()
            },
        )
    },
    results=Path(__file__).parent / "results" / "car_racing_speed.json",
    description=__doc__,
)

if __name__ == "__main__":
    SPEED.main()
