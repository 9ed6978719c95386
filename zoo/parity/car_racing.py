"""CarRacing natively against CarRacing-v3 on Box2D.

1. A scripted driver (:class:`~zoo.parity.driver.Driver`) plays on Box2D. Its actions are replayed natively with
   the same seeds: how far apart are the poses, over the first 100 frames and over the whole episode, the rewards, the
   ends, and the tiles that were visited?
2. So are actions that nobody would take: random ones, held for eight frames, off the road as well as on it.
3. The driver plays the same tracks natively, seeing what happens there: are the returns the same?
4. Pictures of both engines, every ten frames of some of these episodes, in both sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import imagine_envs  # noqa: F401 - registers the ids
from zoo.parity.driver import Driver
from zoo.parity.report import Check, Report, strip

__all__ = ["compare"]

_EPISODES = 100
_FIRST = 100
"""Frames over which poses are held against their targets."""
_PICTURED = 5
_EVERY = 10
_HELD = 8
_SHOWN = (1, 40, 100, 200, 400, 600)
"""Frames of the strip."""

Policy = Callable[[NDArray[np.float64]], NDArray[np.float32] | None]
"""From the pose to an action, None where there are no more."""


@dataclass
class _Episode:
    """What happened in one, frame by frame, from the reset on."""

    track: NDArray[np.float64]
    poses: list[NDArray[np.float64]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    actions: list[NDArray[np.float32]] = field(default_factory=list)
    visits: list[NDArray[np.bool_]] = field(default_factory=list)
    """After the first frames, and at the end."""
    terminated: bool = False


def compare(*, episodes: int | None = None, seed: int = 0, progress: bool = False) -> Report:
    """Plays both.

    Args:
        episodes: Tracks; None takes 100.
        seed: Of the first one; the others follow.
        progress: Whether to show a progress bar.

    Raises:
        ImportError: If Box2D is not installed.
    """
    count = _EPISODES if episodes is None else episodes
    native = _Engine("native")
    box2d = _Engine("box2d", draws=False)
    driven, replayed, again, wild, wild_again = [], [], [], [], []
    for number in tqdm(range(seed, seed + count), unit=" tracks", disable=not progress):
        driven.append(box2d.play(number, _driver))
        replayed.append(native.play(number, _recorded(driven[-1])))
        again.append(native.play(number, _driver))
        wild.append(box2d.play(number, _random(number)))
        wild_again.append(native.play(number, _recorded(wild[-1])))
    differences = {
        "driven": _differences(driven, replayed),
        "random actions": _differences(wild, wild_again),
    }
    on_box2d = np.array([sum(episode.rewards) for episode in driven])
    natively = np.array([sum(episode.rewards) for episode in again])
    returns = {
        "box2d": {"mean": float(on_box2d.mean()), "std": float(on_box2d.std())},
        "native": {"mean": float(natively.mean()), "std": float(natively.std())},
        "largest_difference": float(np.abs(on_box2d - natively).max()),
    }
    pictures, picture = _pictures(driven[:_PICTURED], seed)
    track = max(_track_error(one.track, other.track) for one, other in zip(driven, replayed, strict=True))
    first = differences["driven"]["first_frames"]
    checks = (
        Check("tracks, largest difference", track, "<=", 1e-3, "units"),
        Check(f"position over {_FIRST} frames of driving, mean", first["position"]["mean"], "<=", 0.5, "units"),
        Check(f"heading over {_FIRST} frames of driving, mean", first["heading"]["mean"], "<=", 3.0, "degrees"),
        Check("tiles visited by both, of those by either", 100 * differences["driven"]["same_tiles"], ">=", 99.0, "%"),
        Check("return of the driver, difference of the means",
              100 * abs(float(natively.mean() / on_box2d.mean()) - 1), "<=", 3.0, "%"),
    )  # fmt: skip
    results = {
        "episodes": count,
        "seed": seed,
        "largest_track_difference": track,
        "replays": differences,
        "returns_of_the_driver": returns,
        "pictures": pictures,
    }
    return Report("car-racing", checks, results, picture)


# --- playing ----------------------------------------------------------------------------------------------------------


class _Engine:
    """One of the two, with what both can be asked for."""

    def __init__(self, backend: str, **options: Any) -> None:
        self.env: Any = gym.make("Imagine/CarRacing-v0", backend=backend, **{"size": 64, **options}).unwrapped
        self._backend = backend

    def visits(self) -> NDArray[np.bool_]:
        """Which tiles were visited."""
        if self._backend == "box2d":
            return np.array([tile.road_visited for tile in self.env.road])
        tiles = self.env.snapshot()["tiles"][0, : len(self.env.track)]
        return np.asarray(tiles & 1 == 1)

    def play(self, seed: int, begin: Callable[[Any], Policy]) -> _Episode:
        """Plays until the end, or until there are no more actions.

        Args:
            seed: Of the reset.
            begin: Makes the policy, from the track.
        """
        _, info = self.env.reset(seed=seed)
        episode = _Episode(np.array(self.env.track), [info["pose"]])
        policy = begin(self.env.track)
        while (action := policy(info["pose"])) is not None:
            _, reward, terminated, truncated, info = self.env.step(action)
            episode.actions.append(action)
            episode.rewards.append(reward)
            episode.poses.append(info["pose"])
            if len(episode.actions) == _FIRST:
                episode.visits.append(self.visits())
            episode.terminated = terminated
            if terminated or truncated:
                break
        episode.visits.append(self.visits())
        return episode


def _driver(track: Any) -> Policy:
    return Driver(track).act


def _recorded(episode: _Episode) -> Callable[[Any], Policy]:
    actions = iter(episode.actions)
    return lambda _: lambda _: next(actions, None)


def _random(seed: int) -> Callable[[Any], Policy]:
    """Random actions, each held for some frames: gas more often than brakes, so that the car gets somewhere."""
    rng, frames = np.random.default_rng(seed), 0
    action = np.zeros(3, np.float32)

    def act(_: NDArray[np.float64]) -> NDArray[np.float32]:
        nonlocal frames, action
        if frames % _HELD == 0:
            steer, gas, brake = rng.uniform(-1, 1), rng.uniform(0, 1), rng.uniform(0, 1)
            action = np.array([steer, gas, brake if rng.random() < 0.2 else 0], np.float32)
        frames += 1
        return action

    return lambda _: act


# --- comparing --------------------------------------------------------------------------------------------------------


def _track_error(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The largest difference of two tracks; infinite if they have not as many tiles."""
    return float(np.abs(one - other).max()) if one.shape == other.shape else float("inf")


