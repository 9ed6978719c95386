"""The Doom tasks in the real engine; where ViZDoom is not installed, only that one is told so."""

from __future__ import annotations

import importlib.util
import pickle
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import imagine_envs  # noqa: F401 (registers the ids)

NAMES = ("TakeCover", "Basic", "HealthGathering", "MyWayHome")
every_name = pytest.mark.parametrize("name", NAMES)
engine_only = pytest.mark.skipif(importlib.util.find_spec("vizdoom") is None, reason="vizdoom is not installed")


def made(name: str, **kwargs: Any) -> Any:
    return gym.make(f"Imagine/Doom{name}-v0", backend="vizdoom", **kwargs)


@every_name
def test_a_missing_extra_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    monkeypatch.delitem(sys.modules, "imagine_envs.tasks.doom.engine", raising=False)
    for make in (gym.make, gym.make_vec):
        with pytest.raises(ImportError, match=r"pip install 'imagine-rl\[doom\]'"):
            make(f"Imagine/Doom{name}-v0", backend="vizdoom")  # type: ignore[operator]


@engine_only
@every_name
def test_both_checkers_say_nothing(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = made(name, render_mode="rgb_array")
        gymnasium_check_env(env.unwrapped, skip_render_check=True)
        sb3_check_env(env)
        env.close()


@engine_only
@every_name
def test_spaces_and_limits_are_those_of_the_native_task(name: str) -> None:
    env, native = (
        made(name, size=(48, 64), frame_skip=4),
        gym.make(f"Imagine/Doom{name}-v0", size=(48, 64), frame_skip=4),
    )
    assert env.observation_space == native.observation_space
    assert env.action_space == native.action_space
    assert env.unwrapped.max_steps == native.unwrapped.max_steps  # type: ignore[attr-defined]
    assert env.metadata["render_modes"] == native.metadata["render_modes"]
    observation, info = env.reset(seed=0)
    expected, expected_info = native.reset(seed=0)
    assert observation.shape == expected.shape
    assert {key: type(value) for key, value in info.items()} == {
        key: type(value) for key, value in expected_info.items()
    }
    assert info == expected_info
    env.close()


@engine_only
def test_death_shows_the_last_picture_and_terminates() -> None:
    env = made("TakeCover")
    observation, _ = env.reset(seed=2)
    total, terminated = 0.0, False
    while not terminated:
        last = observation
        observation, reward, terminated, truncated, info = env.step(0)
        total += reward
        assert not truncated
        assert reward == 1
    assert np.array_equal(observation, last)
    assert observation.mean() > 40
    assert info == {"health": 0}
    assert total > 45
    again, info = env.reset()
    assert info == {"health": 100}
    assert not np.array_equal(again, observation)
    env.close()


@engine_only
def test_the_limit_truncates_and_shows_what_there_is() -> None:
    env = made("Basic", max_steps=3)
    env.reset(seed=0)
    ends = [env.step(2)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    env.close()


@engine_only
def test_a_seed_plays_the_same_again() -> None:
    env = made("HealthGathering")
    first, _ = env.reset(seed=5)
    second, _ = env.reset()
    assert np.array_equal(env.reset(seed=5)[0], first)
    assert np.array_equal(env.reset()[0], second)
    again = pickle.loads(pickle.dumps(env.unwrapped))
    assert np.array_equal(again.reset(seed=5)[0], first)
    again.close()
    env.close()


@engine_only
def test_pictures_and_bad_input() -> None:
    env = made("MyWayHome", render_mode="rgb_array", render_size=320)
    with pytest.raises(RuntimeError, match="call reset"):
        env.unwrapped.step(0)
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (240, 320, 3)
    assert picture.mean() > 10
    with pytest.raises(ValueError, match="are not all in Discrete"):
        env.unwrapped.step(6)
    with pytest.raises(ValueError, match="integers were expected"):
        env.unwrapped.step(0.5)
    env.close()
    with pytest.raises(ValueError, match="render_mode='ansi'"):
        made("MyWayHome", render_mode="ansi")
    with pytest.raises(ValueError, match="frame_skip=0"):
        made("MyWayHome", frame_skip=0)


@engine_only
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_a_batch_restarts_by_itself(mode: AutoresetMode) -> None:
    envs = gym.make_vec("Imagine/DoomBasic-v0", 2, backend="vizdoom", max_steps=4, autoreset_mode=mode)
    envs.reset(seed=0)
    truncated = [envs.step(np.array([0, 1]))[3].tolist() for _ in range(5)]
    assert truncated == [[False, False]] * 3 + [[True, True]] + [[False, False]]
    assert envs.metadata["autoreset_mode"] is mode
    envs.close()


@engine_only
@every_name
def test_native_players_move_as_the_engine_s(name: str) -> None:
    from zoo.parity.doom import movement

    found = movement(name, 2, seed=3)
    assert found["tics"] == 600
    assert found["worst"] < 0.01
    assert found["eyes_worst"] < 0.01


@engine_only
def test_native_fireballs_fly_and_shots_fall_as_the_engine_s() -> None:
    from zoo.parity.doom import imps_and_fireballs, shots

    found = imps_and_fireballs(1, seed=0)["flights"]
    assert found["fireballs"] > 60
    assert found["same_end"] == 1
    assert found["worst"] < 1e-3
    assert shots(3, seed=0)["alike"] == 1


@engine_only
def test_the_whole_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.parity import doom

    way = {"steps": 2, "native": 1.0, "engine": 1.0, "apart": 0.0}
    monkeypatch.setattr(doom, "home", lambda seed: way)  # it may take hundreds of episodes to begin at the right spot
    report = doom.compare(episodes=2, seed=1)
    missed = {check.name for check in report.checks if not check.holds}
    assert not any("distance" in name or "fireballs that" in name or "shots" in name for name in missed)
    assert report.results["home"] is way
    assert len(report.checks) == 22
    assert report.picture.shape[1] == 4 * 256 + 3 * 4
