"""Pictures of dreams: the real environment's own renderer, the image itself, or a plotted observation.

Frames are drawn on surfaces in memory and need no display; only :class:`Window` opens one.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from imagine_envs.env_kwargs import task_kwargs
from imagine_envs.registration import registered_task
from imagine_envs.world_models.classic_control import TASKS, Task, task

if TYPE_CHECKING:
    from imagine_envs.tasks import BatchedTask

__all__ = ["FrameRenderer", "Window", "caption"]

_SMALLEST_SIDE = 256
"""Images are enlarged until their longer side has at least as many pixels."""

_TASK_SIZE = 512
_PLOT_SIZE = (480, 320)
_MOST_BARS = 32
_MOST_VALUES = 12
"""Beyond so many bars the values no longer fit beside each other; the scale alone tells them."""

_PAPER, _INK, _QUIET = (255, 255, 255), (40, 44, 52), (120, 126, 136)
_FAINT, _COLUMN = (214, 218, 224), (245, 246, 248)
_POSITIVE, _NEGATIVE, _BROKEN = (66, 133, 190), (214, 110, 62), (190, 30, 45)


class FrameRenderer:
    """Draws observations of one environment.

    - Image observations (uint8, channels first or last, stacks show their newest frame) are shown as they are,
      enlarged by whole factors.
    - For environments whose state can be set (:data:`~imagine_envs.world_models.classic_control.TASKS`) the real
      environment draws the state that belongs to the observation; so does a task of :mod:`imagine_envs.tasks` whose
      observations tell its state.
    - Any other observation is plotted, one bar for each dimension. The scale is that of the space, or one
      that holds all values seen so far where the space has no bounds below 1,000; beyond 32 dimensions a bar is the
      mean of several neighbours.

    Args:
        env_id: The environment's Gymnasium id, None where it has none.
        env_kwargs: Keyword arguments of its constructor.
        observation_space: Its space.

    Example:
        >>> renderer = FrameRenderer("CartPole-v1", {}, env.observation_space)
        >>> renderer.render(np.zeros(4, dtype=np.float32)).shape
        (400, 600, 3)
    """

    def __init__(
        self, env_id: str | None, env_kwargs: Mapping[str, Any] | None, observation_space: spaces.Space[Any]
    ) -> None:
        self._space = observation_space
        self._env_id = env_id
        self._env_kwargs = task_kwargs(env_kwargs or {})
        self._task = _drawable(observation_space, env_id, self._env_kwargs)
        self._array_task = _array_task(observation_space, env_id, self._env_kwargs)
        self._plot = _BarPlot(observation_space)
        self._env: Any = None

    def render(self, observation: Any) -> np.ndarray:
        """One frame.

        Args:
            observation: One observation (no batch dimension), a dict of arrays for a ``Dict`` space.

        Returns:
            uint8 ``[H, W, 3]``, a fresh array.
        """
        if _is_image(self._space):
            return _enlarged(_picture(np.asarray(observation)))
        if self._array_task is not None:
            state = self._array_task.allocate(1)
            self._array_task.reset(state, np.arange(1), {})
            self._array_task.recall(state, np.asarray(observation)[None])
            return self._array_task.render(state, 0, _TASK_SIZE)
        if self._task is not None:
            values = np.asarray(observation, dtype=np.float32)
            # A dream may run into states that no drawing routine was made for; those are plotted.
            if np.isfinite(values).all():
                return self._draw(self._task, values)
        return self._plot.draw(observation)

    def _draw(self, port: Task, observation: np.ndarray) -> np.ndarray:
        import pygame

        assert self._env_id is not None
        assert isinstance(self._space, spaces.Box)
        if self._env is None:
            self._env = gymnasium.make(self._env_id, render_mode="rgb_array", **self._env_kwargs)
            self._env.reset(seed=0)
            # Given a surface, the environment does not start the display subsystem, on which it shows nothing anyway.
            self._env.unwrapped.screen = pygame.Surface(port.canvas)
        inside = np.clip(observation, self._space.low, self._space.high)
        port.set_state(self._env, port.state_of(torch.from_numpy(inside).double()).numpy())
        return np.array(self._env.render(), dtype=np.uint8)

    def close(self) -> None:
        """Lets go of the environment that draws; a later :meth:`render` makes it anew."""
        # Its own close() is not called: it would quit the whole of pygame, everybody's windows included.
        self._env = None

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the live environment, which is made anew when it is needed."""
        return {**self.__dict__, "_env": None}


