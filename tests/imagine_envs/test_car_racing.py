"""CarRacing's own rules and pictures; nothing here needs Box2D. Golden numbers are gymnasium 1.4's CarRacing-v3."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import imagine_envs  # noqa: F401 (registers the ids)
from imagine_envs.dreams.rendering import Window
from imagine_envs.env_kwargs import task_kwargs
from imagine_envs.tasks import TaskVectorEnv
from imagine_envs.tasks.car_racing import CarRacing
from imagine_envs.tasks.car_racing.contact import TOUCHED, VISITED
from imagine_envs.tasks.car_racing.coverage import add_edge
from imagine_envs.tasks.car_racing.env import CarRacingEnv
from imagine_envs.tasks.car_racing.frames import VISITS
from imagine_envs.tasks.car_racing.motion import HEADING
from imagine_envs.tasks.car_racing.options import luma
from imagine_envs.tasks.car_racing.pcg64 import seed_generators, uniform_between
from imagine_envs.tasks.car_racing.shapes import HULL_CENTRE, HULL_INERTIA, HULL_MASS, WHEEL_MASS
from imagine_envs.tasks.car_racing.track import HALF_WIDTH, PLAYFIELD
from imagine_envs.tasks.car_racing.tyres import ANGLE, OMEGA

ID = "Imagine/CarRacing-v0"
STILL, GAS = np.zeros(3, np.float32), np.array([0, 1, 0], np.float32)


def car(seed: int = 0, **options: Any) -> CarRacingEnv:
    env = gym.make(ID, **{"size": 64, **options}).unwrapped
    assert isinstance(env, CarRacingEnv)
    env.reset(seed=seed)
    return env


def put(env: CarRacingEnv, x: float, y: float, heading: float) -> Any:
    """Puts the car somewhere, at rest, and returns what it sees."""
    state = env.snapshot()
    was = state["body"][0].copy()
    turn = heading - was[HEADING]
    offset = state["wheels"][0, :, :2] - was[:2]
    cos, sin = np.cos(turn), np.sin(turn)
    state["wheels"][0, :, :2] = np.array([x, y]) + offset @ np.array([[cos, sin], [-sin, cos]])
    state["wheels"][0, :, ANGLE] += turn
    state["body"][0] = (x, y, heading, 0, 0, 0)
    state["progress"][0, 2] = 100  # zoomed in
    return env.restore(state)


def beside(env: CarRacingEnv, tile: int, right: float) -> tuple[float, float, float]:
    """A pose so far to the right of the middle of the road, looking along it."""
    _, beta, x, y = env.track[tile]
    return x + right * np.cos(beta), y + right * np.sin(beta), beta


# --- tracks -----------------------------------------------------------------------------------------------------------

# Seed → tiles, the 100th, the sum of all, how many have kerbs and the sum of their numbers.
TRACKS: dict[int, tuple[int, tuple[float, ...], tuple[float, ...], int, int]] = {
    0: (
        319,
        (1.4304845048505637, 0.15357474161551873, 16.40617835264968, 123.40775017850616),
        (794.5087013869258, 797.1099203284198, 16950.959265102254, 39.59346245536365),
        75,
        12867,
    ),
    1: (
        275,
        (1.9572494365416573, 1.640827825325416, -37.21587213563385, 82.63396182114899),
        (706.1435701202396, 692.3522218515953, 15427.700122659866, -2666.1208629267503),
        55,
        8106,
    ),
    1234: (
        264,
        (2.1525964448692863, 2.3231160524882517, -44.96810855703887, 62.081457510601126),
        (669.7363876226593, 677.0206928356572, 13932.659898781314, -7086.966562546798),
        47,
        6472,
    ),
}
# The car's pose after every 30 frames of `sine` with seed 5, and what they earned.
DRIVEN = (
    [
        (224.56521606, -45.39213562, -0.87002623),
        (238.54499817, -40.56069565, -1.12565362),
        (245.45715332, -32.66850281, -0.63773948),
        (253.19554138, -29.51293564, -1.61108732),
        (261.08126831, -24.25253868, -0.10052079),
    ],
    -2.8419452887537737,
)


@pytest.mark.parametrize("seed", [0, 2, 7, 2**70])
def test_random_numbers_are_those_of_numpy(seed: int) -> None:
    generator = np.zeros((2, 4), np.int64)
    seed_generators(generator, np.array([1]), [seed])
    expected = np.random.default_rng(seed)
    for low, high in [(0, 1), (-3, 5.5), (50, 150)] * 20:
        assert uniform_between(generator.view(np.uint64), 1, low, high) == expected.uniform(low, high)
    assert not generator[0].any()


@pytest.mark.parametrize("seed", TRACKS)
def test_tracks_are_those_of_gymnasium(seed: int) -> None:
    count, tile, total, kerbs, sum_of_kerbs = TRACKS[seed]
    env = car(seed)
    assert len(env.track) == count
    np.testing.assert_allclose(env.track[100], tile, atol=1e-9)
    np.testing.assert_allclose(np.sum(env.track, 0), total, atol=1e-6)
    found = np.flatnonzero(env.snapshot()["kerbs"][0])
    assert (len(found), found.sum()) == (kerbs, sum_of_kerbs)


def test_the_next_episode_has_another_track_and_a_seed_brings_it_back() -> None:
    env = car(3)
    first = env.track
    env.reset()
    second = env.track
    assert first != second
    env.reset(seed=3)
    assert env.track == first
    env.reset()
    assert env.track == second
    assert isinstance(first, list)
    assert isinstance(first[0], tuple)


# --- driving ----------------------------------------------------------------------------------------------------------


def test_masses_are_those_that_box2d_finds() -> None:
    assert pytest.approx(7.06, abs=1e-6) == HULL_MASS
    assert pytest.approx(18.212276, abs=1e-4) == HULL_INERTIA
    assert pytest.approx([0, -0.0825309], abs=1e-6) == HULL_CENTRE
    assert pytest.approx(0.06048) == WHEEL_MASS


def test_poses_and_rewards_are_those_of_box2d() -> None:
    env = car(5)
    poses, total = [], 0.0
    for frame in range(150):
        _, reward, *_, info = env.step(sine(frame))
        total += reward
        if frame % 30 == 29:
            poses.append(info["pose"])
    np.testing.assert_allclose(poses, DRIVEN[0], atol=2e-3)
    assert total == pytest.approx(DRIVEN[1], abs=1e-6)


def sine(frame: int) -> np.ndarray:
    """Actions that use everything: stops, slides, brakes, a locked wheel."""
    steer, brake = 1.2 * np.sin(frame / 12), 0.95 if frame % 50 > 46 else 0.3 * (frame % 37 > 33)
    return np.clip([steer, 0.6 * (frame % 25 < 18), brake], -1, 1).astype(np.float32)


def test_a_car_that_is_left_alone_stays() -> None:
    env = car()
    start = env.step(STILL)[4]["pose"]
    for _ in range(50):
        info = env.step(STILL)[4]
    np.testing.assert_allclose(info["pose"], start, atol=1e-4)


def test_steering_to_the_right_turns_right() -> None:
    for steer, sign in ((1.0, -1), (-1.0, 1)):
        env = car()
        begun = env.step(GAS)[4]["pose"]
        for _ in range(25):
            info = env.step(np.array([steer, 0.5, 0], np.float32))[4]
        assert sign * (info["pose"][2] - begun[2]) > 0.1
        ahead = np.array([-np.sin(begun[2]), np.cos(begun[2])])
        assert (info["pose"][:2] - begun[:2]) @ ahead > 0


def test_grass_grips_less_than_the_road_and_a_locked_wheel_does_not_roll() -> None:
    speeds = []
    for right in (0.0, 2.5 * HALF_WIDTH):
        env = car(1)
        put(env, *beside(env, 5, right))
        for _ in range(30):
            env.step(GAS)
        speeds.append(float(np.hypot(*env.snapshot()["body"][0, 3:5])))
    assert speeds[0] > 1.3 * speeds[1]
    env.step(np.array([0, 0, 0.95], np.float32))
    assert np.abs(env.snapshot()["wheels"][0, :, OMEGA]).max() < 3  # what the ground turned them by in the same frame


def test_nobody_is_faster_than_box2d_allows() -> None:
    env = car()
    state = env.snapshot()
    state["body"][0, 3:5] = 200, 0
    state["wheels"][0, :, 3:5] = 200, 0
    env.restore(state)
    before, after = state["body"][0], (env.step(STILL), env.snapshot()["body"][0])[1]
    assert np.hypot(*after[3:5]) == pytest.approx(100)
    assert np.hypot(*(after[:2] - before[:2])) == pytest.approx(2, abs=0.05)


# --- rewards and ends -------------------------------------------------------------------------------------------------


def test_the_tiles_under_the_car_are_paid_with_the_first_step() -> None:
    env = car()
    tiles = int((env.snapshot()["tiles"][0] & VISITED).sum())
    assert tiles == env.snapshot()["progress"][0, VISITS] == 2
    rewards = [env.step(STILL)[1] for _ in range(3)]
    assert rewards == pytest.approx([2 * 1000 / len(env.track) - 0.1, -0.1, -0.1])
    unpaid = car(pay_start=False)
    assert [unpaid.step(STILL)[1] for _ in range(2)] == pytest.approx([-0.1, -0.1])


def test_every_tile_is_paid_once() -> None:
    env = car(4, pay_start=False)
    total, steps = 0.0, 120
    for frame in range(steps):
        total += env.step(GAS if frame < 60 else np.array([0, 0, 0.5], np.float32))[1]
    visits = (env.snapshot()["tiles"][0] & VISITED) == VISITED
    assert visits.sum() == env.snapshot()["progress"][0, VISITS] > 10
    assert total == pytest.approx(1000 / len(env.track) * (visits.sum() - 2) - 0.1 * steps)
    put(env, *beside(env, 3, 0))
    assert env.step(STILL)[1] == pytest.approx(-0.1)


def test_leaving_the_playfield_costs_a_hundred_instead_of_everything_else() -> None:
    for skip, expected in ((1, -100.0), (3, -100.2)):
        env = car(frame_skip=skip)
        env.step(STILL)
        put(env, PLAYFIELD - 0.1, 0, -np.pi / 2)
        state = env.snapshot()
        state["body"][0, 3], state["wheels"][0, :, 3] = 4, 4
        env.restore(state)
        rewards, terminated = [], False
        while not terminated:
            _, reward, terminated, truncated, info = env.step(STILL)
            rewards.append(reward)
            assert not truncated
        assert rewards[-1] == pytest.approx(expected)
        assert not info["lap_finished"]
        assert abs(info["pose"][0]) > PLAYFIELD


def test_the_last_tile_ends_the_episode() -> None:
    env = car(1)
    state = env.snapshot()
    count = len(env.track)
    state["tiles"][0, :count] |= VISITED
    state["tiles"][0, 4] = 0
    state["progress"][0, VISITS] = count - 1
    env.restore(state)
    terminated, steps = False, 0
    while not terminated and steps < 200:
        _, reward, terminated, truncated, info = env.step(np.array([0, 0.3, 0], np.float32))
        steps += 1
    assert (terminated, truncated, info["lap_finished"]) == (True, False, True)
    assert reward == pytest.approx(1000 / count - 0.1)


@pytest.mark.parametrize(("percent", "share", "ends"), [(None, 0.97, False), (0.95, 0.97, True), (0.98, 0.97, False)])
def test_a_lap_may_end_at_the_first_tile(percent: float | None, share: float, ends: bool) -> None:
    env = car(1, lap_complete_percent=percent)
    state = env.snapshot()
    count = len(env.track)
    visited = int(share * count)
    state["tiles"][0, :visited] |= VISITED
    state["progress"][0, VISITS] = visited
    env.restore(state)
    put(env, *beside(env, 40, 0))
    assert not env.step(STILL)[2]
    put(env, *beside(env, 0, 0))
    _, _, terminated, _, info = env.step(STILL)
    assert (terminated, info["lap_finished"]) == (ends, ends)


def test_an_episode_has_a_thousand_frames() -> None:
    assert [car(**options).max_steps for options in ({}, {"frame_skip": 3}, {"max_steps": 7}, {"max_steps": None})] == [
        1_000,
        334,
        7,
        None,
    ]
    env = car(frame_skip=4, max_steps=8)
    assert [env.step(STILL)[2:4] for _ in range(2)] == [(False, False), (False, True)]


def test_skipped_frames_add_up() -> None:
    plain, skipping = car(2), car(2, frame_skip=4)
    action = np.array([-0.3, 0.8, 0], np.float32)
    for _ in range(12):
        observation, reward, *_, info = skipping.step(action)
        steps = [plain.step(action) for _ in range(4)]
        assert reward == pytest.approx(sum(step[1] for step in steps))
        assert np.array_equal(observation, steps[-1][0])
        assert np.array_equal(info["pose"], steps[-1][4]["pose"])


def test_discrete_actions() -> None:
    meant = [(0, 0, 0), (0.6, 0, 0), (-0.6, 0, 0), (0, 0.2, 0), (0, 0, 0.8)]
    one, other = car(3, continuous=False), car(3)
    assert one.task.action_names == ("noop", "right", "left", "gas", "brake")
    for number in [3] * 30 + [1, 1, 2, 4, 0, 2] * 5:
        found, expected = one.step(number), other.step(np.array(meant[number], np.float32))
        np.testing.assert_allclose(found[4]["pose"], expected[4]["pose"], atol=1e-5)
        assert found[1] == pytest.approx(expected[1])


# --- pictures ---------------------------------------------------------------------------------------------------------

GRASS, LIGHT_GRASS = (100, 202, 100), (100, 228, 100)


def is_road(picture: np.ndarray) -> np.ndarray:
    """Pixels that are wholly road."""
    return (picture.max(-1) == picture.min(-1)) & (picture[..., 0] > 95) & (picture[..., 0] < 110)


@pytest.mark.parametrize("size", [64, 96])
def test_what_is_right_of_the_car_is_right_in_the_picture(size: int) -> None:
    env = car(0, size=size)
    straight = next(i for i in range(5, 300) if np.ptp([env.track[i + k][1] for k in range(-4, 12)]) < 0.02)
    view = slice(0, int(size * 0.8))
    left_of_it = is_road(put(env, *beside(env, straight, -14.0))[view])
    assert left_of_it[:, size // 2 + 6 :].sum() > 5 * size
    assert not left_of_it[:, : size // 2].any()
    right_of_it = is_road(put(env, *beside(env, straight, 14.0))[view])
    assert right_of_it[:, : size // 2 - 6].sum() > 5 * size
    assert not right_of_it[:, size // 2 :].any()


@pytest.mark.parametrize("size", [64, 96])
def test_what_is_ahead_of_the_car_is_up_and_the_bar_is_down(size: int) -> None:
    env = car(0, size=size)
    straight = next(i for i in range(5, 300) if np.ptp([env.track[i + k][1] for k in range(-4, 12)]) < 0.02)
    x, y, beta = beside(env, straight, -14.0)
    picture = put(env, x, y, beta - np.pi / 2)  # looking across the road, which is ahead
    rows = np.flatnonzero(is_road(picture).sum(1) > size // 2)
    assert len(rows) > 0.1 * size
    assert rows.max() < 0.65 * size
    assert rows.min() > 0.2 * size
    assert not picture[-1].any()
    middle = slice(size // 2 - 4, size // 2 + 4)
    red = (picture[..., 0] > 120) & (picture[..., 1] < 60)
    places = np.argwhere(red[: int(0.87 * size), middle])
    assert abs(places.mean(0) - [0.76 * size, 3.5]).max() < 0.02 * size
    assert picture.shape == (size, size, 3)


def test_colours() -> None:
    env = car(0)
    picture = put(env, 0, 0, 0)[:50]
    colours, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    common = {tuple(map(int, colour)) for colour in colours[np.argsort(counts)[-2:]]}
    assert common == {GRASS, LIGHT_GRASS}
    corner = put(env, PLAYFIELD - 5, PLAYFIELD - 5, 0)
    assert not corner[0, -1].any()
    assert corner[50, 20].any()


def test_kerbs_are_red_and_white_and_outside_of_the_road() -> None:
    env = car(0, size=96)
    kerbs = env.snapshot()["kerbs"][0]
    for tile in np.flatnonzero(kerbs)[[8, 30, 60]]:
        picture = put(env, *beside(env, tile, 0)).astype(int)[60:84]
        red = (picture[..., 0] > 140) & (picture[..., 1] < 130) & (picture[..., 2] < 90)
        red[:, 40:56] = False  # the car
        white = picture.min(-1) > 150
        assert red.any()
        assert white.any()
        columns = np.argwhere(red | white)[:, 1] - 48
        assert (np.sign(columns) == kerbs[tile]).all()
        assert np.abs(columns).min() >= np.floor(HALF_WIDTH * 16.2 / 1000 * 96) - 1


def means(screen: np.ndarray, size: int) -> np.ndarray:
    """The means of ``size`` equal parts of the first axis."""
    sums = np.concatenate([np.zeros_like(screen[:1]), np.cumsum(screen, 0), screen[:1]])
    whole, part = np.divmod(np.arange(size + 1) * len(screen) / size, 1)
    whole = whole.astype(int)
    until = sums[whole] + part[:, None, None] * (sums[whole + 1] - sums[whole])
    return np.diff(until, axis=0) * size / len(screen)


@pytest.mark.parametrize("size", [64, 96])
def test_a_pixel_is_the_mean_of_its_part_of_the_screen(size: int) -> None:
    env = car(3, size=size)
    for frame in range(80):
        observation = env.step(sine(frame))[0]
        if frame % 26 == 25:
            screen = env.task.render(env._batch.state, 0, 1000).astype(float) + 1.5
            assert screen.shape == (800, 1000, 3)
            apart = np.abs(means(means(screen, size).swapaxes(0, 1), size).swapaxes(0, 1) - 1.5 - observation)
            assert apart.mean() < 0.3
            assert (apart > 3).mean() < 0.004, "where the hull lies on a wheel"
            assert apart.max() < 35


def test_grey_is_the_luma_of_the_colours() -> None:
    colour, grey = car(6), car(6, grayscale=True)
    for frame in range(60):
        one, other = colour.step(sine(frame))[0], grey.step(sine(frame))[0]
        assert other.shape == (64, 64, 1)
        assert np.array_equal(luma(one), other)
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs(one @ weights - other[..., 0]).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("shades", "before", "after"),
    [("fades", {100, 102, 105}, {100}), ("stays", {100, 102, 105}, {100, 102, 105}), ("none", {100}, {100})],
)
def test_tiles_lose_their_shade_unless_asked_not_to(shades: str, before: set[int], after: set[int]) -> None:
    env = car(0, shades=shades, size=96)

    def greys(picture: np.ndarray) -> set[int]:
        values, counts = np.unique(picture[is_road(picture)][:, 0], return_counts=True)
        return set(values[counts > 100].tolist())  # and not what is mixed at the edges

    assert greys(put(env, *beside(env, 30, 14))) == before
    state = env.snapshot()
    state["tiles"][0] |= TOUCHED
    assert greys(env.restore(state)) == after
    driven, ahead = car(0, shades=shades), 0
    for _ in range(70):
        driven.step(GAS)
        tiles = driven.snapshot()["tiles"][0]
        touched, visited = (tiles & TOUCHED).sum() // TOUCHED, (tiles & VISITED).sum()
        assert touched >= visited
        ahead += touched > visited  # the bumper is ahead of the wheels
    assert visited > 10
    assert 2 < ahead < 35


def test_the_first_second_zooms_in() -> None:
    far, near = car(0), car(0, zoom_in=False)
    assert is_road(far.step(STILL)[0]).sum() < 0.2 * is_road(near.step(STILL)[0]).sum()
    for _ in range(50):
        one, other = far.step(STILL)[0], near.step(STILL)[0]
    assert np.array_equal(one, other)


def test_the_bar_shows_speed_steering_and_score() -> None:
    env = car(0)
    env.step(STILL)
    still = put(env, *beside(env, 10, 0))
    assert not still[56:, 8:].any(), "at rest the instruments show nothing"
    assert still[56:, :8].any(), "but the score is there"
    for _ in range(20):
        picture = env.step(np.array([1, 1, 0], np.float32))[0][56:].astype(int)
    white = (picture[:, 8:10].min(-1) > 100).sum()
    green = np.argwhere((picture[..., 1] > 100) & (picture[..., 0] < 50))[:, 1]
    assert white > 0
    assert 31 <= green.min() < green.max() < 45  # to the right of column 32
    state = env.snapshot()
    state["score"][0, 0] += 500
    assert not np.array_equal(env.restore(state)[56:, :8], picture[:, :8])


def covered(points: list[tuple[float, float]], height: int, width: int) -> np.ndarray:
    """How much of each pixel a polygon covers."""
    sums = np.zeros((height, width + 2, 4), np.float32)
    for (x, y), (to_x, to_y) in zip(points, [*points[1:], points[0]], strict=True):
        add_edge(sums, height, width, float(x), float(y), float(to_x), float(to_y), 1.0, 2.0, 0.0, -1.0)
    layers = np.cumsum(sums, 1)[:, :width]
    np.testing.assert_allclose(layers[..., 1], 2 * layers[..., 0], atol=1e-4)
    np.testing.assert_allclose(layers[..., 3], -layers[..., 0], atol=1e-4)
    assert not layers[..., 2].any()
    return layers[..., 0]


def test_coverage_is_exact() -> None:
    np.testing.assert_allclose(covered([(1, 1), (3.5, 1), (3.5, 2.25), (1, 2.25)], 4, 5),
                               [[0] * 5, [0, 1, 1, 0.5, 0], [0, 0.25, 0.25, 0.125, 0], [0] * 5], atol=1e-6)  # fmt: skip
    np.testing.assert_allclose(covered([(0, 0), (2, 2), (0, 2)], 2, 2), [[0.5, 0], [1, 0.5]], atol=1e-6)
    rng = np.random.default_rng(0)
    fine = (np.arange(1600) + 0.5) / 80  # 80 samples a pixel, 20 pixels
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 5))
        middle, radius = rng.uniform(-3, 23, 2), rng.uniform(2, 12)
        points = [(middle[0] + radius * np.cos(a), middle[1] + radius * np.sin(a)) for a in angles]
        inside = np.ones((1600, 1600), bool)
        for (x, y), (to_x, to_y) in zip(points, [*points[1:], points[0]], strict=True):
            inside &= (to_x - x) * (fine[:, None] - y) - (to_y - y) * (fine[None] - x) >= 0
        sampled = inside.reshape(20, 80, 20, 80).mean((1, 3))
        np.testing.assert_allclose(covered(points, 20, 20), sampled, atol=0.02)


# --- batches ----------------------------------------------------------------------------------------------------------


def test_threads_change_nothing() -> None:
    envs = [TaskVectorEnv(CarRacing(size=64, threads=threads), 41) for threads in (1, 3)]
    for one, other in [[env.reset(seed=3)[0] for env in envs]]:
        assert np.array_equal(one, other)
    envs[0].action_space.seed(0)
    for _ in range(12):
        action = envs[0].action_space.sample()
        one, other = (env.step(action) for env in envs)
        for found, expected in zip(one[:4], other[:4], strict=True):
            assert np.array_equal(found, expected)
        assert np.array_equal(one[4]["pose"], other[4]["pose"])
    assert task_kwargs({"threads": 3, "size": 64}) == {"size": 64}


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_a_finished_row_begins_on_the_next_track_of_its_seed(mode: AutoresetMode) -> None:
    envs = gym.make_vec(ID, 2, size=64, max_steps=3, autoreset_mode=mode)
    envs.reset(seed=8)
    single = car(8)
    single.reset()
    for _ in range(3 if mode is AutoresetMode.SAME_STEP else 4):
        _, rewards, _, truncations, infos = envs.step(np.zeros((2, 3), np.float32))
    assert truncations.all() == (mode is AutoresetMode.SAME_STEP)
    np.testing.assert_array_equal(infos["pose"][0], single._batch.state["body"][0, :3])
    assert envs.unwrapped.task.track(envs.unwrapped._batch.state, 0) == single.track  # type: ignore[attr-defined]
    assert (rewards < 0).all() == (mode is AutoresetMode.SAME_STEP)


# --- a person plays ---------------------------------------------------------------------------------------------------


def test_keys_move_steering_and_pedals_little_by_little() -> None:
    task = CarRacing(size=64)
    action = task.action_of(["left", "up"], None)
    assert action == pytest.approx([-0.08, 0.1, 0])
    for _ in range(20):
        action = task.action_of(["left", "up"], action)
    assert action == pytest.approx([-1, 1, 0])
    assert task.action_of(["right", "down"], action) == pytest.approx([-0.8, 0, 0.1])
    assert task.action_of([], action) == pytest.approx([-0.8, 0, 0])
    for _ in range(12):
        action = task.action_of(["down"], action)
    assert action == pytest.approx([0, 0, 0.8])
    assert CarRacing(continuous=False).action_of(["up", "left"], None) == 2
    assert CarRacing(continuous=False).action_of([], 2) == 0
    assert (task.frames_per_second, CarRacing(frame_skip=4).frames_per_second) == (50, 12)
    assert gym.make(ID).metadata["render_fps"] == 50


def test_a_window_knows_which_keys_are_held() -> None:
    import pygame

    window, frame = Window("held", fps=0), np.zeros((8, 8, 3), np.uint8)
    window.show(frame)
    for kind, key in ((pygame.KEYDOWN, pygame.K_UP), (pygame.KEYDOWN, pygame.K_LEFT), (pygame.KEYUP, pygame.K_UP)):
        pygame.event.post(pygame.event.Event(kind, key=key))
        window.show(frame)
    assert window.held() == ["left"]
    assert window.held() == ["left"]
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    window.show(frame)
    assert window.held() == []
    window.close()


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "bullet"}, "backend='bullet' must be one of 'native', 'box2d'"),
        ({"size": 84}, "size=84 must be 64 or 96"),
        ({"frame_skip": 0}, "frame_skip=0 must be a whole number of at least 1"),
        ({"max_steps": 0}, "max_steps=0 must be a whole number of at least 1, or None"),
        ({"grayscale": 1}, "grayscale=1 must be True or False"),
        ({"lap_complete_percent": 95}, "lap_complete_percent=95 must be a number from 0.5 to 1, or None"),
        ({"shades": "grey"}, "shades='grey' must be one of 'fades', 'stays', 'none'"),
        ({"threads": 0}, "threads=0 must be a whole number from 1 to 64, or None"),
        ({"render_mode": "ansi"}, "render_mode='ansi' must be"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    makers: list[Callable[[], Any]] = [lambda: gym.make(ID, **options), lambda: gym.make_vec(ID, 2, **options)]
    for make in makers:
        with pytest.raises(ValueError, match=re.escape(message)):
            make()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(2), r"actions have shape \(1, 2\); \(1, 3\) was expected"),
        (np.array([0, np.nan, 0]), "actions hold NaN or infinity"),
        (3, r"actions have shape \(1,\)"),
    ],
)
def test_bad_actions(action: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        car().step(action)


def test_without_box2d_there_is_one_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith(("gymnasium.envs.box2d", "imagine_envs.tasks.car_racing.box2d")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "Box2D", None)
    with pytest.raises(ImportError, match=r"backend='box2d' of CarRacing .* pip install 'imagine-rl\[box2d\]'"):
        gym.make(ID, backend="box2d")
    with pytest.raises(ValueError, match="render_mode='human' must be"):
        gym.make_vec(ID, 2, render_mode="human")
