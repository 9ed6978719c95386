"""A batch of dreams as a Gymnasium ``VectorEnv``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from imagine_envs.checked_actions import checked_actions
from imagine_envs.dreams.dream import Dream, DreamState
from imagine_envs.dreams.rendering import FrameRenderer
from imagine_envs.spaces import map_observation, to_numpy
from imagine_envs.whole_numbers import check_whole
from imagine_envs.world_models.world import World

__all__ = ["DreamVectorEnv", "dream_of"]


def dream_of(world_model: str | Path | World | Dream, **options: Any) -> Dream:
    """The dream of a world, of the world saved at a path, or the dream itself.

    Raises:
        StorageError: If the path holds no whole world.
        TypeError: If ``world_model`` is something else, or a dream is given options that it already has.
    """
    if isinstance(world_model, Dream):
        if options:
            raise TypeError(f"a Dream has its options already; these came on top: {', '.join(options)}")
        return world_model
    if isinstance(world_model, (str, Path)):
        world_model = World.load(world_model, options.pop("device", None) or "cpu")
    if not isinstance(world_model, World):
        raise TypeError(f"world_model must be a path, a World or a Dream, not {type(world_model).__name__}")
    return Dream(world_model, **options)


class DreamVectorEnv(VectorEnv):
    """Many dreams of one world, stepped by one forward pass.

    A finished row restarts in the same step from a fresh real context; its last observation is in
    ``info["final_obs"]`` (a batch; the rows that finished are in ``info["_final_obs"]``). With
    ``autoreset_mode=NEXT_STEP`` it restarts in the next step instead, whose action is ignored and whose reward is 0.

    Args:
        world_model: Path of a saved world, a :class:`World`, or a :class:`Dream`.
        num_envs: Rows.
        max_episode_steps: A step limit on top of ``horizon``, as ``gym.make_vec`` passes it.
        autoreset_mode: SAME_STEP (what SB3 means by a VecEnv) or NEXT_STEP (what Gymnasium's observation wrappers
            want).
        render_mode: "rgb_array" or None.
        **options: Of :class:`Dream`: ``observation``, ``horizon``, ``temperature``, ``termination``,
            ``uncertainty_penalty``, ``halt_uncertainty``, ``halt_penalty``, ``truncate_uncertainty``, ``starts``,
            ``device``.

    Raises:
        ValueError: If ``num_envs`` is less than one, or an option makes no sense.

    Example:
        >>> import gymnasium as gym, imagine_envs
        >>> envs = gym.make_vec("Imagine/Dream-v0", num_envs=1024, world_model="worlds/cartpole")
        >>> observations, infos = envs.reset(seed=0)
        >>> observations.shape
        (1024, 4)
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as Gymnasium declares it)
        "render_modes": ["rgb_array"],
        "render_fps": 30,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    fresh_arrays: ClassVar[bool] = True
    """Every array handed out is new: an adapter need not copy."""

    def __init__(
        self,
        world_model: str | Path | World | Dream,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        check_whole("num_envs", num_envs)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r} must be 'rgb_array' or None; a window shows one DreamEnv")
        mode = AutoresetMode(autoreset_mode)
        if mode is AutoresetMode.DISABLED:
            raise ValueError("autoreset_mode must be SAME_STEP or NEXT_STEP: a dream restarts its finished rows itself")
        if max_episode_steps is not None:
            given = options.get("horizon")
            options["horizon"] = max_episode_steps if given is None else min(given, max_episode_steps)
        self.dream = dream_of(world_model, **options)
        self.num_envs = int(num_envs)
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "autoreset_mode": mode}
        self.single_observation_space = self.dream.observation_space
        self.single_action_space = self.dream.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._same_step = mode is AutoresetMode.SAME_STEP
        self._state: DreamState | None = None
        self._renderer: FrameRenderer | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts every row from a real context.

        Args:
            seed: Seeds the whole dream; None goes on with the random stream of the last seed.
            options: Without meaning here.
        """
        super().reset(seed=seed)
        self._state = self.dream.reset(self.num_envs, seed=int(self.np_random.integers(2**62)))
        return self._observation(self._state), {}

    @torch.no_grad()
    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Dreams one step of every row; see the class for what happens to finished rows."""
        before = self._started()
        action = as_action(actions, self.single_action_space, self.num_envs, before.elapsed.device)
        state, step = self.dream.step(before, action)
        reward, terminated, truncated, uncertainty = step.reward, step.terminated, step.truncated, step.uncertainty
        if before.finished is not None:  # these rows start anew instead
            state = self.dream.restart(state, before.finished)
            reward, terminated, truncated = (v.masked_fill(before.finished, 0) for v in (reward, terminated, truncated))
            uncertainty = None if uncertainty is None else uncertainty.masked_fill(before.finished, 0)
        info: dict[str, Any] = {}
        if uncertainty is not None:
            none = np.zeros(self.num_envs, dtype=bool)
            info["uncertainty"] = uncertainty.cpu().numpy()
            info["_uncertainty"] = ~(none if before.finished is None else before.finished.cpu().numpy())
        terminations, truncations = terminated.cpu().numpy(), truncated.cpu().numpy()
        finished = terminations | truncations
        if finished.any():
            rows = torch.from_numpy(finished).to(before.elapsed.device)
            if self._same_step:
                # As in Gymnasium's own: the step's info of the rows that finished is in "final_info".
                info["final_info"], info["_final_info"] = {}, finished.copy()
                if uncertainty is not None:
                    info["final_info"] = {"uncertainty": info["uncertainty"].copy(), "_uncertainty": finished.copy()}
                    info["_uncertainty"] = ~finished
                info["final_obs"], info["_final_obs"] = self._observation(state), finished
                state = self.dream.restart(state, rows)
            else:
                state = replace(state, finished=rows)
        self._state = state
        return self._observation(state), reward.cpu().numpy(), terminations, truncations, info

    @property
    def action_masks(self) -> Callable[[], np.ndarray]:
        """A method that says which actions are valid now, bool ``[B, A]``, for MaskablePPO.

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
        """Goes back to a snapshot (of as many rows) and returns its observation.

        Raises:
            ValueError: If the snapshot has another number of rows.
        """
        if len(state) != self.num_envs:
            raise ValueError(f"the snapshot holds {len(state)} rows, this environment {self.num_envs}")
        self._state = state
        return self._observation(state)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """One picture ``[H, W, 3]`` for each row, if ``render_mode`` is "rgb_array"."""
        if self.render_mode is None:
            return None
        if self._renderer is None:
            self._renderer = renderer_of(self.dream.world)
        pictures = decoded(self.dream, self._started())
        return tuple(
            self._renderer.render(map_observation(lambda a, i=i: a[i], pictures)) for i in range(self.num_envs)
        )

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the renderer."""
        if self._renderer is not None:
            self._renderer.close()

    def _started(self) -> DreamState:
        if self._state is None:
            raise RuntimeError("call reset() first")
        return self._state

    def _action_masks(self) -> np.ndarray:
        return valid_actions(self._started().extras["action_mask"])

    def _observation(self, state: DreamState) -> Any:
        return to_numpy(self.dream.observation(state), self.single_observation_space)


