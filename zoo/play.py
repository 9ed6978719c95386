"""A person plays a task: keys in, pictures out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from imagine_envs.dreams.rendering import Window, caption
from imagine_envs.tasks import State, TaskEnv

__all__ = ["KEYS", "Game", "play"]

KEYS = {"u": "undo", "r": "again from the start", "n": "next episode", "escape": "quit"}
"""Keys that every task has beside its own. Where a task does not wait, to undo is to go back by a second."""


class Game:
    """One task under a person's hands.

    Args:
        env: The task, with ``render_mode="rgb_array"``; wrappers around it are left out.
        seed: Of the first episode; the next ones go on from there.
        level: Number of the level that comes first; None takes any.

    Raises:
        ValueError: If the environment is no task of this suite, or has no level of that number.

    Attributes:
        steps: Taken in this episode.
        total: What they earned.
        ending: How the episode ended, empty while it goes on.
        waits: Whether nothing happens until a key is pressed: always in a task without
            :attr:`BatchedTask.frames_per_second`, and at the start of every episode in one that has them.
    """

    def __init__(self, env: gym.Env[Any, Any], seed: int | None = None, level: int | None = None) -> None:
        unwrapped = env.unwrapped
        if not isinstance(unwrapped, TaskEnv):
            name = env.spec.id if env.spec is not None else str(env)
            if env.spec is not None and "backend" in env.spec.kwargs:
                name += f" with backend={env.spec.kwargs['backend']!r}"
            raise ValueError(f"{name} cannot be played: only the tasks of imagine_envs.tasks know keys and undo")
        self.env = unwrapped
        self.keys = self.env.task.keys
        self.fps = self.env.task.frames_per_second
        self.ending = ""
        self._action: Any = None
        self._begin(seed, level)

    def legend(self) -> str:
        """Which key does what."""
        names = self.env.task.action_names
        own = [f"{key}: {names[action]}" if key != names[action] else key for key, action in self.keys.items()]
        return "   ".join(own + [f"{key}: {meaning}" for key, meaning in KEYS.items()])

    def press(self, key: str) -> bool:
        """Does what a key means, by its name in pygame; other keys do nothing.

        Returns:
            Whether the game goes on.
        """
        if key == "escape":
            return False
        if key == "u" and self._past:
            back = min(self.fps or 1, len(self._past))
            past = self._past[-back]
            del self._past[-back:]
            self._go_back(past)
        elif key == "r":
            self._go_back(self._past[0] if self._past else self._here())
            self._past.clear()
        elif key == "n":
            self._begin()
        elif key in self.keys:
            self.waits = self.fps is None
            if self.waits:
                self._step(self.keys[key])
        return True

    def tick(self, held: Collection[str]) -> None:
        """Lets one frame of a task that does not wait go by, while these keys are held."""
        if not self.waits:
            self._action = self.env.task.action_of(held, self._action)
            self._step(self._action)

    def _step(self, action: Any) -> None:
        if self.ending:
            return
        self._past.append(self._here())
        _, reward, terminated, truncated, _ = self.env.step(action)
        self.steps += 1
        self.total += reward
        self.ending = "terminated" if terminated else "out of steps" if truncated else ""

    def status(self) -> str:
        """The line below the picture."""
        parts = [self.env.status(), f"step {self.steps}", f"return {self.total:.4g}"]
        if self.ending:
            parts.append(f"{self.ending}: n next, r again, u undo")
        return "   ".join(part for part in parts if part)

    def frame(self) -> NDArray[np.uint8]:
        """The picture with its line, uint8 ``[H, W, 3]``."""
        picture = self.env.render()
        assert picture is not None
        return caption(picture, self.status())

    def _begin(self, seed: int | None = None, level: int | None = None) -> None:
        self.env.reset(seed=seed, options=None if level is None else {"level": level})
        self.steps, self.total, self.ending = 0, 0.0, ""
        self.waits, self._action = True, None
        self._past: list[tuple[State, int, float]] = []

    def _here(self) -> tuple[State, int, float]:
        return self.env.snapshot(), self.steps, self.total

    def _go_back(self, past: tuple[State, int, float]) -> None:
        state, self.steps, self.total = past
        self.env.restore(state)
        self.waits, self._action, self.ending = True, None, ""


def play(game: Game, *, fps: float = 30) -> None:
    """Opens a window and plays until it is closed.

    Args:
        game: What to play.
        fps: How often keys are looked at; a task that does not wait goes at its own pace, or at any if this is 0.

    Raises:
        RuntimeError: If there is no display.
    """
    import pygame

    spec = game.env.spec
    pace = fps and (game.fps or fps)
    window = Window(spec.id if spec is not None else type(game.env.task).__name__, fps=pace)
    frame = game.frame()
    open_still = window.show(frame)
    if game.fps is None:
        pygame.key.set_repeat(300, 90)
    while open_still:
        pressed = window.keys()
        for key in pressed:
            open_still = open_still and game.press(key)
        if open_still:
            game.tick(window.held())
        if pressed or not game.waits:
            frame = game.frame()
        open_still = open_still and window.show(frame)
    window.close()