def _drawable(space: spaces.Space[Any], env_id: str | None, env_kwargs: Mapping[str, Any]) -> Task | None:
    """The task whose environment can draw observations of ``space``, if there is one."""
    if env_id not in TASKS:
        return None
    port = task(env_id, env_kwargs)
    return port if space == gymnasium.make(env_id, **env_kwargs).observation_space else None


def _array_task(space: spaces.Space[Any], env_id: str | None, env_kwargs: Mapping[str, Any]) -> BatchedTask | None:
    """The task that can draw observations of ``space``, if there is one; images are shown as they are."""
    found = None if _is_image(space) else registered_task(env_id, env_kwargs)
    return found if found is not None and found.markov and found.observation_space == space else None


# --- images ---------------------------------------------------------------------------------------------------------


def _is_image(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3, 4)


def _picture(image: np.ndarray) -> np.ndarray:
    """A uint8 image of any layout as ``[H, W, 3]``; the newest frame of a stack."""
    if image.ndim == 4:
        image = image[-1]
    if image.ndim == 2:
        image = image[:, :, None]
    if image.shape[0] < image.shape[2]:
        image = image.transpose(1, 2, 0)
    newest = 3 if image.shape[2] % 3 == 0 else 1
    return np.broadcast_to(image[:, :, -newest:], (*image.shape[:2], 3))


def _enlarged(picture: np.ndarray) -> np.ndarray:
    factor = max(1, math.ceil(_SMALLEST_SIDE / max(picture.shape[:2])))
    return np.ascontiguousarray(picture.repeat(factor, axis=0).repeat(factor, axis=1))


# --- plots ----------------------------------------------------------------------------------------------------------


class _BarPlot:
    """Bars of a flat observation on a scale that does not jump from frame to frame."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        self._space = space
        self._largest: np.ndarray | None = None

    def draw(self, observation: Any) -> np.ndarray:
        import pygame

        labels, values, low, high = _flatten(self._space, observation)
        count, together = len(values), math.ceil(len(values) / _MOST_BARS)
        if together > 1:
            labels, values, low, high = _grouped(together, labels, values, low, high)
        low, high = self._scale(values, low, high)

        pygame.font.init()
        width, height = _PLOT_SIZE
        surface = pygame.Surface(_PLOT_SIZE)
        surface.fill(_PAPER)
        left, right, top, bottom = 10, width - 10, 34, height - 46
        slot = (right - left) / len(values)
        bar_width = max(3, min(56, int(slot * 0.7)))
        roomy = len(values) <= _MOST_VALUES
        every = 1 if roomy else math.ceil(max(map(len, labels)) * 9 / slot)
        for index, (label, value) in enumerate(zip(labels, values, strict=True)):
            center = int(left + slot * (index + 0.5))
            column = pygame.Rect(center - bar_width // 2, top, bar_width, bottom - top)
            pygame.draw.rect(surface, _COLUMN, column)
            zero = _position(0.0, low[index], high[index], top, bottom)
            if np.isfinite(value):
                end = _position(value, low[index], high[index], top, bottom)
                bar = pygame.Rect(column.left, min(zero, end), bar_width, max(1, abs(zero - end)))
                pygame.draw.rect(surface, _POSITIVE if value >= 0 else _NEGATIVE, bar)
            else:
                pygame.draw.rect(surface, _BROKEN, column, width=2)
            pygame.draw.line(surface, _INK, (column.left - 2, zero), (column.right + 1, zero))
            if index % every == 0:
                _write(surface, label, (center, bottom + 6), slot * every - 2, 17, _INK)
            if roomy:
                _write(surface, f"{value:.3g}", (center, top - 20), slot - 4, 19, _INK)
                _write(surface, _bounds(low[index], high[index]), (center, bottom + 24), slot - 4, 15, _QUIET)
        if not roomy:
            shared = (low == low[0]).all() and (high == high[0]).all()
            scale = f"scale {_bounds(low[0], high[0])}" if shared else "each bar on a scale of its own"
            means = f", a bar is the mean of {together}" if together > 1 else ""
            _write(surface, f"{count} values{means}", (width // 2, 10), width - 20, 19, _INK)
            _write(surface, scale, (width // 2, bottom + 26), width - 20, 17, _QUIET)
        pygame.draw.rect(surface, _FAINT, surface.get_rect(), width=1)
        return _array(surface)

    def _scale(self, values: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The space's bounds where they are usable, else a round number that holds all values seen so far, ±."""
        seen = np.abs(np.where(np.isfinite(values), values, 0.0)).clip(max=1e300)
        self._largest = seen if self._largest is None else np.maximum(self._largest, seen)
        reach = np.array([_round_up(value) for value in self._largest])
        usable = (np.abs(low) < 1e3) & (np.abs(high) < 1e3) & (low < high)
        return np.where(usable, low, -reach), np.where(usable, high, reach)


