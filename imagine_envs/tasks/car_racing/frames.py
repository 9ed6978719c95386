"""Episodes of CarRacing as loops over rows: how they begin, and what a step does."""

from __future__ import annotations

from typing import Any

import numpy as np

from imagine_envs.tasks.car_racing.compiled import inner, kernel
from imagine_envs.tasks.car_racing.contact import feel_tiles
from imagine_envs.tasks.car_racing.motion import X, Y, drive, put
from imagine_envs.tasks.car_racing.track import PLAYFIELD, new_track

__all__ = ["FRAMES", "FRAME_COST", "TILES", "VISITS", "begin", "step"]

TILES, VISITS, FRAMES = range(3)
"""Columns of the progress: tiles of the track, those visited, frames since the reset."""

FRAME_COST = 0.1
"""What every frame takes from the score."""

_PRIZE = 1_000.0
_LOST = -100.0


@kernel
def begin(
    rows: Any,
    pays_start: bool,
    generator: Any,
    body: Any,
    wheels: Any,
    on_road: Any,
    progress: Any,
    score: Any,
    finished_lap: Any,
    track: Any,
    edges: Any,
    kerbs: Any,
    tiles: Any,
) -> None:
    """Draws tracks for some rows and puts the car on the first tile, at rest; one frame goes by.

    Args:
        rows: int64 ``[R]``.
        pays_start: Whether the tiles under the car are paid, with the first step.
        generator: uint64 ``[B, 4]``.
        body: float64 ``[B, 6]``.
        wheels: float64 ``[B, 4, 10]``.
        on_road: uint8 ``[B, 4]``.
        progress: int64 ``[B, 3]``.
        score: float64 ``[B, 2]``: what was earned, and what of it was paid.
        finished_lap: bool ``[B]``.
        track: float64 ``[B, MOST_TILES, 4]``.
        edges: float32 ``[B, MOST_TILES, 4]``.
        kerbs: int8 ``[B, MOST_TILES]``.
        tiles: uint8 ``[B, MOST_TILES]``.
    """
    for index in range(len(rows)):
        row = rows[index]
        progress[row, TILES] = new_track(row, generator, track, edges, kerbs)
        progress[row, VISITS] = progress[row, FRAMES] = 0
        on_road[row] = 0
        tiles[row] = 0
        put(body[row], wheels[row], track[row, 0, 2], track[row, 0, 3], track[row, 0, 1])
        score[row] = 0
        finished_lap[row] = False
        earned = _feel(row, body, wheels, on_road, progress, track, edges, tiles)
        drive(body[row], wheels[row], on_road[row], 0.0, 0.0, 0.0)
        progress[row, FRAMES] = 1
        score[row, 0] = earned
        score[row, 1] = 0.0 if pays_start else earned


@inner
def _feel(row: int, body: Any, wheels: Any, on_road: Any, progress: Any, track: Any, edges: Any, tiles: Any) -> float:
    """Notes what the car is on, and returns what its new tiles are worth."""
    count = progress[row, TILES]
    visits = feel_tiles(body[row], wheels[row], count, track[row], edges[row], tiles[row], on_road[row])
    progress[row, VISITS] += visits
    return visits * _PRIZE / count


@kernel
def step(
    controls: Any,
    frames: int,
    lap: float,
    body: Any,
    wheels: Any,
    on_road: Any,
    progress: Any,
    score: Any,
    finished_lap: Any,
    track: Any,
    edges: Any,
    tiles: Any,
    reward: Any,
    terminated: Any,
) -> None:
    """Drives every row for some frames, until its episode terminates.

    Within a frame the tyres push as they did stand (what they stood on was felt in the frame before), then the tiles
    are felt, then the car moves: Box2D's order.

    Args:
        controls: float64 ``[B, 3]``: steering (right is positive), gas, brake.
        frames: How many.
        lap: The lap is finished when the first tile is touched and more than this part of the tiles was visited; with
            1 when all tiles were visited.
        body: As in :func:`begin`, like all others.
        wheels: As there.
        on_road: As there.
        progress: As there.
        score: As there.
        finished_lap: As there.
        track: As there.
        edges: As there.
        tiles: As there.
        reward: float64 ``[B]``, to be written.
        terminated: bool ``[B]``, to be written.
    """
    was_on = np.empty(4, np.uint8)
    for row in range(len(controls)):
        reward[row], terminated[row] = 0.0, False
        for _ in range(frames):
            for wheel in range(4):
                was_on[wheel] = on_road[row, wheel]
            earned = _feel(row, body, wheels, on_road, progress, track, edges, tiles)
            drive(body[row], wheels[row], was_on, -controls[row, 0], controls[row, 1], controls[row, 2])
            progress[row, FRAMES] += 1
            score[row, 0] += earned - FRAME_COST
            pays = score[row, 0] - score[row, 1]
            score[row, 1] = score[row, 0]
            count, visits = progress[row, TILES], progress[row, VISITS]
            on_line = (on_road[row, 0] | on_road[row, 1] | on_road[row, 2] | on_road[row, 3]) & 2
            if visits == count or (on_line and visits > lap * count):
                terminated[row], finished_lap[row] = True, True
            if abs(body[row, X]) > PLAYFIELD or abs(body[row, Y]) > PLAYFIELD:
                terminated[row], finished_lap[row] = True, False
                pays = _LOST
            reward[row] += pays
            if terminated[row]:
                break
