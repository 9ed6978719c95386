"""What a policy earns in dreams and in reality, and whether it exploits the model."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from tqdm.auto import tqdm

from imagine_envs.dreams.acting import Actor
from imagine_envs.dreams.dream import DEFAULT_HORIZON, Dream
from imagine_envs.dreams.filter import Filter
from imagine_envs.dreams.vector_env import DreamVectorEnv
from imagine_envs.experience.collect import Collector, heeds_masks
from imagine_envs.experience.replay import Replay
from imagine_envs.world_models.world import World

__all__ = ["NoEnvironmentError", "PolicyOf", "compare", "dream_returns", "environment_of", "real_experience", "said"]


class PolicyOf:
    """A policy for dreams and reality of one world, whatever it is made of.

    Args:
        policy: None (at random), anything with SB3's ``predict``, or a callable from a batch of observations to a batch
            of actions. One whose observation space is that of the latent dream sees features, in reality too.
        world: The world.
        deterministic: Whether a policy with ``predict`` takes its most likely action.
        seed: Of random actions and of the filter.

    Attributes:
        name: "random", or the name of its class or function.
        latent: Whether it sees features.
        deterministic: As given.

    Raises:
        ValueError: If the policy has other spaces than the world.
        TypeError: If it is no policy.
    """

    def __init__(self, policy: Any, world: World, deterministic: bool, seed: int) -> None:
        self._policy, self._world, self._seed = policy, world, seed
        self.deterministic = deterministic
        self.latent = not world.model.can_decode
        if policy is None:
            self.name = "random"
            return
        self.name = getattr(policy, "__name__", type(policy).__name__)
        if not hasattr(policy, "predict"):
            if not callable(policy):
                raise TypeError(
                    f"policy is a {type(policy).__name__}; None, an object with predict or a callable was expected"
                )
            return
        self.latent = self._sees_features()

    def for_dreams(self, num_envs: int) -> Any:
        """The policy as an object with ``predict``, for dreams of its kind."""
        if self._policy is None:
            return _AtRandom(self._world.action_space, num_envs, self._seed)
        return self._policy if hasattr(self._policy, "predict") else _Function(self._policy)

    def for_reality(self) -> Any:
        """The policy as :class:`~imagine_envs.experience.Collector` takes it, for the real environment."""
        if self._policy is None:
            return None
        policy = self.for_dreams(1)
        return Actor(policy, self._world, seed=self._seed) if self.latent else policy

    def _sees_features(self) -> bool:
        """Whether the policy's spaces are those of the latent dream, or of the world itself."""
        world, policy = self._world, self._policy
        has, acts = getattr(policy, "observation_space", None), getattr(policy, "action_space", None)
        if acts is not None and acts != world.action_space:
            raise ValueError(f"the policy's action_space is {acts}; the world's is {world.action_space}")
        if has is None:
            return not world.model.can_decode
        features = Filter(world).observation_space
        if world.model.can_decode and has in (world.observation_space, _channels_first(world.observation_space)):
            return False
        if has == features:
            return True
        raise ValueError(
            f"the policy's observation_space is {has}; the world's is {world.observation_space} (and {features} where "
            "its features are observed)"
        )