def _round_up(value: float) -> float:
    """The next of …, 0.5, 1, 2, 5, 10, …; 1 for (almost) zero."""
    if value < 1e-9:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0, 100.0) if step * power >= value)


def _flatten(space: spaces.Space[Any], observation: Any) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Labels, values and bounds of an observation of any space, flat; unbounded where the space says nothing."""
    if isinstance(space, spaces.Dict):
        keys = list(space.spaces)
        labels, values, low, high = zip(*(_flatten(space[key], observation[key]) for key in keys), strict=True)
        named = [
            key if len(part) == 1 else f"{key}.{label}"
            for key, part in zip(keys, labels, strict=True)
            for label in part
        ]
        return named, np.concatenate(values), np.concatenate(low), np.concatenate(high)
    flat = np.asarray(observation, dtype=np.float64).reshape(-1)
    lowest, highest = np.full(len(flat), -np.inf), np.full(len(flat), np.inf)
    if isinstance(space, spaces.Box):
        lowest, highest = (bound.astype(np.float64).reshape(-1) for bound in (space.low, space.high))
    elif isinstance(space, spaces.Discrete):
        lowest, highest = np.array([float(space.start)]), np.array([float(space.start + space.n - 1)])
    return [str(index) for index in range(len(flat))], flat, lowest, highest


def _grouped(
    size: int, labels: list[str], values: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Means of ``size`` neighbours (the last group may be smaller). A label is that of a group's first."""
    starts = np.arange(0, len(values), size)
    counts = np.diff(np.append(starts, len(values)))
    mean, low, high = (np.add.reduceat(part, starts) / counts for part in (values, low, high))
    return [labels[start] for start in starts], mean, low, high


def _bounds(low: float, high: float) -> str:
    return f"±{high:.3g}" if low == -high else f"{low:.3g} .. {high:.3g}"


def _position(value: float, low: float, high: float, top: int, bottom: int) -> int:
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return round(bottom - share * (bottom - top))


def _write(surface: Any, text: str, top_center: tuple[int, int], width: float, size: int, color: Any) -> None:
    """Text below a point, in a smaller type where it would be wider than ``width``, cut where it still is."""
    import pygame

    font = pygame.font.Font(None, size)
    while size > 13 and font.size(text)[0] > width:
        size -= 1
        font = pygame.font.Font(None, size)
    rendered = font.render(_fitting(font, text, width, keep_end=True), True, color)
    surface.blit(rendered, rendered.get_rect(midtop=top_center))


def _fitting(font: Any, text: str, width: float, *, keep_end: bool = False) -> str:
    """``text``, or as much of its beginning (or its end) as fits."""
    shown, whole = text, text
    while text and font.size(shown)[0] > width:
        text = text[1:] if keep_end else text[:-1]
        shown = f"..{text}" if keep_end else f"{text}.."
    return shown if text else whole[:1]


def _array(surface: Any) -> np.ndarray:
    import pygame

    return np.ascontiguousarray(pygame.surfarray.array3d(surface).transpose(1, 0, 2))


# --- captions and windows -------------------------------------------------------------------------------------------


def caption(frame: np.ndarray, text: str) -> np.ndarray:
    """The frame with one line of text on a strip of 24 pixels below it: smaller where it is long, cut where too long.

    Args:
        frame: uint8 ``[H, W, 3]``; it is not changed.
        text: Such as ``"dream   step 17   reward 1"``.

    Returns:
        uint8 ``[H + 24, W, 3]``, a fresh array.
    """
    import pygame

    pygame.font.init()
    strip = pygame.Surface((frame.shape[1], 24))
    strip.fill(_INK)
    room = frame.shape[1] - 16
    for height in range(22, 13, -1):
        font = pygame.font.Font(None, height)
        if font.size(text)[0] <= room:
            break
    line = font.render(_fitting(font, text, room), True, _PAPER)
    strip.blit(line, line.get_rect(midleft=(8, 12)))
    return np.concatenate((frame, _array(strip)))


