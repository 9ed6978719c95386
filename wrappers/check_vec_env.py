"""Does a ``VecEnv`` keep the rules that SB3's algorithms rely on?"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import (
    VecEnv,
    VecFrameStack,
    VecNormalize,
    unwrap_vec_normalize,
    unwrap_vec_wrapper,
)

__all__ = ["check_vec_env"]

_ARRAY_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_REPLAYED_STEPS = 50
_REMEMBERED_STEPS = 3


def check_vec_env(env: VecEnv, *, steps: int = 250, seed: int = 0, warn: bool = True) -> None:
    """Checks a ``VecEnv`` as SB3's ``check_env`` checks a single environment.

    Seeds, resets and steps ``env`` with random actions, and reads its attributes. It is left in the middle of an
    episode and with the attribute ``checked_by_check_vec_env`` set in it: check one that is made for the purpose. What
    belongs to the end of an episode is only seen if one ends within ``steps``.

    The rules are those of SB3's own classes: ``reset()`` returns observations alone; ``step()`` returns observations
    of the space's type and shape, rewards, dones and one info dict for each environment; the step that ends an
    episode returns the observation of the reset, and its info has ``terminal_observation`` and
    ``TimeLimit.truncated``; no array that was returned is ever written to again, and every one may be written to by
    the receiver; ``get_attr`` and the like return lists with one item for each index.

    Args:
        env: Any SB3 ``VecEnv``, wrapped or not.
        steps: How many steps to take in all environments at once.
        seed: Seeds the environments and the actions.
        warn: Whether to warn of what is doubtful but works: rewards that are not float32, rollouts that differ under
            the same seed, no end of an episode within ``steps``.

    Raises:
        TypeError: If ``env`` is not a ``VecEnv``.
        AssertionError: If a rule is broken; the message names the method and the rule.

    Example:
        >>> from stable_baselines3.common.env_util import make_vec_env
        >>> check_vec_env(make_vec_env("CartPole-v1", n_envs=2))
    """
    if isinstance(env, gym.vector.VectorEnv):
        raise TypeError(
            f"env is a gymnasium.vector.VectorEnv ({env}); an SB3 VecEnv was expected: SB3VecEnv(env) is one"
        )
    if not isinstance(env, VecEnv):
        raise TypeError(f"env is a {type(env).__name__}; an SB3 VecEnv was expected")
    _check_attributes(env)
    rollout = _Rollout(env, seed)
    rollout.run(steps)
    rollout.repeat()
    _check_access(env)
    _check_images(env)
    if warn:
        for doubt in rollout.doubts:
            warnings.warn(doubt, stacklevel=2)


def _require(condition: bool | np.bool_, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _check_attributes(env: VecEnv) -> None:
    for name in ("num_envs", "observation_space", "action_space", "reset_infos", "render_mode", "metadata"):
        _require(hasattr(env, name), f"the VecEnv has no attribute {name!r}: VecEnv.__init__ must have been called")
    _require(
        isinstance(env.num_envs, int) and env.num_envs >= 1,
        f"num_envs is {env.num_envs!r}; an int of at least 1 was expected",
    )
    _require(
        env.render_mode is None or isinstance(env.render_mode, str),
        f"render_mode is {env.render_mode!r}; None or a str was expected",
    )
    space = env.observation_space
    for part in space.spaces.values() if isinstance(space, spaces.Dict) else (space,):
        _require(
            isinstance(part, _ARRAY_SPACES),
            f"observation_space contains {part!r}; SB3 can have Box, Discrete, MultiDiscrete, MultiBinary, or one Dict "
            "of those. It is the space of one environment, not of the batch",
        )
    _require(
        isinstance(env.action_space, _ARRAY_SPACES),
        f"action_space is {env.action_space!r}; SB3 can have Box, Discrete, MultiDiscrete and MultiBinary. It is the "
        "space of one environment, not of the batch",
    )


def _check_observation(
    value: Any, space: spaces.Space[Any], batch: tuple[int, ...], source: str, bounded: bool = True
) -> None:
    """One observation (``batch`` is empty) or a batch of them."""
    if isinstance(space, spaces.Dict):
        _require(isinstance(value, dict), f"{source} is a {type(value).__name__}; a dict was expected, as of the space")
        _require(
            value.keys() == space.spaces.keys(),
            f"{source} has the keys {sorted(value)}; {sorted(space.spaces)} were expected, as of the space",
        )
        for key, part in space.spaces.items():
            _check_observation(value[key], part, batch, f"{source}[{key!r}]", bounded)
        return
    if not batch and isinstance(space, spaces.Discrete) and isinstance(value, (int, np.integer)):
        value = np.asarray(value, dtype=space.dtype)  # DummyVecEnv hands over an environment's own last observation
    _require(
        isinstance(value, np.ndarray),
        f"{source} is a {type(value).__name__}; a numpy array was expected (no tuple with infos, no tensor)",
    )
    shape = (*batch, *(space.shape or ()))
    _require(value.shape == shape, f"{source} has the shape {value.shape}; {shape} was expected")
    _require(
        value.dtype == space.dtype,
        f"{source} has the type {value.dtype}; {space.dtype} was expected, as of the observation space",
    )
    low, high = _bounds(space) if bounded else (-np.inf, np.inf)
    if not np.all((value >= low) & (value <= high)):
        raise AssertionError(
            f"{source} is not in the observation space {space}: it has values from {value.min()} to {value.max()} "
            "(nan is in no space)"
        )


def _bounds(space: spaces.Space[Any]) -> tuple[Any, Any]:
    if isinstance(space, spaces.Box):
        return space.low, space.high
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return 0, 1


def _leaves(observations: Any) -> list[np.ndarray]:
    return list(observations.values()) if isinstance(observations, dict) else [observations]


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f" and other.dtype.kind == "f")


def _share_memory(one: np.ndarray, other: np.ndarray) -> bool:
    return np.may_share_memory(one, other) and np.shares_memory(one, other)


class _Rollout:
    """Steps the environment, and remembers what the last steps returned to see whether it is written to again."""

    def __init__(self, env: VecEnv, seed: int) -> None:
        self.env = env
        self.seed = seed
        self.num_envs = env.num_envs
        self.action_space = deepcopy(env.action_space)  # the environment's own random state is not to be moved
        # VecNormalize leaves the bounds as they were, and VecFrameStack orders those of a flat space otherwise than the
        # observations that it stacks: SB3 does not rely on bounds under them.
        self.bounded = all(unwrap_vec_wrapper(env, wrapper) is None for wrapper in (VecNormalize, VecFrameStack))
        self.remembered: deque[list[tuple[str, np.ndarray, np.ndarray]]] = deque(maxlen=_REMEMBERED_STEPS)
        self.record: list[tuple[Any, list[np.ndarray]]] = []
        self.doubts: list[str] = []
        self.episodes = 0
        self.restarts = 0

    def run(self, steps: int) -> None:
        """Takes the steps and checks each of them."""
        self.action_space.seed(self.seed)
        first = self._reset()
        self._remember([("the observations of reset()", array) for array in _leaves(first)])
        self.record = [(None, [array.copy() for array in _leaves(first)])]
        for step in range(steps):
            actions = self._actions()
            self._check_step(self._step(actions, split=step % 2 == 1), actions)
        if not self.episodes:
            self.doubts.append(
                f"no episode ended within {steps} steps: terminal_observation and TimeLimit.truncated were not checked "
                "(give more steps)"
            )
        elif not self.restarts:
            self.doubts.append(
                "step() returned terminal_observation itself at the end of every episode; SB3's rule is that it "
                "returns the first observation of the next one"
            )

    def repeat(self) -> None:
        """Takes the first steps again under the same seed."""
        normalize = unwrap_vec_normalize(self.env)
        if normalize is not None and normalize.training:
            return  # its statistics move on, so that nothing is the same twice
        found = [array.copy() for array in _leaves(self._reset())]
        for number, (actions, expected) in enumerate(self.record):
            if number:
                observations, rewards, dones, _ = self._step(actions, split=False)
                found = [*_leaves(observations), rewards, dones]
            if not all(_equal(one, other) for one, other in zip(found, expected, strict=True)):
                source = f"step {number} of the same actions" if number else "reset()"
                self.doubts.append(
                    f"seed({self.seed}) was called twice, but {source} returned something else the second time; SB3's "
                    "rule is that seed() counts at the next reset(), from where all that is random follows"
                )
                return

    def _reset(self) -> Any:
        seeds = self.env.seed(self.seed)
        _require(
            isinstance(seeds, Sequence) and len(seeds) == self.num_envs,
            f"seed() returned {seeds!r}; a list of {self.num_envs} was expected, one seed or None for each environment",
        )
        observations = self.env.reset()
        _require(
            not isinstance(observations, tuple),
            "reset() returned a tuple; SB3's rule is that it returns the observations alone and leaves the infos in "
            "reset_infos (Gymnasium's is another)",
        )
        self._check_observations(observations, "what reset() returned")
        self._check_infos(self.env.reset_infos, "reset_infos")
        return observations

    def _actions(self) -> np.ndarray:
        if isinstance(self.action_space, spaces.Discrete) and self.env.has_attr("action_masks"):
            try:
                masks = self.env.env_method("action_masks")
            except AttributeError as error:
                raise AssertionError(
                    "has_attr('action_masks') is true, but env_method('action_masks') raised AttributeError; SB3's "
                    f"rule is that a method exists where it can be called, and MaskablePPO relies on it ({error})"
                ) from error
            samples = [self.action_space.sample(mask=np.asarray(mask, dtype=np.int8)) for mask in masks]
        else:
            samples = [self.action_space.sample() for _ in range(self.num_envs)]
        return np.array(samples)

    def _step(self, actions: np.ndarray, *, split: bool) -> Any:
        if not split:
            return self.env.step(actions.copy())
        self.env.step_async(actions.copy())
        return self.env.step_wait()

    def _check_step(self, result: Any, actions: np.ndarray) -> None:
        _require(
            isinstance(result, tuple) and len(result) == 4,
            f"step() returned {f'{len(result)} values' if isinstance(result, tuple) else type(result).__name__}; SB3's "
            "rule is (observations, rewards, dones, infos), with one done for terminated or truncated",
        )
        observations, rewards, dones, infos = result
        self._check_observations(observations, "what step() returned")
        self._check_vector(rewards, "rewards")
        _require(
            rewards.dtype.kind == "f", f"the rewards of step() have the type {rewards.dtype}; float32 was expected"
        )
        if rewards.dtype != np.float32 and len(self.record) == 1:
            self.doubts.append(
                f"the rewards of step() have the type {rewards.dtype}; SB3 keeps float32, as DummyVecEnv returns"
            )
        self._check_vector(dones, "dones")
        _require(dones.dtype == np.bool_, f"the dones of step() have the type {dones.dtype}; bool was expected")
        self._check_infos(infos, "the infos of step()")

        returned = [("the observations of step()", array) for array in _leaves(observations)]
        returned += [("the rewards of step()", rewards), ("the dones of step()", dones)]
        self._check_untouched([array for _, array in returned])
        for row in range(self.num_envs):
            if dones[row]:
                terminal = self._check_end(infos[row], observations, row)
                returned += [("a terminal_observation", array) for array in terminal]
            else:
                _require(
                    "terminal_observation" not in infos[row],
                    "an info of step() has terminal_observation though the episode goes on; it belongs to the end",
                )
        self._remember(returned)
        if len(self.record) <= _REPLAYED_STEPS:
            self.record.append(
                (actions, [*(array.copy() for array in _leaves(observations)), rewards.copy(), dones.copy()])
            )

    def _check_observations(self, observations: Any, source: str) -> None:
        _check_observation(observations, self.env.observation_space, (self.num_envs,), source, self.bounded)
        for array in _leaves(observations):
            _require(array.flags.writeable, f"{source} is a read-only array; SB3 and its wrappers write into theirs")

    def _check_vector(self, value: Any, name: str) -> None:
        _require(
            isinstance(value, np.ndarray),
            f"the {name} of step() are a {type(value).__name__}; a numpy array was expected",
        )
        _require(
            value.shape == (self.num_envs,),
            f"the {name} of step() have the shape {value.shape}; ({self.num_envs},) was expected",
        )
        _require(
            value.flags.writeable,
            f"the {name} of step() are a read-only array; SB3 writes into rewards where an episode was truncated",
        )

    def _check_infos(self, infos: Any, source: str) -> None:
        # SubprocVecEnv returns a tuple where DummyVecEnv returns a list, and SB3 takes both.
        _require(
            isinstance(infos, (list, tuple)),
            f"{source}: a {type(infos).__name__} was found; a list of dicts was expected, one for each environment",
        )
        _require(len(infos) == self.num_envs, f"{source}: {len(infos)} items were found; {self.num_envs} were expected")
        for info in infos:
            _require(isinstance(info, dict), f"{source}: a {type(info).__name__} was found in it; dicts were expected")
        _require(
            len({id(info) for info in infos}) == self.num_envs,
            f"{source}: environments share one dict; each must have its own, for wrappers write into them",
        )

    def _check_end(self, info: dict[str, Any], observations: Any, row: int) -> list[np.ndarray]:
        self.episodes += 1
        _require(
            "terminal_observation" in info,
            "step() ended an episode without terminal_observation in its info; SB3's rule is that the last observation "
            "is there, and that step() returns the first one of the next episode",
        )
        terminal = info["terminal_observation"]
        _check_observation(terminal, self.env.observation_space, (), "terminal_observation", self.bounded)
        _require(
            isinstance(info.get("TimeLimit.truncated"), (bool, np.bool_)),
            f"step() ended an episode with info['TimeLimit.truncated'] = {info.get('TimeLimit.truncated')!r}; SB3's "
            "rule is a bool, truncated and not terminated, by which it bootstraps",
        )
        parts = [np.asarray(part) for part in _leaves(terminal)]
        for part, batch in zip(parts, _terminal_order(observations, terminal), strict=True):
            _require(
                not _share_memory(part, batch),
                "terminal_observation is a view of the observations that step() returned; it must have its own memory",
            )
            self.restarts += not _equal(part, batch[row])
        return parts

    def _check_untouched(self, new: list[np.ndarray]) -> None:
        for source, array, copy in (item for step in self.remembered for item in step):
            _require(
                not any(_share_memory(array, other) for other in new),
                f"{source} share their memory with those of a later step; every step must return arrays of its own, "
                "for SB3 keeps them without a copy",
            )
            _require(
                _equal(array, copy),
                f"{source} changed after they had been returned; no array that was returned may be written to again",
            )

    def _remember(self, returned: list[tuple[str, np.ndarray]]) -> None:
        self.remembered.append([(source, array, array.copy()) for source, array in returned])


def _terminal_order(observations: Any, terminal: Any) -> list[np.ndarray]:
    """The arrays of the batch in the order of the terminal observation's."""
    return [observations[key] for key in terminal] if isinstance(terminal, dict) else [observations]


