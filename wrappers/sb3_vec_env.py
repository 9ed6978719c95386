"""Any Gymnasium ``VectorEnv``, or a list of environment functions, as an SB3 ``VecEnv``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from itertools import repeat
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from imagine_envs.autoreset import autoreset_mode
from wrappers._infos import as_array, spread_infos
from wrappers._sub_envs import sub_envs_of

__all__ = ["SB3VecEnv"]

_ARRAY_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_FINAL_KEYS = ("final_obs", "_final_obs", "final_info", "_final_info")
_TIMEOUT = "TimeLimit.truncated"
_TOLD_APART = frozenset({*_FINAL_KEYS, _TIMEOUT, f"_{_TIMEOUT}"})
"""What a batch has in its infos and SB3 wants in another form."""


class SB3VecEnv(VecEnv):
    """Steps a Gymnasium ``VectorEnv`` under the rules of SB3's ``VecEnv``.

    SB3 wants the *reset* observation at the step that ends an episode, and the last observation in that step's info.
    So the batch must reset finished rows in the same step (``AutoresetMode.SAME_STEP``), or leave it to this adapter
    (``AutoresetMode.DISABLED``, through ``reset(options={"reset_mask": …})``). ``AutoresetMode.NEXT_STEP``, which is
    Gymnasium's default, has no reset observation to hand over and is refused.

    Of each finished row the info holds the step's own info (``final_info`` where the batch resets by itself),
    ``terminal_observation``, and ``TimeLimit.truncated``, which every info holds in every step. Infos of resets are
    in :attr:`reset_infos`. Observations have the space's own type; every array is new in every step and may be
    written to.

    Attributes and methods of the environments are reached as in SB3's own classes where there are single
    environments (``SyncVectorEnv``, ``AsyncVectorEnv``, a list). In a native batch they are those of the batch: an
    array ``[num_envs, …]`` (or a list, or a tuple of that length) is one value for each environment, anything else
    the value of all. So ``action_masks()`` returning ``[num_envs, A]`` is what ``MaskablePPO`` needs.

    Episode statistics come from SB3's ``VecMonitor`` around this, from a ``Monitor`` around each environment, or from
    ``gymnasium.wrappers.vector.RecordEpisodeStatistics`` around the batch.

    Args:
        env: A ``gymnasium.vector.VectorEnv``, or a list of functions that make one environment each, which SB3's
            ``make_vec_env(…, vec_env_cls=SB3VecEnv)`` and rl_zoo3 hand over. A native batch that returns new arrays
            in every step may say so by an attribute ``fresh_arrays = True``, which saves copying them.

    Raises:
        TypeError: If ``env`` is something else; the message says what to do with it.
        ValueError: If the batch is empty, resets in the next step or does not say when it resets, if two functions
            return the same environment, or if SB3 cannot have the spaces.

    Example:
        >>> import gymnasium as gym
        >>> from gymnasium.vector import AutoresetMode
        >>> from stable_baselines3 import PPO
        >>> same_step = {"autoreset_mode": AutoresetMode.SAME_STEP}
        >>> batch = gym.make_vec("CartPole-v1", 8, vectorization_mode="sync", vector_kwargs=same_step)
        >>> model = PPO("MlpPolicy", SB3VecEnv(batch))
    """

    def __init__(self, env: VectorEnv | Sequence[Callable[[], gym.Env]]) -> None:
        if not isinstance(env, VectorEnv):
            env = _batch_of(env)
        if env.num_envs < 1:
            raise ValueError(f"num_envs of {env} is {env.num_envs}; at least 1 was expected")
        self.env = env
        self._sub_envs = sub_envs_of(env)
        self._resets_itself = _resets_itself(env)
        self._has_fresh_arrays = getattr(env, "fresh_arrays", False) or (
            isinstance(env, (SyncVectorEnv, AsyncVectorEnv)) and env.copy
        )
        self._steps_async = hasattr(env, "step_async") and hasattr(env, "step_wait")
        self._actions: Any = None
        self._waiting = False
        _check_observation_space(env.single_observation_space)
        self.render_mode = env.render_mode
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.metadata = dict(env.metadata)
        self.spec = env.spec

    @property
    def envs(self) -> Sequence[gym.Env]:
        """The single environments, where they are in this process (as in ``DummyVecEnv``)."""
        unwrapped = self.env.unwrapped
        if isinstance(unwrapped, SyncVectorEnv):
            return unwrapped.envs
        raise AttributeError(f"{self.env} has no environments in this process")

    # --- stepping ---------------------------------------------------------------------------------------------------

    def reset(self) -> VecEnvObs:
        """Resets all environments with the seeds and options that wait for them.

        A native batch is seeded with the first environment's seed, single environments with one each. Options that
        differ between environments are handed over by ``reset_mask``, which resets the rows in question once more.

        Returns:
            Observations ``[num_envs, …]``, or a dict of those; the infos are in :attr:`reset_infos`.
        """
        if self._waiting:
            self.step_wait()
        seed, options = _one_seed(self._seeds), self._options
        self._reset_seeds()
        self._reset_options()
        observations, columns = self.env.reset(seed=seed, options=deepcopy(options[0]) or None)
        observations = self._own(observations)
        self.reset_infos = self._infos_of(columns)
        different = [row for row in range(self.num_envs) if options[row] != options[0]]
        while different:
            these = [row for row in different if options[row] == options[different[0]]]
            different = [row for row in different if row not in these]
            self._reset_rows(observations, np.array(these), seed, options[these[0]])
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Starts a step with actions ``[num_envs, …]``."""
        if isinstance(self.action_space, (spaces.Dict, spaces.Tuple)):
            empty: Any = create_empty_array(self.action_space, self.num_envs)
            self._actions = concatenate(self.action_space, actions, empty)
        else:
            self._actions = as_array(actions)
        if self._steps_async:
            self.env.step_async(self._actions)  # type: ignore[attr-defined]
        self._waiting = True

    def step_wait(self) -> VecEnvStepReturn:
        """Ends the step.

        Returns:
            Observations ``[num_envs, …]``, rewards float32 ``[num_envs]``, dones bool ``[num_envs]`` and a list of
            info dicts.

        Raises:
            RuntimeError: If no step was started.
            ValueError: If the batch breaks Gymnasium's rules.
        """
        if not self._waiting:
            raise RuntimeError("step_wait() without step_async(): no step was started")
        self._waiting = False
        result = self.env.step_wait() if self._steps_async else self.env.step(self._actions)  # type: ignore[attr-defined]
        raw_observations, raw_rewards, raw_terminated, raw_truncated, columns = result

        rewards = self._vector(raw_rewards, np.float32, "rewards")
        terminated = self._vector(raw_terminated, np.bool_, "terminations")
        dones = self._vector(raw_truncated, np.bool_, "truncations")
        timeouts = dones & ~terminated
        dones |= terminated
        observations = self._own(raw_observations)

        ended = np.flatnonzero(dones)
        infos: list[dict[str, Any]] = list(map(dict.copy, repeat({_TIMEOUT: False}, self.num_envs)))
        for row in np.flatnonzero(timeouts).tolist():
            infos[row][_TIMEOUT] = True
        further = {key: columns[key] for key in columns if key not in _TOLD_APART}
        if further:
            spread_infos(further, infos, self.num_envs)
        if ended.size:
            if self._resets_itself:
                finals = self._final_observations(columns, ended)
                self._part_infos(columns, infos, ended)
            else:
                finals = _take(observations, ended)
                self._reset_rows(observations, ended)
            for row, final in zip(ended.tolist(), _rows_of(finals, ended.size), strict=True):
                infos[row]["terminal_observation"] = final
        return observations, rewards, dones, infos

    def _reset_rows(
        self, observations: Any, rows: np.ndarray, seed: Any = None, options: dict[str, Any] | None = None
    ) -> None:
        """Resets some rows and writes their new observations into ``observations``."""
        mask = np.zeros(self.num_envs, dtype=bool)
        mask[rows] = True
        fresh, columns = self.env.reset(seed=seed, options={**deepcopy(options or {}), "reset_mask": mask})
        fresh = self._own(fresh)
        if isinstance(observations, dict):
            for key, array in observations.items():
                array[rows] = fresh[key][rows]
        else:
            observations[rows] = fresh[rows]
        reset_infos: list[dict[str, Any]] = [{} for _ in rows]
        spread_infos(columns, reset_infos, self.num_envs, rows)
        for row, info in zip(rows.tolist(), reset_infos, strict=True):
            self.reset_infos[row] = info

    # --- reading what the batch returned ----------------------------------------------------------------------------

    def _own(self, observations: Any) -> Any:
        """Observations as arrays of the space's type that are nobody else's."""
        space = self.observation_space
        if isinstance(space, spaces.Dict):
            return {key: self._own_array(observations[key], part, key) for key, part in space.spaces.items()}
        return self._own_array(observations, space)

    def _own_array(self, value: Any, space: spaces.Space[Any], key: str = "") -> np.ndarray:
        array = as_array(value)
        if array.shape != (self.num_envs, *(space.shape or ())):
            raise ValueError(
                f"{self.env} returned observations{key and f'[{key!r}]'} of shape {array.shape}; "
                f"{(self.num_envs, *(space.shape or ()))} was expected"
            )
        if self._has_fresh_arrays and array.dtype == space.dtype and array.flags.writeable:
            return array
        return np.array(array, dtype=space.dtype)

    def _vector(self, value: Any, dtype: Any, name: str) -> np.ndarray:
        array = np.array(as_array(value), dtype=dtype)
        if array.shape != (self.num_envs,):
            raise ValueError(f"{self.env} returned {name} of shape {array.shape}; ({self.num_envs},) was expected")
        return array

    def _infos_of(self, columns: Mapping[str, Any]) -> list[dict[str, Any]]:
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if columns:
            spread_infos(columns, infos, self.num_envs)
        return infos

    def _final_observations(self, columns: Mapping[str, Any], ended: np.ndarray) -> Any:
        """The last observations of the rows that ended, ``[len(ended), …]`` or a dict of those."""
        has_final = as_array(columns.get("_final_obs", np.ones(self.num_envs, dtype=bool)))
        if "final_obs" not in columns or not has_final[ended].all():
            raise ValueError(
                f"{self.env} says that it resets in the same step, but an episode ended and infos['final_obs'] "
                "has no observation of it"
            )
        final, space = columns["final_obs"], self.observation_space
        if not isinstance(space, spaces.Dict):
            return _pick(final, ended).astype(space.dtype, copy=False)
        if not isinstance(final, Mapping):  # one dict for each environment, as Gymnasium's own classes have it
            rows = [final[row] for row in ended.tolist()]
            final = {key: np.stack([as_array(row[key]) for row in rows]) for key in space.spaces}
            ended = np.arange(len(rows))
        return {key: _pick(final[key], ended).astype(part.dtype, copy=False) for key, part in space.spaces.items()}

    def _part_infos(self, columns: Mapping[str, Any], infos: list[dict[str, Any]], ended: np.ndarray) -> None:
        """Parts the info of the step from that of the reset, which the rows that ended have in ``columns`` together."""
        final = columns.get("final_info")
        if final is None:  # the batch has no info on resets: what there is belongs to the step
            for row in ended.tolist():
                self.reset_infos[row] = {}
            return
        if isinstance(final, Mapping):
            step_infos: list[dict[str, Any]] = [{} for _ in ended]
            spread_infos(final, step_infos, self.num_envs, ended)
        else:
            step_infos = [dict(final[row] or {}) for row in ended.tolist()]
        for row, step_info in zip(ended.tolist(), step_infos, strict=True):
            reset_info = infos[row]
            step_info[_TIMEOUT] = reset_info.pop(_TIMEOUT)
            # Gymnasium's vector RecordEpisodeStatistics writes beside the info of the reset, not into final_info.
            if "episode" in reset_info:
                step_info.setdefault("episode", reset_info.pop("episode"))
            infos[row], self.reset_infos[row] = step_info, reset_info

    # --- the environments inside ------------------------------------------------------------------------------------

    def has_attr(self, attr_name: str) -> bool:
        """Whether every environment has the attribute or method."""
        return self._sub_envs.has(attr_name)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of each environment (see the class on native batches).

        Raises:
            AttributeError: If there is none.
        """
        return self._sub_envs.get(attr_name, self._rows(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets the attribute of each environment, on the outermost wrapper as SB3 does.

        Raises:
            ValueError: If ``indices`` name some environments of a native batch that holds one value for all.
        """
        self._sub_envs.set(attr_name, value, self._rows(indices))

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list:
        """Calls a method of each environment (once for all in a native batch) and returns one result for each.

        Raises:
            AttributeError: If there is none.
        """
        return self._sub_envs.call(method_name, self._rows(indices), *method_args, **method_kwargs)

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Whether each environment is wrapped by ``wrapper_class``; false for environments not in this process."""
        return self._sub_envs.is_wrapped(wrapper_class, self._rows(indices))

    def _rows(self, indices: VecEnvIndices) -> list[int]:
        return list(self._get_indices(indices))

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One ``[H, W, 3]`` picture of each environment.

        Raises:
            ValueError: If the batch renders another number of pictures than it has environments.
        """
        if self.render_mode != "rgb_array":
            warnings.warn(f"get_images() needs render_mode='rgb_array'; it is {self.render_mode!r}", stacklevel=2)
            return [None] * self.num_envs
        images: Any = self.env.render()
        if images is None or len(images) != self.num_envs:
            found = "None" if images is None else f"{len(images)} pictures"
            raise ValueError(f"render() of {self.env} returned {found}; {self.num_envs} were expected")
        return list(images)

    def close(self) -> None:
        """Closes the batch."""
        self.env.close()


