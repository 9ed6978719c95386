"""The Doom tasks in the real engine: ViZDoom behind the spaces, rewards and caps of the native ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
import vizdoom
from gymnasium import spaces
from gymnasium.utils import EzPickle
from numpy.typing import NDArray
from PIL import Image

from imagine_envs.checked_actions import checked_actions
from imagine_envs.tasks.doom.scenario import (
    BASIC,
    HEALTH_GATHERING,
    MY_WAY_HOME,
    TAKE_COVER,
    TICS_PER_SECOND,
    Scenario,
    Settings,
)

if TYPE_CHECKING:
    from imagine_envs.dreams.rendering import Window

__all__ = ["BasicEngine", "EngineEnv", "HealthGatheringEngine", "MyWayHomeEngine", "TakeCoverEngine"]

_VARIABLES = {"health": "HEALTH", "ammo": "AMMO2"}


class EngineEnv(gym.Env[Any, Any], EzPickle):
    """A scenario of ViZDoom, played by ViZDoom.

    The screen (320 × 240, without the status bar) is resized to the observation, as in World Models. When an episode
    has terminated, the engine shows nothing any more: the last observation is the one before. A copy that was pickled
    begins a new episode; what an episode's random numbers are the engine decides, after the seed of its reset.

    Args:
        size: Rows and columns of an observation, or one number for both.
        frame_skip: Tics (1/35 s) that a step takes; its action is held, and its rewards are added up.
        max_steps: Step limit; "cap" is the scenario's own, in steps.
        render_mode: "rgb_array", "human" (a window) or None.
        render_size: Pixels of the longer side of a picture.

    Raises:
        ValueError: If an argument makes no sense.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as Gymnasium declares it)
        "render_modes": ["human", "rgb_array"],
        "render_fps": TICS_PER_SECOND,
    }
    scenario: ClassVar[Scenario]

    def __init__(
        self,
        *,
        size: int | tuple[int, int] = 64,
        frame_skip: int = 1,
        max_steps: int | str | None = "cap",
        render_mode: str | None = None,
        render_size: int = 512,
    ) -> None:
        EzPickle.__init__(
            self,
            size=size,
            frame_skip=frame_skip,
            max_steps=max_steps,
            render_mode=render_mode,
            render_size=render_size,
        )
        if render_mode not in (None, "rgb_array", "human"):
            raise ValueError(f"render_mode={render_mode!r} must be 'rgb_array', 'human' or None")
        settings = Settings.of(self.scenario, size, frame_skip, max_steps)
        self.frame_skip = settings.frame_skip
        self.max_steps = settings.max_steps
        self.render_mode = render_mode
        self.render_size = render_size
        self.metadata = {**self.metadata, "render_fps": TICS_PER_SECOND / self.frame_skip}
        self.observation_space = settings.observation_space
        self.action_space = spaces.Discrete(len(self.scenario.actions))
        self.game = self._game()
        self._screen: NDArray[np.uint8] | None = None
        self._steps = 0
        self._window: Window | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begins a new episode."""
        super().reset(seed=seed)
        self.game.set_seed(int(self.np_random.integers(2**32)))
        if self.game.is_running():
            self.game.new_episode()
        else:
            self.game.init()
        self._steps = 0
        self._look()
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Takes one step."""
        if self._screen is None:
            raise RuntimeError("call reset() first")
        chosen = int(checked_actions(np.asarray(action)[None], self.action_space, 1)[0])
        reward = self.game.make_action(self.buttons(chosen), self.frame_skip)
        self._steps += 1
        self._look()
        terminated = bool(self.game.is_episode_finished())
        truncated = not terminated and self.max_steps is not None and self._steps >= self.max_steps
        return self._observation(), float(reward), terminated, truncated, self._info()

    def buttons(self, action: int) -> list[bool]:
        """Which of the scenario's buttons an action holds."""
        count = len(self.scenario.actions) - 1
        return [button == count - action for button in range(count)]

    def render(self) -> NDArray[np.uint8] | None:
        """The screen, ``[3·W/4, W, 3]``; None in a window or without a render mode."""
        if self.render_mode is None:
            return None
        if self._screen is None:
            raise RuntimeError("call reset() first")
        wide = max(4, self.render_size)
        frame = np.array(Image.fromarray(self._screen).resize((wide, 3 * wide // 4), Image.Resampling.BILINEAR))
        if self.render_mode == "rgb_array":
            return frame
        if self._window is None:
            from imagine_envs.dreams.rendering import Window  # brings torch, which nothing else here needs

            title = self.spec.id if self.spec is not None else type(self).__name__
            self._window = Window(title, fps=self.metadata["render_fps"])
        self._window.show(frame)
        return None

    def close(self) -> None:
        """Ends the engine and closes the window."""
        self.game.close()
        if self._window is not None:
            self._window.close()

    def _game(self) -> Any:
        game = vizdoom.DoomGame()
        game.load_config(str(Path(vizdoom.scenarios_path) / f"{self.scenario.name}.cfg"))
        game.set_doom_config_path(os.devnull)  # else it leaves a file of settings wherever one happens to work
        game.set_window_visible(False)
        game.set_screen_resolution(vizdoom.ScreenResolution.RES_320X240)
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_episode_timeout(0)  # an end that the engine sees shows nothing
        game.set_mode(vizdoom.Mode.PLAYER)
        return game

    def _look(self) -> None:
        """Keeps the screen, if the engine shows one."""
        state = self.game.get_state()
        if state is not None:
            self._screen = state.screen_buffer.copy()
        if self.render_mode == "human":
            self.render()

    def _observation(self) -> NDArray[np.uint8]:
        assert self._screen is not None
        rows, columns, _ = self.observation_space.shape  # type: ignore[misc]
        return np.array(Image.fromarray(self._screen).resize((columns, rows), Image.Resampling.BILINEAR))

    def _info(self) -> dict[str, Any]:
        variable = self.scenario.variable
        if variable is None:
            return {}
        value = self.game.get_game_variable(getattr(vizdoom.GameVariable, _VARIABLES[variable]))
        return {variable: max(0, int(value))}  # the engine lets health fall below 0


class TakeCoverEngine(EngineEnv):
    """Take Cover, see :class:`~imagine_envs.tasks.doom.TakeCover`."""

    scenario = TAKE_COVER


class BasicEngine(EngineEnv):
    """Basic, see :class:`~imagine_envs.tasks.doom.Basic`."""

    scenario = BASIC


class HealthGatheringEngine(EngineEnv):
    """Health Gathering, see :class:`~imagine_envs.tasks.doom.HealthGathering`."""

    scenario = HEALTH_GATHERING


class MyWayHomeEngine(EngineEnv):
    """My Way Home, see :class:`~imagine_envs.tasks.doom.MyWayHome`."""

    scenario = MY_WAY_HOME
