"""One dream as a Gymnasium ``Env``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from imagine_envs.dreams.dream import Dream, DreamState
from imagine_envs.dreams.rendering import FrameRenderer, Window
from imagine_envs.dreams.vector_env import as_action, decoded, dream_of, renderer_of, valid_actions
from imagine_envs.spaces import map_observation, to_numpy
from imagine_envs.world_models.world import World

__all__ = ["DreamEnv"]


class DreamEnv(gym.Env):
    """One dream of a world; the environment's own spaces, step limit and pictures.

    Args:
        world_model: Path of a saved world, a :class:`World`, or a :class:`Dream`.
        render_mode: "rgb_array", "human" (a window) or None.
        **options: Of :class:`Dream`: ``observation``, ``horizon``, ``temperature``, ``termination``,
            ``uncertainty_penalty``, ``halt_uncertainty``, ``halt_penalty``, ``truncate_uncertainty``, ``starts``,
            ``device``.

    Raises:
        ValueError: If an option makes no sense.

    Example:
        >>> import gymnasium as gym, imagine_envs
        >>> env = gym.make("Imagine/Dream-v0", world_model="worlds/cartpole")
        >>> observation, info = env.reset(seed=0)
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as Gymnasium declares it)
        "render_modes": ["human", "rgb_array"],
        "render_fps": 30,
    }

    def __init__(
        self, world_model: str | Path | World | Dream, *, render_mode: str | None = None, **options: Any
    ) -> None:
        if render_mode not in (None, "rgb_array", "human"):
            raise ValueError(f"render_mode={render_mode!r} must be 'rgb_array', 'human' or None")
        self.dream = dream_of(world_model, **options)
        self.render_mode = render_mode
        self.observation_space = self.dream.observation_space
        self.action_space = self.dream.action_space
        self._state: DreamState | None = None
        self._renderer: FrameRenderer | None = None
        self._window: Window | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts from a real context.

        Args:
            seed: Seeds the dream; None goes on with the random stream of the last seed.
            options: Without meaning here.
        """
        super().reset(seed=seed)
        self._state = self.dream.reset(1, seed=int(self.np_random.integers(2**62)))
        if self.render_mode == "human":
            self.render()
        return self._observation(), {}

    @torch.no_grad()
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Dreams one step."""
        before = self._started()
        tensor = as_action(np.asarray(action)[None], self.action_space, 1, before.elapsed.device)
        self._state, step = self.dream.step(before, tensor)
        info = {} if step.uncertainty is None else {"uncertainty": step.uncertainty.item()}
        if self.render_mode == "human":
            self.render()
        return self._observation(), step.reward.item(), step.terminated.item(), step.truncated.item(), info  # type: ignore[return-value]

    @property
    def action_masks(self) -> Callable[[], np.ndarray]:
        """A method that says which actions are valid now, bool ``[A]``, for MaskablePPO.

        It is there only where the world predicts action masks, so that ``hasattr`` (and with it sb3-contrib's
        ``is_masking_supported``) tells whether there are any.

        Raises:
            AttributeError: If the world predicts none.
        """
        if not self.dream.has_action_masks:
            raise AttributeError("this world predicts no action_mask: fit it on a replay that has that column")
        return self._action_masks

    def snapshot(self) -> DreamState:
        """Where the dream is; :meth:`restore` brings it back."""
        return self._started()

    def restore(self, state: DreamState) -> Any:
        """Goes back to a snapshot and returns its observation.

        Raises:
            ValueError: If the snapshot is not of one row.
        """
        if len(state) != 1:
            raise ValueError(f"the snapshot holds {len(state)} rows, this environment 1")
        self._state = state
        return self._observation()

    def render(self) -> np.ndarray | None:
        """A picture ``[H, W, 3]`` of the dreamed observation; None in a window or without a render mode."""
        if self.render_mode is None:
            return None
        if self._renderer is None:
            self._renderer = renderer_of(self.dream.world)
        frame = self._renderer.render(map_observation(lambda a: a[0], decoded(self.dream, self._started())))
        if self.render_mode == "rgb_array":
            return frame
        if self._window is None:
            self._window = Window(f"dream of {self.dream.world.spec.env_id}", fps=self.metadata["render_fps"])
        self._window.show(frame)
        return None

    def close(self) -> None:
        """Closes the renderer and the window."""
        for part in (self._renderer, self._window):
            if part is not None:
                part.close()

    def _started(self) -> DreamState:
        if self._state is None:
            raise RuntimeError("call reset() first")
        return self._state

    def _action_masks(self) -> np.ndarray:
        return valid_actions(self._started().extras["action_mask"])[0]

    def _observation(self) -> Any:
        batch = to_numpy(self.dream.observation(self._started()), self.observation_space)
        return map_observation(lambda array: array[0], batch)
