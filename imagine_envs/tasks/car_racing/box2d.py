"""gymnasium's own CarRacing-v3, on Box2D, with the options and pictures of the native one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pygame
from gymnasium.envs.box2d.car_racing import STATE_H, STATE_W
from gymnasium.envs.box2d.car_racing import CarRacing as BaseCarRacing
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from imagine_envs.checked_actions import checked_actions
from imagine_envs.tasks.car_racing.frames import FRAME_COST
from imagine_envs.tasks.car_racing.options import Options, luma, space_of_actions, space_of_pictures

__all__ = ["Box2DCarRacing"]

_OWN_SIZE = (STATE_W, STATE_H)


class Box2DCarRacing(BaseCarRacing):
    """CarRacing-v3: its tracks, its physics, its drawing.

    Frames that nobody looks at are not drawn, for drawing is nearly all of the work.

    Args:
        render_mode: One of CarRacing-v3's: "rgb_array", "human", "state_pixels" (what is observed), or None.
        render_size: Taken for the sake of the native one; this one draws 600 × 400 pixels, its window 1,000 × 800.
        draws: Whether observations are drawn; else they are black, and 80 times as many frames a second are played.
        threads: Taken for the sake of the native one.
        **options: Those of :class:`~imagine_envs.tasks.car_racing.CarRacing`.

    Raises:
        ValueError: If an argument makes no sense.

    Attributes:
        draws: As above; it may be changed between steps.
        max_steps: Steps after which an episode is truncated.
    """

    def __init__(
        self,
        *,
        render_mode: str | None = None,
        render_size: int = 512,
        draws: bool = True,
        threads: int | None = None,
        **options: Any,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            known = ", ".join(map(repr, self.metadata["render_modes"]))
            raise ValueError(f"render_mode={render_mode!r} must be one of {known}, or None")
        self.options = Options(**options)
        super().__init__(render_mode=render_mode, continuous=self.options.continuous)
        EzPickle.__init__(self, render_mode=render_mode, draws=draws, **options)
        self.max_steps = self.options.steps
        self.action_space = space_of_actions(self.options)
        self.observation_space = space_of_pictures(self.options)
        self.draws = draws
        self._elapsed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begins a new episode.

        Raises:
            ValueError: If options are given, of which there are none.
        """
        for key in options or {}:
            raise ValueError(f"reset() got the option {key!r}; CarRacing knows none")
        super().reset(seed=seed)
        self._elapsed = 0
        if not self.options.pay_start:
            self.prev_reward = self.reward
        return self._picture(), self._info(False)

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Takes some frames."""
        if action is None:  # by CarRacing.reset, for the frame that it takes
            result: Any = super().step(action)  # type: ignore[arg-type]
            return result
        if self.car is None:
            raise RuntimeError("call reset() first")
        action = checked_actions(np.asarray(action)[None], self.action_space, 1)[0]
        total, terminated, finished = 0.0, False, False
        for _ in range(self.options.frame_skip):
            _, reward, terminated, _, info = super().step(action)
            finished = bool(info.get("lap_finished", False))
            if not terminated and self._is_lap():
                terminated = finished = True
            total += float(reward)
            if terminated:
                break
        self._elapsed += 1
        truncated = self.max_steps is not None and self._elapsed >= self.max_steps and not terminated
        self.reward += FRAME_COST  # CarRacing draws before it takes the price of the frame
        picture = self._picture()
        self.reward -= FRAME_COST
        return picture, total, terminated, truncated, self._info(finished)

    def _is_lap(self) -> bool:
        """Whether a wheel is on the first tile after enough others."""
        assert self.car is not None
        enough = self.tile_visited_count > self.options.lap * len(self.track)
        return enough and any(tile.idx == 0 for wheel in self.car.wheels for tile in wheel.tiles)

    def _info(self, finished: bool) -> dict[str, Any]:
        assert self.car is not None
        (x, y), heading = self.car.hull.position, self.car.hull.angle
        return {"pose": np.array([x, y, heading]), "lap_finished": finished}

    # --- drawing ----------------------------------------------------------------------------------------------------

    def render(self) -> NDArray[np.uint8] | None:
        """A picture of 600 × 400 pixels, uint8 ``[H, W, 3]``; None in a window or without a render mode.

        Raises:
            RuntimeError: If there is no display to open a window on.
        """
        if self.render_mode is None:
            return None
        if self.car is None:
            raise RuntimeError("call reset() first")
        if self.render_mode == "state_pixels":
            return self._picture()
        try:
            picture: NDArray[np.uint8] | None = self._render(self.render_mode)
        except pygame.error as error:
            raise RuntimeError(
                f"there is no display to open a window on ({error}); use render_mode='rgb_array', which needs none"
            ) from None
        return picture if self.render_mode == "rgb_array" else None

    def _picture(self) -> NDArray[np.uint8]:
        """What an observation shows."""
        if not self.draws:
            return np.zeros(self.observation_space.shape or (), np.uint8)
        picture = np.ascontiguousarray(self._drawn("state_pixels"))
        return luma(picture) if self.options.grayscale else picture

    def _render(self, mode: str) -> Any:
        """Draws, but not what ``CarRacing.step`` asks for in every frame: that is for :meth:`_picture`."""
        return None if mode == "state_pixels" else self._drawn(mode)

    def _drawn(self, mode: str) -> Any:
        seconds = self.t
        if not self.options.zoom_in:
            self.t = max(seconds, 1.0)
        try:
            return super()._render(mode)
        finally:
            self.t = seconds

    def _create_image_array(self, screen: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The screen, reduced by area; observations have our size."""
        side = self.options.size
        array: NDArray[np.uint8] = super()._create_image_array(screen, (side, side) if size == _OWN_SIZE else size)
        return array

    def _create_track(self) -> bool:
        """Draws a track, and gives its tiles colours that the car does not change."""
        done: bool = super()._create_track()
        if done and self.options.shades != "fades":
            stays = self.options.shades == "stays"
            self.road_poly = [
                (shape, (np.array(color) if stays else self.road_color) if isinstance(color, np.ndarray) else color)
                for shape, color in self.road_poly
            ]
        return done
