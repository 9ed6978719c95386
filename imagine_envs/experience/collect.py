"""Collecting real experience."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from tqdm.auto import tqdm

from imagine_envs.experience.replay import Replay
from imagine_envs.experience.steppers import Arrival, Stepper, stepper_for

__all__ = ["Collected", "Collector", "collect", "heeds_masks"]


@dataclass(frozen=True)
class Collected:
    """What one call of :meth:`Collector.collect` did.

    Attributes:
        num_steps: Real steps taken.
        episode_returns: The returns of the episodes that ended, in the order of their ends.
        episode_lengths: Their steps.
        stopped: Whether ``on_step`` asked to stop.
    """

    num_steps: int
    episode_returns: list[float]
    episode_lengths: list[int]
    stopped: bool


class Collector:
    """Steps an environment and keeps it running between calls, so that no episode is cut when learning takes turns.

    A reset is recorded when the first action is taken after it, so that no stream ends in a lone ``first`` record. An
    episode in progress stays open in the replay; a later collector resets the environment, and its first record
    follows the open episode with ``first`` set.

    Where the environment has a method ``action_masks`` (sb3-contrib's convention), the column ``action_mask`` holds
    the actions that are legal in each record's observation (all of them where the episode has ended).

    Where it has an attribute ``replay_columns`` (name → shape and type), the infos of its steps hold entries of these
    names, which become columns too: of each record those of the step that led there, zeros in ``first`` records.
    MiniPacman's ``events`` are such a column.

    Args:
        env: An environment's id, a ``gymnasium.Env``, a Gymnasium ``VectorEnv`` (of any autoreset mode) or a
            Stable-Baselines3 ``VecEnv``.
        replay: Where to add; None makes a new one, with a stream for each environment.
        seed: Of the first reset and of random actions.

    Attributes:
        replay: What was collected.
        num_envs: Environments stepped together.

    Raises:
        ValueError: If the id is unknown, or the replay is of other spaces, another environment or another number.
        TypeError: If ``env`` is no environment.

    Example:
        >>> collector = Collector("CartPole-v1", seed=0)
        >>> collector.collect(None, 200).num_steps
        200
        >>> collector.collect(model, 200).episode_returns  # goes on where the last call stopped
    """

    def __init__(self, env: Any, replay: Replay | None = None, seed: int | None = None) -> None:
        self._owned = isinstance(env, str)
        self._stepper = stepper_for(_make(env) if isinstance(env, str) else env)
        self.env = self._stepper.env
        self.num_envs = self._stepper.num_envs
        self.replay = _replay_for(self._stepper, replay)
        self._seed = seed
        self._random = batch_space(self._stepper.action_space, self.num_envs)
        self._random.seed(seed)
        self._rng = np.random.default_rng(seed)
        self._observation: Any = None
        self._begins = np.ones(self.num_envs, bool)  # the environment stands at the first observation of an episode
        self._unrecorded = np.ones(self.num_envs, bool)  # and the replay does not know it yet
        self._masks: NDArray[np.bool_] | None = None
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)
        self._policy: Any = None
        self._policy_state: Any = None

    def collect(
        self,
        policy: Any = None,
        steps: int = 1,
        *,
        deterministic: bool = False,
        on_step: Callable[..., bool] | None = None,
        progress: bool = False,
    ) -> Collected:
        """Takes real steps and adds them to :attr:`replay`.

        Args:
            policy: None acts at random (among the legal actions, where there are masks). Anything with SB3's
                ``predict(observation, state, episode_start, deterministic)`` is asked for batches, and its state is
                kept between calls. Any other callable maps a batch of observations to a batch of actions, or one
                observation to one action for a ``gymnasium.Env``.
            steps: Real steps of all environments together. They step together, so that up to ``num_envs - 1`` more
                may be taken; what was taken is recorded and counted.
            deterministic: Whether a policy with ``predict`` takes its most likely action.
            on_step: Called after each step with ``new_obs``, ``actions``, ``rewards``, ``dones``, ``infos`` (batches,
                named and laid out as in SB3) and ``num_steps`` (real steps of this batch: not those rows that were
                only reset); collection stops where it returns False.
            progress: Whether to show a progress bar.

        Returns:
            What was done.

        Raises:
            ValueError: If ``steps`` is below 1, if the policy has other spaces than the environment or gives actions
                of another shape, or if an observation or a reward is NaN or infinite.
        """
        if steps < 1:
            raise ValueError(f"steps is {steps}; at least 1 was expected")
        act = self._actor(policy, deterministic)
        taken, returns, lengths, stopped = 0, [], [], False
        with tqdm(total=steps, unit="step", desc="collecting", disable=not progress) as bar:
            try:
                if self._observation is None:
                    self._reset()
                while taken < steps and not stopped:
                    if self._unrecorded.any():
                        rows = np.flatnonzero(self._unrecorded)
                        self.replay.add_reset(_rows(self._observation, rows), envs=rows, **self._columns(rows))
                        self._unrecorded[:] = False
                    action = act()
                    arrival = self._step(action)
                    stepped = int(arrival.stepped.sum())
                    for row in np.flatnonzero(arrival.terminated | arrival.truncated):
                        returns.append(float(self._returns[row]))
                        lengths.append(int(self._lengths[row]))
                        self._returns[row], self._lengths[row] = 0, 0
                    taken += stepped
                    bar.update(stepped)
                    if on_step is not None:
                        stopped = not on_step(
                            new_obs=arrival.current,
                            actions=action,
                            rewards=arrival.reward,
                            dones=arrival.terminated | arrival.truncated,
                            infos=arrival.infos(),
                            num_steps=stepped,
                        )
            except BaseException:
                # The environment may have moved on unseen: the next call starts it anew.
                self._observation = None
                raise
        return Collected(taken, returns, lengths, stopped)

    def close(self) -> None:
        """Closes the environment, if this object made it."""
        if self._owned:
            self.env.close()

    def _reset(self) -> None:
        self._observation = self._stepper.reset(self._seed)
        self._seed = None
        self._masks = self._stepper.masks() if self._stepper.has_masks else None
        self._begins, self._unrecorded = np.ones(self.num_envs, bool), np.ones(self.num_envs, bool)
        self._returns[:], self._lengths[:] = 0, 0

    def _step(self, action: NDArray) -> Arrival:
        """One step of all environments, and its records."""
        arrival = self._stepper.step(action)
        ended = arrival.terminated | arrival.truncated
        masks = self._stepper.masks() if self._stepper.has_masks else None
        self._masks = None if masks is None else masks | ended[:, None]
        rows = np.flatnonzero(arrival.stepped)
        self.replay.add(
            _rows(arrival.observation, rows),
            action[rows],
            arrival.reward[rows],
            arrival.terminated[rows],
            arrival.truncated[rows],
            np.zeros(len(rows), bool),
            envs=rows,
            **self._columns(rows, arrival),
        )
        if masks is not None:
            # From here on the legal actions of where the environments stand now. A row that still waits for its reset
            # may have none, and its action will be ignored.
            self._masks = masks | (ended & ~arrival.restarted)[:, None]
        self._returns[rows] += arrival.reward[rows]
        self._lengths[rows] += 1
        self._observation = arrival.current
        self._begins, self._unrecorded = arrival.restarted, arrival.restarted.copy()
        return arrival

    def _columns(self, rows: NDArray[np.int64], arrival: Arrival | None = None) -> dict[str, Any]:
        """The replay's columns in the records of some environments, ``[R, …]``; without an arrival these are resets."""
        columns: dict[str, Any] = {} if self._masks is None else {"action_mask": self._masks[rows]}
        infos = arrival.infos() if arrival is not None and self._stepper.columns else []
        for name, (shape, dtype) in self._stepper.columns.items():
            if arrival is None or not len(rows):
                columns[name] = np.zeros((len(rows), *shape), dtype)
                continue
            missing = [row for row in rows.tolist() if name not in infos[row]]
            if missing:
                raise ValueError(
                    f"the info of a step of environment {missing[0]} has no {name!r}, which its replay_columns promise"
                )
            columns[name] = np.stack([np.asarray(infos[row][name]) for row in rows.tolist()])
        return columns

    def _actor(self, policy: Any, deterministic: bool) -> Callable[[], NDArray]:
        """Checks the policy, and gives a function that chooses the next actions ``[N, …]``."""
        stepper = self._stepper
        if policy is None:
            return self._random_action
        if hasattr(policy, "predict"):
            _check_spaces(policy, stepper)
            options = {"deterministic": deterministic}
            with_masks = heeds_masks(policy)

            def predict() -> NDArray:
                anew = policy is not self._policy
                self._policy, state = policy, None if anew else self._policy_state
                masks = {"action_masks": self._masks} if with_masks and self._masks is not None else {}
                action, self._policy_state = policy.predict(
                    self._observation, state=state, episode_start=self._begins | anew, **options, **masks
                )
                return self._checked(action)

            return predict
        if callable(policy):
            if stepper.batched:
                return lambda: self._checked(policy(self._observation))
            return lambda: self._checked(np.asarray(policy(_rows(self._observation, 0)))[None])
        raise TypeError(f"policy is a {type(policy).__name__}; None, an object with predict or a callable was expected")

    def _checked(self, action: Any) -> NDArray:
        action = np.asarray(action)
        expected = (self.num_envs, *(self._stepper.action_space.shape or ()))
        if action.shape != expected:
            raise ValueError(f"policy gave actions of the shape {action.shape}; {expected} was expected")
        return action

    def _random_action(self) -> NDArray:
        if self._masks is None:
            return np.asarray(self._random.sample())
        space = self._stepper.action_space
        if not self._masks.any(axis=1).all():
            raise ValueError("action_masks() allows no action at all")
        sizes = _choices(space)
        columns, begin = [], 0
        for size in sizes:
            mask = self._masks[:, begin : begin + size]
            columns.append(np.where(mask, self._rng.random(mask.shape), -1).argmax(axis=1))
            begin += size
        start = getattr(space, "start", 0)
        if isinstance(space, spaces.Discrete):
            return columns[0] + start
        assert space.shape is not None
        return np.stack(columns, axis=1).reshape(self.num_envs, *space.shape) + start


def collect(
    env: Any,
    policy: Any = None,
    *,
    steps: int,
    seed: int | None = None,
    replay: Replay | None = None,
    progress: bool = False,
    deterministic: bool = False,
) -> Replay:
    """Collects real experience.

    Args:
        env: An environment's id, a ``gymnasium.Env``, a Gymnasium ``VectorEnv`` or a Stable-Baselines3 ``VecEnv``.
        policy: None (at random), anything with SB3's ``predict``, or a callable; see :meth:`Collector.collect`.
        steps: Real steps of all environments together; up to ``num_envs - 1`` more, since they step together.
        seed: Of the first reset and of random actions.
        replay: Where to add; None makes a new one. An episode that is open in it stays open: the environment is reset,
            and the first record is marked ``first``.
        progress: Whether to show a progress bar.
        deterministic: Whether a policy with ``predict`` takes its most likely action.

    Returns:
        The replay.

    Raises:
        ValueError: As :class:`Collector` and :meth:`Collector.collect`.

    Example:
        >>> replay = collect("CartPole-v1", steps=500, seed=0)
        >>> replay.num_steps
        500
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; at least 1 was expected")
    collector = Collector(env, replay, seed)
    try:
        collector.collect(policy, steps, deterministic=deterministic, progress=progress)
    finally:
        collector.close()
    return collector.replay


def heeds_masks(policy: Any) -> bool:
    """Whether ``predict`` takes ``action_masks``, as that of sb3-contrib's MaskablePPO."""
    return "action_masks" in inspect.signature(policy.predict).parameters


def _make(env_id: str) -> gym.Env[Any, Any]:
    try:
        return gym.make(env_id)
    except (gym.error.Error, ModuleNotFoundError) as error:
        raise ValueError(f"env: cannot make {env_id!r}: {error}") from error


def _replay_for(stepper: Stepper, replay: Replay | None) -> Replay:
    """The given replay, if it suits the environment, or a new one."""
    env_id, env_kwargs, max_episode_steps = stepper.identity()
    columns = dict(stepper.columns)
    if stepper.has_masks:
        columns["action_mask"] = ((sum(_choices(stepper.action_space)),), bool)
    if replay is None:
        replay = Replay(stepper.observation_space, stepper.action_space, num_envs=stepper.num_envs, columns=columns)
    for name in ("observation_space", "action_space"):
        if getattr(replay, name) != getattr(stepper, name):
            raise ValueError(
                f"the replay's {name} is {getattr(replay, name)}; the environment's is {getattr(stepper, name)}"
            )
    if replay.num_envs != stepper.num_envs:
        raise ValueError(f"the replay has {replay.num_envs} streams; the environment needs num_envs={stepper.num_envs}")
    if set(replay.columns) != set(columns):
        raise ValueError(
            f"the replay has the columns {sorted(replay.columns)}; the environment gives {sorted(columns)}"
        )
    if replay.env_id is None and not len(replay):
        replay.env_id, replay.env_kwargs, replay.max_episode_steps = env_id, env_kwargs, max_episode_steps
    elif (
        env_id is not None and replay.env_id is not None and (replay.env_id, replay.env_kwargs) != (env_id, env_kwargs)
    ):
        raise ValueError(
            f"the replay is of {replay.env_id} {replay.env_kwargs}; the environment is {env_id} {env_kwargs}"
        )
    return replay


def _choices(space: gym.Space[Any]) -> list[int]:
    """How many options each component of a masked action has; the mask is one after the other."""
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        return [int(size) for size in space.nvec.reshape(-1)]
    if isinstance(space, spaces.MultiBinary):
        return [2] * int(np.prod(space.shape))
    raise ValueError(
        f"the environment has action_masks(), but its action space is {space}; a discrete one was expected"
    )


def _check_spaces(policy: Any, stepper: Stepper) -> None:
    from stable_baselines3.common.preprocessing import is_image_space
    from stable_baselines3.common.vec_env import VecTransposeImage

    for name in ("observation_space", "action_space"):
        has, needs = getattr(policy, name, None), getattr(stepper, name)
        if has is None or has == needs:
            continue
        # SB3 trains on images with the channels first and turns those that it is asked about by itself.
        images = name == "observation_space" and isinstance(needs, (spaces.Box, spaces.Dict))
        if images and any(map(is_image_space, getattr(needs, "spaces", {"": needs}).values())):
            turned = (
                VecTransposeImage.transpose_space(needs)
                if isinstance(needs, spaces.Box)
                else spaces.Dict(
                    {
                        k: VecTransposeImage.transpose_space(v) if is_image_space(v) else v
                        for k, v in needs.spaces.items()
                    }
                )
            )
            if has == turned:
                continue
        raise ValueError(f"the policy's {name} is {has}; the environment's is {needs}")


def _rows(observation: Any, rows: Any) -> Any:
    if isinstance(observation, dict):
        return {key: value[rows] for key, value in observation.items()}
    return observation[rows]
