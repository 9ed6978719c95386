"""CarRacing, after gymnasium's CarRacing-v3, for a batch of cars."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imagine_envs.tasks.car_racing import frames, score, view
from imagine_envs.tasks.car_racing.motion import BODY_COLUMNS
from imagine_envs.tasks.car_racing.options import SHADES, Options, space_of_actions, space_of_pictures
from imagine_envs.tasks.car_racing.pcg64 import seed_generators
from imagine_envs.tasks.car_racing.screen import SCREEN_HEIGHT, SCREEN_WIDTH
from imagine_envs.tasks.car_racing.track import MOST_TILES
from imagine_envs.tasks.car_racing.tyres import WHEEL_COLUMNS
from imagine_envs.tasks.task import BatchedTask, State
from imagine_envs.tasks.threads import each_part, thread_count

__all__ = ["CarRacing", "Track"]

Track = list[tuple[float, float, float, float]]
"""As gymnasium's ``CarRacing.track``: of each tile the angle of its end seen from the centre, the angle of the line
across it, and the middle of that line (x, y)."""

_DISCRETE = np.array([(0, 0, 0), (0.6, 0, 0), (-0.6, 0, 0), (0, 0.2, 0), (0, 0, 0.8)])
_ROWS_A_THREAD = 4
_STEER_STEP, _STEER_BACK, _PEDAL_STEP = 0.08, 0.2, 0.1
"""By how much a frame moves steering and pedals while a key is held, and steering when it is let go."""


class CarRacing(BatchedTask):
    """A race car on a closed track, seen from above: gymnasium's CarRacing-v3 without Box2D.

    Tracks are those of CarRacing-v3 with the same seed, tile by tile. The car moves nearly as there (five bodies pinned
    together, whose joints Box2D relaxes; here they are solved at once), pictures show the same (the mean colours of the
    same screen), rewards are the same: −0.1 a frame, 1,000/N for each of N tiles when a wheel first touches it, −100 in
    place of all that when the car leaves the playfield (|x| or |y| beyond 333⅓ units), which terminates. So does the
    last tile. ``imagine parity car-racing`` measures how near both are.

    Actions: float32 ``[3]``, steering (−1 left to 1 right), gas and brake (0 to 1); with ``continuous=False`` 0
    nothing, 1 right (0.6), 2 left (0.6), 3 gas (0.2), 4 brake (0.8). A frame takes 1/50 s.

    Observations: uint8 ``[size, size, 3]``, or ``[size, size, 1]`` (ITU-R 601 luma of the rounded colours). A pixel is
    the mean colour of the part that it covers of a screen of 1,000 × 800 pixels, whatever the size and the backend: at
    96 that part has 10.42 × 8.33 screen pixels, which is CarRacing-v3's own picture, at 64 it has 15.63 × 12.5. As
    there, the reduction cuts off what is behind the point, twice: grass of (102, 204, 102) is seen as (100, 202, 100).

    Infos: ``pose`` (float64 ``[3]``: x, y in units, heading in radians, 0 along +y, left is positive) and
    ``lap_finished``.

    What CarRacing-v3 does and a user may want otherwise has an option, whose default is what it does.

    Args:
        size: Pixels of a picture's sides: 64 or 96.
        grayscale: Whether pictures have one channel.
        frame_skip: Frames that a step takes with the same action; rewards are added up, and the last one is shown.
        continuous: Whether actions are continuous.
        lap_complete_percent: The part of the tiles (0.5 to 1) of which more must have been visited for the episode to
            end at the first tile. CarRacing-v3 has such an argument too, but it never counts there, as the first tile
            is visited at the start (gymnasium issue 1269): None, as there, ends at the last tile only.
        pay_start: Whether the tiles on which the car starts are paid, with the first step.
        zoom_in: Whether the first second shows the track from far above.
        shades: What becomes of the three shades of grey that tiles have in turn: "fades" where the car was, "stays",
            or "none", a uniform road.
        max_steps: Frames after which an episode is truncated; ``frame_skip`` steps count as many. None for no limit.
        threads: Of the kernels; None takes what ``OMP_NUM_THREADS`` says, or all cores. Results do not depend on it.

    Raises:
        ValueError: If an argument makes no sense.

    Attributes:
        max_steps: Steps after which an episode is truncated.

    Example:
        >>> envs = gym.make_vec("Imagine/CarRacing-v0", num_envs=64, size=64)
        >>> observations, infos = envs.reset(seed=0)
    """

    action_names: ClassVar[tuple[str, ...]] = ("steer", "gas", "brake")
    markov = False
    env_class: ClassVar[str] = "imagine_envs.tasks.car_racing.env:CarRacingEnv"
    backends: ClassVar[Mapping[str, tuple[str, str]]] = {
        "box2d": ("box2d", "imagine_envs.tasks.car_racing.box2d:Box2DCarRacing")
    }

    def __init__(self, *, threads: int | None = None, **options: Any) -> None:
        self.options = Options(**options)
        self.max_steps = self.options.steps
        self.frames_per_second = max(1, round(50 / self.options.frame_skip))
        self.threads = thread_count(threads)
        self.observation_space = space_of_pictures(self.options)
        self.action_space = space_of_actions(self.options)
        if not self.options.continuous:
            self.action_names = ("noop", "right", "left", "gas", "brake")  # type: ignore[misc]
        self._shading = SHADES.index(self.options.shades)
        self._digits = score.digits(self.options.size, self.options.size)

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """The car, its wheels and what they stand on, the score, and the track; see the kernels for the columns."""
        return {
            "generator": ((4,), np.int64),
            "body": ((BODY_COLUMNS,), np.float64),
            "wheels": ((4, WHEEL_COLUMNS), np.float64),
            "on_road": ((4,), np.uint8),
            "progress": ((3,), np.int64),
            "score": ((2,), np.float64),
            "lap_finished": ((), np.bool_),
            "track": ((MOST_TILES, 4), np.float64),
            "edges": ((MOST_TILES, 4), np.float32),
            "kerbs": ((MOST_TILES,), np.int8),
            "tiles": ((MOST_TILES,), np.uint8),
        }

    def seed(self, state: State, rows: NDArray[np.int64], seeds: Sequence[int]) -> None:
        """Each row draws the tracks that CarRacing-v3 draws with its seed."""
        super().seed(state, rows, seeds)
        seed_generators(state["generator"], rows, seeds)

    def reset(self, state: State, rows: NDArray[np.int64], options: Mapping[str, Any]) -> None:
        """A new track, and the car at rest on it."""
        frames.begin(
            rows,
            self.options.pay_start,
            state["generator"].view(np.uint64),
            state["body"],
            state["wheels"],
            state["on_road"],
            state["progress"],
            state["score"],
            state["lap_finished"],
            state["track"],
            state["edges"],
            state["kerbs"],
            state["tiles"],
        )

    def step(
        self, state: State, action: NDArray[Any], reward: NDArray[np.float64], terminated: NDArray[np.bool_]
    ) -> None:
        """Some frames of driving."""
        controls = action.astype(np.float64) if self.options.continuous else _DISCRETE[action]

        def drive(rows: NDArray[np.int64]) -> None:
            part = slice(rows[0], rows[-1] + 1)
            frames.step(
                controls[part],
                self.options.frame_skip,
                self.options.lap,
                state["body"][part],
                state["wheels"][part],
                state["on_road"][part],
                state["progress"][part],
                state["score"][part],
                state["lap_finished"][part],
                state["track"][part],
                state["edges"][part],
                state["tiles"][part],
                reward[part],
                terminated[part],
            )

        each_part(drive, np.arange(len(controls)), self.threads, 4 * _ROWS_A_THREAD)

    def observe(self, state: State, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """The whole picture: every step moves all of it."""

        def draw(part: NDArray[np.int64]) -> None:
            self._draw(state, part, self._digits, score.LOWEST, out)

        each_part(draw, rows, self.threads, _ROWS_A_THREAD)

    def _draw(
        self, state: State, rows: NDArray[np.int64], digits: NDArray[np.uint8], lowest: int, out: NDArray[np.uint8]
    ) -> None:
        height, width = out.shape[1:3]
        view.draw(
            rows,
            height,
            width,
            self.options.zoom_in,
            self._shading,
            digits,
            lowest,
            score.digits_row(height),
            state["body"],
            state["wheels"],
            state["progress"],
            state["score"],
            state["track"],
            state["edges"],
            state["kerbs"],
            state["tiles"],
            out,
        )

    def info(self, state: State) -> dict[str, NDArray[Any]]:
        """``pose`` and ``lap_finished``."""
        return {"pose": state["body"][:, :3], "lap_finished": state["lap_finished"]}

    def reset_info(self, state: State, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """``pose`` and ``lap_finished``."""
        return {key: array[rows] for key, array in self.info(state).items()}

    def render(self, state: State, row: int, size: int) -> NDArray[np.uint8]:
        """The screen, reduced to ``size`` pixels of width."""
        width = max(16, size)
        height = round(width * SCREEN_HEIGHT / SCREEN_WIDTH)
        one = {name: array[row : row + 1] for name, array in state.items()}
        out = np.empty((1, height, width, 3), np.uint8)
        digits = score.written(height, width, float(state["score"][row, 0]))
        self._draw(one, np.arange(1), digits, 0, out)
        return out[0]

    def status(self, state: State, row: int) -> str:
        """How many tiles were visited, and how fast the car is."""
        tiles, visits, _ = state["progress"][row]
        speed = float(np.hypot(*state["body"][row, 3:5]))
        return f"tiles {visits}/{tiles}   speed {speed:.0f}"

    @property
    def keys(self) -> dict[str, int]:
        """The arrows: steering to the left and right, gas, brake."""
        if self.options.continuous:
            return {"left": 0, "right": 0, "up": 1, "down": 2}
        return {"space": 0, "right": 1, "left": 2, "up": 3, "down": 4}

    def action_of(self, held: Collection[str], last: Any) -> Any:
        """Steering and pedals follow the keys within some frames, as hands and feet would."""
        if not self.options.continuous:
            return super().action_of(held, last)
        steer, gas, brake = (0.0, 0.0, 0.0) if last is None else last.tolist()
        frames = self.options.frame_skip
        towards = float("right" in held) - float("left" in held)
        pace = (_STEER_STEP if steer * towards > 0 or steer == 0 else _STEER_BACK) * frames
        steer += min(max(towards - steer, -pace), pace)
        gas = min(gas + _PEDAL_STEP * frames, 1.0) if "up" in held else 0.0
        brake = min(brake + _PEDAL_STEP * frames, 0.8) if "down" in held else 0.0
        return np.array([steer, gas, brake], np.float32)

    def track(self, state: State, row: int = 0) -> Track:
        """The track of a row in gymnasium's form."""
        found = state["track"][row, : state["progress"][row, frames.TILES]]
        return [tuple(tile) for tile in found.tolist()]