def _check_access(env: VecEnv) -> None:
    """Whether the lists of ``get_attr`` and the like have one item for each index."""
    name = "checked_by_check_vec_env"
    found = env.set_attr(name, 1)
    _require(found is None, f"set_attr() returned {found!r}; None was expected")
    found = env.get_attr(name)
    _require(
        found == [1] * env.num_envs,
        f"get_attr() returned {found!r} after set_attr(…, 1); {[1] * env.num_envs} was expected, one value for each "
        "environment",
    )
    _require(env.has_attr(name), "has_attr() is false for an attribute that get_attr() returns")
    _require(
        not env.has_attr("an_attribute_that_no_environment_has"),
        "has_attr() is true for an attribute that no environment has; MaskablePPO asks it whether there are masks",
    )
    _check_lists(env, "get_attr()", lambda indices: env.get_attr(name, indices=indices))
    _check_lists(env, "env_is_wrapped()", lambda indices: env.env_is_wrapped(gym.Wrapper, indices=indices))
    # Harmless methods that environments may have: those of a gymnasium.Env, or the masks of MaskablePPO.
    if env.has_attr("get_wrapper_attr"):
        _check_lists(env, "env_method()", lambda indices: env.env_method("get_wrapper_attr", name, indices=indices))
    if env.has_attr("action_masks"):
        _check_lists(env, "env_method()", lambda indices: env.env_method("action_masks", indices=indices))


def _check_lists(env: VecEnv, method: str, get: Callable[[Any], Any]) -> None:
    last = env.num_envs - 1
    for indices, length in ((None, env.num_envs), (last, 1), ([last], 1), (range(env.num_envs), env.num_envs)):
        found = get(indices)
        _require(
            isinstance(found, list) and len(found) == length,
            f"{method} with indices={indices!r} returned {found!r}; a list of {length} was expected, one item for each "
            "index",
        )


def _check_images(env: VecEnv) -> None:
    if env.render_mode != "rgb_array":
        return
    images = env.get_images()
    _require(
        isinstance(images, Sequence) and len(images) == env.num_envs,
        f"get_images() returned a {type(images).__name__}; a list of {env.num_envs} pictures was expected, one for "
        "each environment",
    )
    for image in images:
        _require(
            isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] in (3, 4),
            f"get_images() returned {f'shape {image.shape}' if isinstance(image, np.ndarray) else image!r} among its "
            "pictures; arrays [H, W, 3] were expected",
        )
    picture = env.render()
    _require(
        isinstance(picture, np.ndarray) and picture.ndim == 3,
        f"render() returned a {type(picture).__name__}; one picture [H, W, 3] was expected of 'rgb_array'",
    )