def as_action(actions: Any, space: spaces.Space[Any], batch_size: int, device: torch.device) -> Tensor:
    """A batch of actions as a tensor, checked.

    Raises:
        ValueError: See :func:`~imagine_envs.checked_actions.checked_actions`.
    """
    return torch.from_numpy(checked_actions(actions, space, batch_size)).to(device)


def decoded(dream: Dream, state: DreamState) -> Any:
    """The observations of a state as arrays, also of a latent dream, for somebody who looks.

    Raises:
        ValueError: If the world cannot decode.
    """
    if not dream.world.model.can_decode:
        raise ValueError(f"a world of family {dream.world.model.family!r} cannot decode: there is nothing to render")
    with torch.no_grad():
        return to_numpy(dream.world.model.decode(state.model), dream.world.observation_space)


def renderer_of(world: World) -> FrameRenderer:
    """Draws observations of the environment that a world is a world of."""
    return FrameRenderer(world.spec.env_id, world.spec.env_kwargs, world.observation_space)


def valid_actions(masks: Tensor) -> np.ndarray:
    """Predicted mask probabilities as booleans; a row without any valid action gets its likeliest one."""
    likelihood = masks.float()  # real ones, which a dream starts with, are booleans
    valid = likelihood > 0.5
    valid[torch.arange(len(masks)), likelihood.argmax(1)] = True
    return valid.cpu().numpy()