class _Function:
    """A function from a batch of observations to a batch of actions."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def predict(self, observation: Any, **_: Any) -> tuple[Any, None]:
        return self._function(observation), None


class _AtRandom:
    """Random actions, among the valid ones where there are masks."""

    def __init__(self, space: spaces.Space[Any], num_envs: int, seed: int) -> None:
        self._start = getattr(space, "start", 0)
        self._random = batch_space(space, max(1, num_envs))
        self._random.seed(seed)
        self._rng = np.random.default_rng(seed)

    def predict(self, observation: Any, *, action_masks: np.ndarray | None = None, **_: Any) -> tuple[Any, None]:
        if action_masks is None:
            return self._random.sample(), None
        return np.where(action_masks, self._rng.random(action_masks.shape), -1).argmax(1) + self._start, None


def _masks(envs: DreamVectorEnv, policy: Any) -> dict[str, Any]:
    """The valid actions, where the world predicts them and the policy wants them."""
    if not heeds_masks(policy):
        return {}
    try:
        return {"action_masks": envs.action_masks()}
    except AttributeError:
        return {}


def _channels_first(space: spaces.Space[Any]) -> spaces.Space[Any] | None:
    """The space that SB3 trains in where there are images with the channels last; it turns them by itself."""
    from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
    from stable_baselines3.common.vec_env import VecTransposeImage

    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: _channels_first(part) or part for key, part in space.spaces.items()})
    if isinstance(space, spaces.Box) and is_image_space(space) and not is_image_space_channels_first(space):
        return VecTransposeImage.transpose_space(space)
    return None


# --- reality --------------------------------------------------------------------------------------------------------


class NoEnvironmentError(ValueError):
    """The real environment of a world is not to be had."""


def environment_of(world: World) -> gym.Env:
    """The real environment that a world is a world of.

    Raises:
        NoEnvironmentError: If its id is not known, or there is no such environment here.
    """
    spec = world.spec
    if spec.env_id is None:
        raise NoEnvironmentError("the world does not know its environment's id; give env, the real environment")
    try:
        return gym.make(spec.env_id, max_episode_steps=spec.max_episode_steps, **spec.env_kwargs)
    except (gym.error.Error, ModuleNotFoundError) as error:
        raise NoEnvironmentError(
            f"cannot make {spec.env_id!r}, of which this is a world ({error}); give env, the real environment"
        ) from error


def real_experience(
    env: Any, policy: PolicyOf, world: World, *, episodes: int, steps: int, seed: int, progress: bool
) -> tuple[Replay, list[float], int]:
    """Lets the policy act until enough episodes have ended and enough steps were taken.

    Every environment of a batch contributes its first episodes, as many as the others: those that end early must not
    count more often.

    Returns:
        Everything that was seen, the returns (fewer than ``episodes`` if episodes do not end), and the steps of an
        episode at most: the environment's limit, the world's where it has none, or 1,000.

    Raises:
        ValueError: If the environment has other spaces than the world.
    """
    limit = world.spec.max_episode_steps or DEFAULT_HORIZON
    if isinstance(env, gym.Env) and getattr(env.spec, "max_episode_steps", None) is None:
        env = gym.wrappers.TimeLimit(env, limit)  # else an episode might go on for ever
    collector = Collector(env, seed=seed)
    limit = collector.replay.max_episode_steps or limit
    for name in ("observation_space", "action_space"):
        found, expected = getattr(collector.replay, name), getattr(world, name)
        if found != expected:
            raise ValueError(f"the environment's {name} is {found}; the world's is {expected}")
    quota = -(-episodes // collector.num_envs)
    returns: list[list[float]] = [[] for _ in range(collector.num_envs)]
    totals = np.zeros(collector.num_envs)
    taken = 0
    with tqdm(total=max(steps, 1), desc="real steps", unit="step", disable=not progress) as bar:

        def on_step(*, rewards: Any, dones: Any, num_steps: int, **_: Any) -> bool:
            nonlocal taken
            totals[:] += rewards
            for row in np.flatnonzero(dones):
                returns[row].append(float(totals[row]))
                totals[row] = 0
            taken += num_steps
            bar.update(num_steps)
            return taken < steps or min(map(len, returns)) < quota

        most = steps + (quota + 1) * limit * collector.num_envs
        try:
            collector.collect(policy.for_reality(), most, deterministic=policy.deterministic, on_step=on_step)
        finally:
            collector.close()
    return collector.replay, [value for row in returns for value in row[:quota]], limit


# --- dreams ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def dream_returns(
    world: World, policy: PolicyOf, *, dreams: int, horizon: int, seed: int, progress: bool
) -> tuple[list[float], list[int]]:
    """Returns and lengths of the first episode of each of ``dreams`` dreams that begin at real resets."""
    dream = Dream(world, observation="latent" if policy.latent else "decoded", horizon=horizon, starts="initial")
    envs = DreamVectorEnv(dream, dreams)
    observation, _ = envs.reset(seed=seed)
    actor = policy.for_dreams(dreams)
    returns, lengths = np.zeros(dreams), np.zeros(dreams, dtype=np.int64)
    state, start, alive = None, np.ones(dreams, dtype=bool), np.ones(dreams, dtype=bool)
    with tqdm(total=dreams, desc="dreams", unit="dream", disable=not progress) as bar:
        while alive.any():
            action, state = actor.predict(
                observation, state=state, episode_start=start, deterministic=policy.deterministic, **_masks(envs, actor)
            )
            observation, reward, terminated, truncated, _ = envs.step(action)
            returns += np.where(alive, reward, 0)
            lengths += alive
            start = terminated | truncated
            bar.update(int((alive & start).sum()))
            alive &= ~start
    return returns.tolist(), lengths.tolist()


def compare(dream: list[float], real: list[float]) -> dict[str, Any]:
    """Dream return against real return, and whether the difference is an alarm.

    The policy exploits the model if it earns more in dreams than in reality, by more than two standard errors of the
    difference and by more than 10 % of the scale of the real returns (their absolute mean or their spread, whichever is
    larger).

    Returns:
        JSON types.
    """
    means, spreads = ([float(of(values)) for values in (dream, real)] for of in (np.mean, _spread))
    difference = means[0] - means[1]
    error = float(np.sqrt(spreads[0] ** 2 / len(dream) + spreads[1] ** 2 / len(real)))
    margin = max(2 * error, 0.1 * max(abs(means[1]), spreads[1]))
    exploited = difference > margin
    told = " and ".join(
        f"{said(mean)} ± {said(spread)} in {len(values)} {what}"
        for mean, spread, values, what in zip(means, spreads, (dream, real), ("dreams", "real episodes"), strict=True)
    )
    if exploited:
        message = (
            f"ALARM: the policy exploits the model. It earns {told}. Collect real steps with this policy and fit "
            "again, or train it with uncertainty_penalty or halt_uncertainty."
        )
    elif difference < -margin:
        message = f"The dream is harder than reality: the policy earns {told}."
    else:
        message = f"Dream and reality agree: the policy earns {told}."
    return {
        "dream": {"mean": means[0], "std": spreads[0], "returns": dream},
        "real": {"mean": means[1], "std": spreads[1], "returns": real},
        "difference": difference,
        "margin": margin,
        "exploited": exploited,
        "message": message,
    }


def _spread(values: list[float]) -> float:
    """Standard deviation of the population that ``values`` are a sample of."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def said(value: float) -> str:
    """A return for people."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
