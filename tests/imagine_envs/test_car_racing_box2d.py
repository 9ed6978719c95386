"""CarRacing on Box2D, and the native one beside it; skipped where Box2D is not installed."""

from __future__ import annotations

import pickle
import re
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import imagine_envs  # noqa: F401 (registers the ids)
from wrappers import SB3VecEnv, check_vec_env

pytest.importorskip("Box2D")

ID = "Imagine/CarRacing-v0"


def both(**options: Any) -> tuple[Any, Any]:
    """The same task on both engines."""
    options = {"size": 64, **options}
    native, box2d = (gym.make(ID, backend=backend, **options).unwrapped for backend in ("native", "box2d"))
    return native, box2d


def random_actions(seed: int, frames: int) -> list[np.ndarray]:
    """Each is held for six frames; some brake."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform((-1, 0, 0), (1, 1, 1), (frames // 6 + 1, 3)).astype(np.float32)
    actions[:, 2] *= rng.random(len(actions)) < 0.2
    return list(np.repeat(actions, 6, 0)[:frames])


def test_tracks_are_the_same() -> None:
    native, box2d = both()
    for seed in range(25):
        native.reset(seed=seed)
        box2d.draws = False
        box2d.reset(seed=seed)
        assert native.track == [tuple(map(float, tile)) for tile in box2d.track]
    native.reset()
    box2d.reset()
    assert native.track == [tuple(map(float, tile)) for tile in box2d.track], "the next one, without a seed"


@pytest.mark.parametrize("options", [{}, {"pay_start": False}, {"frame_skip": 3}, {"continuous": False}], ids=str)
def test_poses_rewards_visits_and_ends_are_the_same(options: dict[str, Any]) -> None:
    native, box2d = both(**options)
    box2d.draws = False
    for seed in range(4):
        (_, one), (_, other) = native.reset(seed=seed), box2d.reset(seed=seed)
        np.testing.assert_allclose(one["pose"], other["pose"], atol=1e-3)
        native.action_space.seed(seed)
        for action in random_actions(seed, 150 // options.get("frame_skip", 1)):
            chosen = action if options.get("continuous", True) else native.action_space.sample()
            found, expected = native.step(chosen), box2d.step(chosen)
            np.testing.assert_allclose(found[4]["pose"], expected[4]["pose"], atol=0.01)
            assert found[1] == pytest.approx(expected[1])
            assert found[2:4] == expected[2:4]
            assert found[4].keys() == expected[4].keys()
        visited = native.snapshot()["tiles"][0, : len(native.track)] & 1 == 1
        assert np.array_equal(visited, [tile.road_visited for tile in box2d.road])


@pytest.mark.parametrize(
    "options",
    [{}, {"size": 96}, {"grayscale": True}, {"shades": "stays"}, {"shades": "none"}, {"zoom_in": False}],
    ids=str,
)
def test_pictures_are_nearly_the_same(options: dict[str, Any]) -> None:
    native, box2d = both(**options)
    for seed in range(2):
        pairs = [(native.reset(seed=seed)[0], box2d.reset(seed=seed)[0])]
        for frame in range(90):
            action = np.array([np.sin(frame / 9), 0.5, 0], np.float32)
            box2d.draws = frame % 15 == 14
            one, other = native.step(action)[0], box2d.step(action)[0]
            if box2d.draws:
                pairs.append((one, other))
        box2d.draws = True
        for one, other in pairs:
            assert one.shape == other.shape == native.observation_space.shape == box2d.observation_space.shape
            assert one.dtype == other.dtype == np.uint8
            apart = np.abs(one.astype(int) - other)
            assert apart.mean() < 0.5
            assert (apart > 24).mean() < 0.01


def test_at_96_the_picture_is_car_racings_own() -> None:
    env, own = gym.make(ID, backend="box2d", size=96).unwrapped, gym.make("CarRacing-v3").unwrapped
    found, expected = env.reset(seed=3)[0], own.reset(seed=3)[0]
    assert np.array_equal(found, expected)
    for action in random_actions(0, 12):
        found, expected = env.step(action), own.step(action)
        assert np.array_equal(found[0], expected[0])
        assert found[1] == pytest.approx(expected[1])


def test_a_lap_may_end_at_the_first_tile() -> None:
    _, box2d = both(lap_complete_percent=0.9)
    box2d.draws = False
    box2d.reset(seed=0)
    still = np.zeros(3, np.float32)
    assert not box2d.step(still)[2]
    box2d.tile_visited_count = int(0.95 * len(box2d.track))
    _, _, terminated, _, info = box2d.step(still)
    assert (terminated, info["lap_finished"]) == (True, True)


def test_truncation_and_pictures_of_whatever_is_rendered() -> None:
    for mode, shape in (("rgb_array", (400, 600, 3)), ("state_pixels", (64, 64, 3)), (None, None)):
        env = gym.make(ID, backend="box2d", size=64, max_steps=2, render_mode=mode).unwrapped
        with pytest.raises(RuntimeError, match="reset"):
            env.step(np.zeros(3, np.float32))
        env.reset(seed=0)
        picture: Any = env.render()
        assert (None if picture is None else picture.shape) == shape
        assert [env.step(np.zeros(3, np.float32))[2:4] for _ in range(2)] == [(False, False), (False, True)]


@pytest.mark.parametrize("options", [{}, {"continuous": False, "grayscale": True, "size": 96}], ids=str)
def test_the_checkers_have_nothing_to_say(options: dict[str, Any]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gymnasium_check_env(gym.make(ID, backend="box2d", **options).unwrapped, skip_render_check=True)
        sb3_check_env(gym.make(ID, backend="box2d", render_mode="rgb_array", **options), warn=True)
    said = [re.sub(r"\x1b\[\d+m", "", str(warning.message)) for warning in caught]
    known = "We recommend you to use a symmetric and normalized Box action space"
    assert [message for message in said if known not in message] == []


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_both_make_batches_that_play_alike(mode: AutoresetMode) -> None:
    options: dict[str, Any] = {"size": 64, "max_steps": 4, "autoreset_mode": mode}
    native, box2d = gym.make_vec(ID, 2, **options), gym.make_vec(ID, 2, backend="box2d", **options)
    assert isinstance(box2d, SyncVectorEnv)
    assert native.single_action_space == box2d.single_action_space
    assert native.single_observation_space == box2d.single_observation_space
    assert native.metadata["autoreset_mode"] == box2d.metadata["autoreset_mode"] == mode
    native.reset(seed=1)
    box2d.reset(seed=1)
    for action in random_actions(1, 9):
        found, expected = native.step(np.stack([action] * 2)), box2d.step(np.stack([action] * 2))
        for one, other in zip(found[1:4], expected[1:4], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
        np.testing.assert_allclose(found[4]["pose"], expected[4]["pose"], atol=1e-2)
        assert ("final_obs" in found[4]) == ("final_obs" in expected[4])
    check_vec_env(SB3VecEnv(gym.make_vec(ID, 2, backend="box2d", max_steps=4)), steps=10)
    limited = gym.make_vec(ID, 1, backend="box2d", max_episode_steps=1)
    limited.reset(seed=0)
    assert limited.step(np.zeros((1, 3), np.float32))[3].all()


def test_pickling_makes_the_same_environment_anew() -> None:
    env = gym.make(ID, backend="box2d", size=64, grayscale=True, max_steps=9).unwrapped
    again = pickle.loads(pickle.dumps(env))
    assert again.options == env.options
    assert np.array_equal(again.reset(seed=2)[0], env.reset(seed=2)[0])


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="size=84 must be 64 or 96"):
        gym.make(ID, backend="box2d", size=84)
    with pytest.raises(ValueError, match="render_mode='ansi' must be one of 'human', 'rgb_array', 'state_pixels'"):
        gym.make(ID, backend="box2d", render_mode="ansi")
    env = gym.make(ID, backend="box2d").unwrapped
    with pytest.raises(ValueError, match="option 'colour'; CarRacing knows none"):
        env.reset(options={"colour": "red"})
    env.reset(seed=0)
    with pytest.raises(ValueError, match="NaN"):
        env.step(np.array([np.nan, 0, 0]))
    with pytest.raises(ValueError, match=r"\(1, 3\) was expected"):
        env.step(np.zeros(4))