class Window:
    """A window that shows frames: ``render_mode="human"``. There may be several, beside those of other environments.

    Small frames are enlarged by a whole factor, large ones are reduced to fit. When the user closes the window, it
    stays closed and :meth:`show` does nothing more. Whoever shows a window takes all of pygame's events.

    Args:
        title: Text of the title bar.
        fps: Frames a second at most; 0 does not wait.

    Example:
        >>> window = Window("a dream", fps=30)
        >>> while window.show(renderer.render(observation)):
        ...     ...
    """

    _open: ClassVar[weakref.WeakSet[Window]] = weakref.WeakSet()
    """Those on the screen: one queue holds the events of all, and whoever reads it tells the others."""
    _lost: ClassVar[list[Any]] = []
    """pygame's windows that died with its display. They are kept, as to free one may destroy another's window."""

    def __init__(self, title: str = "dream", fps: float = 30) -> None:
        self.title = title
        self.fps = fps
        self._window: Any = None
        self._clock: Any = None
        self._closed_by_user = False
        self._keys: list[str] = []
        self._held: dict[str, None] = {}

    def held(self) -> list[str]:
        """Names of the keys that were down in the window when it was last shown, those pressed first come first."""
        return list(self._held)

    def keys(self) -> list[str]:
        """Names of the keys ("up", "space", "x") that were pressed in the window since the last call, in order."""
        pressed, self._keys = self._keys, []
        return pressed

    def show(self, frame: np.ndarray) -> bool:
        """Shows a frame, uint8 ``[H, W, 3]``, and waits for its time.

        Returns:
            Whether the window is still open.

        Raises:
            RuntimeError: If there is no display to open a window on.
        """
        import pygame

        self._forget_if_lost()
        if self._closed_by_user:
            return False
        size = _pleasant_size(frame.shape[1], frame.shape[0])
        if self._window is None:
            self._appear(size)
        elif self._window.size != size:
            self._window.size = size
        surface = pygame.surfarray.make_surface(frame.transpose(1, 0, 2))
        resize = pygame.transform.scale if size[0] >= frame.shape[1] else pygame.transform.smoothscale
        self._window.get_surface().blit(resize(surface, size), (0, 0))
        self._window.flip()
        self._read_events()
        if self.fps and not self._closed_by_user:
            self._clock.tick(self.fps)
        return not self._closed_by_user

    def _appear(self, size: tuple[int, int]) -> None:
        import pygame

        try:
            pygame.display.init()
            # Without any display SDL falls back to one that nobody can see.
            if pygame.display.get_driver() == "offscreen" and "SDL_VIDEODRIVER" not in os.environ:
                pygame.display.quit()
                raise pygame.error("no video device")
            for other in list(self._open):
                other._forget_if_lost()
            self._read_events()  # what is left of an earlier window is not meant for this one
            self._window = pygame.Window(self.title, size)
        except pygame.error as error:
            raise RuntimeError(
                f"there is no display to open a window on ({error}); use render_mode='rgb_array', which needs none"
            ) from None
        self._open.add(self)
        self._clock = pygame.time.Clock()

    @classmethod
    def _read_events(cls) -> None:
        """Closes the windows that the user has closed, or all of them where he quits, and remembers keys."""
        import pygame

        for event in pygame.event.get():
            for window in list(cls._open):
                here = getattr(event, "window", None) in (None, window._window)
                if event.type == pygame.KEYDOWN and here:
                    window._keys.append(pygame.key.name(event.key))
                    window._held[pygame.key.name(event.key)] = None
                if event.type == pygame.KEYUP and here:
                    window._held.pop(pygame.key.name(event.key), None)
                if event.type == pygame.WINDOWFOCUSLOST and here:
                    window._held.clear()
                if event.type == pygame.QUIT or (
                    event.type == pygame.WINDOWCLOSE and getattr(event, "window", None) is window._window
                ):
                    window.close()
                    window._closed_by_user = True

    def _forget_if_lost(self) -> None:
        """Notices that pygame's display was shut down, which any environment of Gymnasium does when it is closed."""
        import pygame

        if self._window is None:
            return
        try:
            # The id fails for a lost window, unless a new one has taken its place in memory: that has another title.
            lost = self._window.id < 0 or self._window.title != self.title
        except pygame.error:
            lost = True
        if lost:
            self._lost.append(self._window)
            self._open.discard(self)
            self._window = None

    def close(self) -> None:
        """Closes the window; a later :meth:`show` opens it again, unless the user has closed it."""
        self._forget_if_lost()
        if self._window is not None:
            import pygame

            self._open.discard(self)
            self._window.destroy()
            self._window = self._clock = None
            pygame.event.pump()  # on some platforms it disappears only now

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the live window."""
        return {**self.__dict__, "_window": None, "_clock": None}


def _pleasant_size(width: int, height: int) -> tuple[int, int]:
    """At least about 512 pixels on the longer side, by a whole factor, and at most 1,024."""
    longer = max(width, height)
    if longer > 1024:
        return max(1, round(width * 1024 / longer)), max(1, round(height * 1024 / longer))
    factor = max(1, round(512 / longer))
    return width * factor, height * factor