def _differences(on_box2d: Sequence[_Episode], natively: Sequence[_Episode]) -> dict[str, Any]:
    """Of episodes with the same actions: poses, rewards, visits and ends."""
    position, heading, rewards, sooner = [], [], [], []
    same, either, ends = 0, 0, 0
    for one, other in zip(on_box2d, natively, strict=True):
        frames = min(len(one.poses), len(other.poses))
        apart = np.array(one.poses[:frames]) - np.array(other.poses[:frames])
        position.append(np.hypot(apart[:, 0], apart[:, 1]))
        heading.append(np.abs(np.degrees(apart[:, 2])))
        rewards.append(np.abs(np.array(one.rewards[: frames - 1]) - np.array(other.rewards[: frames - 1])))
        same += int((one.visits[-1] & other.visits[-1]).sum())
        either += int((one.visits[-1] | other.visits[-1]).sum())
        ends += one.terminated == other.terminated
        sooner.append(abs(len(one.poses) - len(other.poses)))
    first = slice(1, _FIRST + 1)
    return {
        "frames": int(sum(map(len, position))),
        "first_frames": {
            "position": _spread([values[first] for values in position]),
            "heading": _spread([values[first] for values in heading]),
        },
        "whole_episodes": {"position": _spread(position), "heading": _spread(heading)},
        "reward": _spread(rewards),
        "frames_with_another_reward": int(sum((values > 1e-6).sum() for values in rewards)),
        "same_tiles": same / either,
        "same_end": ends / len(on_box2d),
        "largest_difference_of_lengths": max(sooner),
    }


def _spread(values: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    together = np.concatenate(values)
    return {
        "mean": float(together.mean()),
        "median": float(np.median(together)),
        "99%": float(np.quantile(together, 0.99)),
        "largest": float(together.max()),
    }


def _pictures(episodes: Sequence[_Episode], seed: int) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """How far pictures of the same actions are apart, in levels of 255, and a strip of one episode."""
    found: dict[str, Any] = {}
    rows: list[list[NDArray[np.uint8]]] = [[], [], []]
    for size in (64, 96):
        engines = [_Engine(backend, size=size).env for backend in ("box2d", "native")]
        mean, far, worst = [], [], 0
        for number, episode in enumerate(episodes):
            for env in engines:
                env.reset(seed=seed + number)
            for frame, action in enumerate(episode.actions, 1):
                shown = number == 0 and size == 96 and frame in _SHOWN
                seen = _step(engines, action, draws=shown or frame % _EVERY == 0)
                if seen is None:
                    continue
                apart = np.abs(seen[0].astype(np.int64) - seen[1])
                mean.append(apart.mean())
                far.append((apart > 16).mean())
                worst = max(worst, int(apart.max()))
                if shown:
                    pictures = (*seen, np.minimum(4 * apart, 255).astype(np.uint8))
                    for row, picture in zip(rows, pictures, strict=True):
                        row.append(picture)
        found[f"{size}x{size}"] = {
            "pictures": len(mean),
            "mean_difference": float(np.mean(mean)),
            "more_than_16_apart": float(np.mean(far)),
            "largest_difference": worst,
        }
    titles = ("Box2D (CarRacing-v3)", "native, same seed and actions", "difference, four times as bright")
    return found, strip(rows, titles)


def _step(engines: Sequence[Any], action: NDArray[np.float32], draws: bool) -> list[NDArray[np.uint8]] | None:
    """Steps both; Box2D's picture takes 80 times as long as its physics and is drawn only where it is looked at."""
    engines[0].draws = draws
    seen = [env.step(action)[0] for env in engines]
    return seen if draws else None