class _SyncVectorEnv(SyncVectorEnv):
    """A ``SyncVectorEnv`` that hands infos over as the environments gave them.

    Gymnasium's gives all rows the type and shape of the first: 0 and 0.5 become 0 and 0. And an environment that
    writes into its own observation when it is reset would spoil the final one, unless that was copied before.
    """

    def _add_info(self, vector_infos: dict[str, Any], env_info: dict[str, Any], env_num: int) -> dict[str, Any]:
        for key, value in env_info.items():
            column = vector_infos.setdefault(key, np.full(self.num_envs, None, dtype=object))
            mask = vector_infos.setdefault(f"_{key}", np.zeros(self.num_envs, dtype=bool))
            column[env_num] = deepcopy(value)
            mask[env_num] = True
        return vector_infos


def _identity(env: gym.Env) -> gym.Env:
    return env


def _batch_of(env_fns: Any) -> VectorEnv:
    """Makes the environments of a list of functions and batches them."""
    if isinstance(env_fns, gym.Env):
        raise TypeError(
            f"env is a single gymnasium.Env ({env_fns}); a VectorEnv or a list of functions was expected: "
            "SB3VecEnv([lambda: gym.make(…)]) makes a batch of one, gym.make_vec(…) a batch of many"
        )
    if isinstance(env_fns, VecEnv):
        raise TypeError(f"env is an SB3 VecEnv already ({type(env_fns).__name__}): give it to SB3 as it is")
    if isinstance(env_fns, str) or not isinstance(env_fns, Sequence):
        raise TypeError(
            f"env is {env_fns!r} ({type(env_fns).__name__}); a gymnasium.vector.VectorEnv (see gym.make_vec) or a list "
            "of functions that make environments was expected"
        )
    if not env_fns:
        raise ValueError(
            "env is an empty list (num_envs = 0); at least one function that makes an environment was expected"
        )
    for index, env_fn in enumerate(env_fns):
        if not callable(env_fn):
            raise TypeError(
                f"env[{index}] is {env_fn} ({type(env_fn).__name__}); a function that makes an environment was "
                "expected (lambda: gym.make(…))"
            )
    envs = [env_fn() for env_fn in env_fns]
    for index, env in enumerate(envs):
        if not isinstance(env, gym.Env):
            raise TypeError(f"env[{index}]() returned {env!r} ({type(env).__name__}); a gymnasium.Env was expected")
    if len({id(env.unwrapped) for env in envs}) < len(envs):
        raise ValueError(
            "two of the functions in env returned the same environment; each call must make a new one "
            "(lambda: gym.make(…), not lambda: env)"
        )
    return _SyncVectorEnv([partial(_identity, env) for env in envs], autoreset_mode=AutoresetMode.SAME_STEP)


def _resets_itself(env: VectorEnv) -> bool:
    """Whether the batch resets finished rows in the same step, rather than leaving it to the adapter."""
    mode = autoreset_mode(env)
    if mode is AutoresetMode.NEXT_STEP:
        raise ValueError(
            f"{env} resets in the step after the end of an episode (AutoresetMode.NEXT_STEP), so that it has no reset "
            "observation to hand over when SB3 wants one. Make it with autoreset_mode=AutoresetMode.SAME_STEP: "
            "gym.make_vec(…, vectorization_mode='sync', vector_kwargs={'autoreset_mode': AutoresetMode.SAME_STEP}), "
            "or, where the batch is native and takes it, gym.make_vec(…, autoreset_mode=AutoresetMode.SAME_STEP)"
        )
    return mode is AutoresetMode.SAME_STEP


def _check_observation_space(space: spaces.Space[Any]) -> None:
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    for key, part in parts.items():
        if not isinstance(part, _ARRAY_SPACES):
            raise ValueError(
                f"the observation space{key and f' at {key!r}'} is {part}; SB3 can have Box, Discrete, MultiDiscrete, "
                "MultiBinary, or one Dict of those (gymnasium.wrappers.FlattenObservation may help)"
            )


def _one_seed(seeds: Sequence[int | None]) -> Any:
    """The seed to reset a batch with: its first one where the others count on from there, as Gymnasium counts too."""
    first = seeds[0]
    expected = [None if first is None else first + row for row in range(len(seeds))]
    return first if list(seeds) == expected else list(seeds)


def _pick(batch: Any, rows: np.ndarray) -> np.ndarray:
    """Rows of an array ``[num_envs, …]``, or of a sequence of arrays, as a new array."""
    if not isinstance(batch, (list, tuple)):
        array = as_array(batch)
        if array.dtype != object:
            return array[rows]
        batch = array
    return np.stack([as_array(batch[row]) for row in rows.tolist()])


def _take(observations: Any, rows: np.ndarray) -> Any:
    if isinstance(observations, dict):
        return {key: array[rows] for key, array in observations.items()}
    return observations[rows]


def _rows_of(batch: Any, count: int) -> list[Any]:
    if isinstance(batch, dict):
        return [{key: array[row] for key, array in batch.items()} for row in range(count)]
    return list(batch)
