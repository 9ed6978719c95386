"""The native Doom tasks: movement and rules as measured in ViZDoom 1.3.2, and what is seen."""

from __future__ import annotations

import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import imagine_envs  # noqa: F401 (registers the ids)
from imagine_envs.tasks import BatchedTask, State, TaskEnv
from imagine_envs.tasks.doom import Basic, HealthGathering, MyWayHome, TakeCover, art, basic, imps
from imagine_envs.tasks.doom.level import FIXED, rooms
from imagine_envs.tasks.doom.player import ANGLE, EYES, SPEED_X, SPEED_Y, X, Y

NOOP, RIGHT, LEFT = 0, 1, 2


class Play:
    """Some rows of one task, without any face."""

    def __init__(self, task: BatchedTask, rows: int = 1, seed: int = 0) -> None:
        self.task = task
        self.state: State = task.allocate(rows)
        self.rows = np.arange(rows)
        task.seed(self.state, self.rows, [seed + row for row in range(rows)])
        task.reset(self.state, self.rows, {})
        self.reward, self.terminated = np.zeros(rows), np.zeros(rows, bool)

    def step(self, action: int, times: int = 1) -> float:
        """Takes steps and returns the first row's reward in the last of them."""
        for _ in range(times):
            self.task.step(self.state, np.full(len(self.rows), action), self.reward, self.terminated)
        return float(self.reward[0])

    def picture(self, row: int = 0) -> np.ndarray:
        out = np.zeros((len(self.rows), *self.task.observation_space.shape), np.uint8)
        self.task.observe(self.state, self.rows, out)
        return out[row].astype(int)

    def at(self, *columns: int) -> list[int]:
        return [int(self.state["player"][0, column]) for column in columns]


# --- movement, as the engine has it (in 1/65536 unit) ---------------------------------------------------------------


def test_a_player_steps_sideways_as_in_the_engine() -> None:
    play = Play(TakeCover())
    actions = [0] * 3 + [1] * 40 + [0] * 20 + [2] * 30 + [1] * 5 + [2] * 3
    expected = {
        7: (25165824, 0, 2686976),
        8: (25116672, -44544, 2689683),
        20: (22008658, -342997, 2686976),
        43: (11212970, -461409, 3086798),
        63: (6978401, -64429, 2694771),
        100: (18765441, 157623, 2686976),
    }
    for tic, action in enumerate(actions, 1):
        play.step(action)
        if tic in expected:
            assert play.at(Y, SPEED_Y, EYES) == list(expected[tic])
    assert play.at(X, SPEED_X) == [-416 * FIXED, 0]


@pytest.mark.parametrize(("action", "stop"), [(RIGHT, 16 + 1536 / FIXED), (LEFT, 752 - 1536 / FIXED)])
def test_a_wall_stops_the_player(action: int, stop: float) -> None:
    play = Play(TakeCover())
    for _ in range(100):
        play.step(action)
        play.state["imp_count"][:] = 0
    assert play.at(Y, SPEED_Y) == [round(stop * FIXED), 0]


@pytest.mark.parametrize(
    ("start", "held", "expected"),
    [
        (
            (37707579, -11257119, 60474),
            [0, 3, 5, 3, 2, 5, 3, 5, 0, 3, 4, 4, 3, 3, 3, 3, 1, 4, 0, 3],
            {
                40: (42163321, -10391047, 2717010),
                80: (49273345, -9888494, 2751886),
                119: (48636006, -15727687, 2702967),
            },
        ),
        (
            (30167925, -39067320, 42770),
            [3, 4, 3, 4, 4, 3, 3, 2, 1, 2, 3, 2, 5, 3, 3, 3, 4, 2, 3, 3],
            {
                40: (29361304, -43199094, 2691120),
                80: (29361961, -45088520, 2691911),
                119: (29421948, -45088520, 2772523),
            },
        ),
        (
            (37460378, 3574989, 59295),
            [3, 0, 2, 3, 5, 3, 1, 3, 3, 3, 1, 3, 3, 0, 5, 3, 4, 0, 3, 1],
            {40: (45425197, 1542152, 2731968), 80: (49275584, -1047997, 2686976), 119: (49277506, -1048346, 2691864)},
        ),
    ],
)
def test_a_player_walks_turns_and_slides_along_walls_as_in_the_engine(
    start: tuple[int, int, int], held: list[int], expected: dict[int, tuple[int, int, int]]
) -> None:
    play = Play(MyWayHome())
    player = play.state["player"][0]
    player[X], player[Y], player[ANGLE] = start[0], start[1], start[2] << 16
    for tic in range(119):
        play.step(held[tic // 6])
        if tic + 1 in expected:
            assert play.at(X, Y, EYES) == list(expected[tic + 1])


def test_a_turn_begins_slowly() -> None:
    play = Play(HealthGathering())
    play.step(0, 5)
    angles = []
    for action in [2] * 12 + [0] * 2 + [3] * 3 + [1] * 8:
        play.step(action)
        angles.append(play.at(ANGLE)[0])
    assert angles[4] == (-5 * 320 << 16) % 2**32
    assert angles[11] == angles[13] == 3896508417 - 3896508417 % (1 << 16)
    assert angles[16] == (angles[11] + (3 * 320 << 16)) % 2**32
    assert play.at(X, Y, EYES) == [41161399, 39143696, 2686976]


@pytest.mark.parametrize("task", [TakeCover, Basic, HealthGathering, MyWayHome])
def test_nobody_walks_into_a_wall(task: Any) -> None:
    play = Play(task(), rows=60)
    rng = np.random.default_rng(0)
    level = play.task.level  # type: ignore[attr-defined]
    for tic in range(400):
        if tic % 5 == 0:
            actions = rng.integers(play.task.action_space.n, size=60)  # type: ignore[union-attr]
        play.task.step(play.state, actions, play.reward, play.terminated)
        for dx in (-1, 1):
            for dy in (-1, 1):
                x = (play.state["player"][:, X] + dx * (16 * FIXED - 1)) / FIXED
                y = (play.state["player"][:, Y] + dy * (16 * FIXED - 1)) / FIXED
                column, line = np.searchsorted(level.xs, x, "right") - 1, np.searchsorted(level.ys, y, "right") - 1
                assert (level.cells[line, column] >= 0).all()


def test_rooms_are_joined_where_they_touch() -> None:
    touching = [(0, 0, 64, 64, 3), (64, 16, 96, 32, 4)]
    level = rooms(touching, height=100, light=200, floor=0, ceiling=1)
    assert level.cells.tolist() == [[3, -1], [3, 4], [3, -1]]
    walls = {tuple(wall) for wall in (level.walls[:, :5] // [1, FIXED, FIXED, FIXED, 1]).tolist()}
    assert {(0, 0, 0, 64, 1), (0, 64, 0, 16, -1), (0, 64, 32, 64, -1), (0, 96, 16, 32, -1)} <= walls
    assert (0, 64, 16, 32, -1) not in walls
    assert {(1, 0, 0, 64, 1), (1, 16, 64, 96, 1), (1, 32, 64, 96, -1), (1, 64, 0, 64, -1)} <= walls
    assert len(walls) == 8
    seamed = rooms(touching, height=100, light=200, floor=0, ceiling=1, seams=[(24, 0), (24, 16)]).walls
    assert len(seamed) == 9
    assert [1, 0, 0, 24 * FIXED, 1] in seamed[:, :5].tolist()


# --- Take Cover -----------------------------------------------------------------------------------------------------


def flying(play: Play) -> np.ndarray:
    return play.state["balls"][0][play.state["balls"][0, :, 4] == imps.FLYING]


def with_one_ball(y: float, aim: float, x: float = 64.0) -> Play:
    """A fireball that was thrown from (x, y) towards y = ``aim`` at the player's x, and no imp."""
    play = Play(TakeCover())
    play.state["imp_count"][:] = 0
    away = np.array([-416.0 - x, aim - y])
    speed = np.trunc(10 * FIXED * away / np.hypot(*away)).astype(int)
    play.state["balls"][0, 0] = [x * FIXED, y * FIXED, *speed, imps.FLYING, y * FIXED]
    return play


def test_a_fireball_flies_ten_units_a_tic_and_hurts() -> None:
    play = with_one_ball(600, 384)
    before = flying(play)[0, :2] / FIXED
    play.step(NOOP)
    assert np.hypot(*(flying(play)[0, :2] / FIXED - before)) == pytest.approx(10, abs=1e-3)
    tics = 1
    while len(flying(play)):
        assert play.state["health"][0] == 100
        assert play.step(NOOP) == 1.0
        tics += 1
    x, y = play.state["balls"][0, 0, :2] / FIXED
    assert 22 <= max(abs(x + 416), abs(y - 384)) < 32  # it bursts where it was before it would have touched him
    assert tics == 51
    lost = 100 - int(play.state["health"][0])
    assert lost % 21 == 0
    assert 21 <= lost <= 168
    push = np.hypot(*play.at(SPEED_X, SPEED_Y)) / FIXED
    assert push == pytest.approx(lost / 8, rel=1e-3)
    assert play.at(SPEED_X)[0] < 0 > play.at(SPEED_Y)[0]
    assert play.terminated[0] == (lost > 100)


def test_every_damage_is_equally_likely() -> None:
    lost = []
    for seed in range(400):
        play = with_one_ball(384, 384, x=-390.0)
        play.state["random"][0] = 12_345 * seed
        play.step(NOOP)
        lost.append(100 - int(play.state["health"][0]))
    counts = np.bincount(np.array(lost) // 21, minlength=9)
    assert set(lost) == {21 * k for k in range(1, 9)}
    assert counts[0] == 0
    assert (np.abs(counts[1:] - 50) < 4 * np.sqrt(50)).all()


def test_a_fireball_that_misses_bursts_on_a_wall() -> None:
    play = with_one_ball(600, 500)
    play.step(NOOP, 60)
    assert (len(flying(play)), play.state["health"][0]) == (0, 100)
    assert -442 <= play.state["balls"][0, 0, 0] / FIXED < -432
    play.step(NOOP, imps.PUFF_TICS)
    assert play.state["balls"][0, 0, 4] == imps.GONE


def test_an_imp_stands_in_the_way_of_its_neighbours_fireball() -> None:
    for neighbour, passes in ((41.0, False), (70.0, True)):
        play = Play(TakeCover())
        play.state["imps"][0, 0, 0] = (20 + neighbour) * FIXED
        play.state["imps"][0, :, 2] = 1_000
        away = np.array([-480.0, 700.0])
        speed = np.trunc(10 * FIXED * away / np.hypot(*away)).astype(int)
        play.state["balls"][0, 0] = [64 * FIXED, 20 * FIXED, *speed, imps.FLYING, 20 * FIXED]
        play.step(NOOP, 5)
        assert (len(flying(play)) == 1) == passes


def test_a_fireball_is_thrown_at_where_the_player_is() -> None:
    play = Play(TakeCover())
    play.step(LEFT, 30)
    play.state["imp_count"][:] = 1
    play.state["imps"][0, 0] = [100 * FIXED, imps.RAISE, 1, 0, 0, 1]
    play.step(NOOP)
    ball = flying(play)[0]
    from_y = 100 * FIXED
    assert ball[0] / FIXED == pytest.approx(64 + 1.5 * ball[2] / FIXED, abs=1e-4)
    assert ball[3] / ball[2] == pytest.approx((play.at(Y)[0] - from_y) / (play.at(X)[0] - 64 * FIXED), rel=1e-3)


def test_an_imp_appears_every_sixty_tics_where_there_is_room() -> None:
    play = Play(TakeCover(), rows=300)
    assert play.state["imp_count"].tolist() == [3] * 300
    for tic in range(1, 181):
        before = play.state["imp_count"].copy()
        play.state["health"][:] = 100
        play.step(NOOP)
        appeared = play.state["imp_count"] > before
        assert appeared.any() == (tic % 60 == 0)
        if tic == 60:
            assert 0.68 < appeared.mean() < 0.81  # 160 of 632 units are taken
    for row in range(300):
        ys = np.sort(play.state["imps"][row, : play.state["imp_count"][row], 0])
        assert (np.diff(ys) >= 40 * FIXED).all()
        assert ys[0] == 20 * FIXED
        assert ys[-1] == 652 * FIXED
    full = Play(TakeCover())
    for y in range(20 * FIXED, 653 * FIXED, FIXED // 4):
        imps.spawn(0, y, full.state["imps"], full.state["imp_count"])
    assert full.state["imp_count"][0] <= imps.MOST_IMPS
    count = int(full.state["imp_count"][0])
    imps.spawn(0, 300 * FIXED, full.state["imps"], full.state["imp_count"])
    assert full.state["imp_count"][0] == count


def test_imps_throw_as_often_as_doom_s() -> None:
    play = Play(TakeCover(), rows=50)
    last = np.full((50, imps.MOST_IMPS), -1)
    first, between = [], []
    for tic in range(1, 1_500):
        play.state["health"][:] = 100
        play.state["player"][:, [SPEED_X, SPEED_Y]] = 0
        play.step(NOOP)
        thrown = (play.state["imps"][:, :, 1] == imps.THROW) & (play.state["imps"][:, :, 2] == imps.THROW_TICS)
        for row, imp in np.argwhere(thrown[:, :3]).tolist():
            (first if last[row, imp] < 0 else between).append(tic - max(last[row, imp], 0))
            last[row, imp] = tic
    assert min(first) >= 46
    assert {(tic - 46) % 3 for tic in first} == {0}
    assert min(between) == 25
    assert {(tics - 25) % 3 for tics in between} == {0}
    assert 110 < np.mean(between) < 145


def test_the_buttons_are_not_heard_in_the_first_tics() -> None:
    play = Play(TakeCover())
    play.step(LEFT, 7)
    assert play.at(Y) == [384 * FIXED]
    play.step(LEFT)
    assert play.at(Y) == [384 * FIXED + 49_152]


@pytest.mark.parametrize("frame_skip", [1, 4])
def test_living_pays_until_death_which_terminates(frame_skip: int) -> None:
    env = gym.make("Imagine/DoomTakeCover-v0", frame_skip=frame_skip)
    env.reset(seed=3)
    tics, step, terminated = 0.0, 0, False
    while not terminated:
        observation, reward, terminated, truncated, info = env.step(NOOP)
        step, tics = step + 1, tics + reward
        assert not truncated
        assert reward == frame_skip or terminated
        assert observation.mean() > 40
    assert info["health"] == 0
    assert (step - 1) * frame_skip < tics <= step * frame_skip
    one = gym.make("Imagine/DoomTakeCover-v0")
    one.reset(seed=3)
    assert sum(1 for _ in iter(lambda: one.step(NOOP)[2], True)) + 1 == tics


def test_the_cap_truncates() -> None:
    for kwargs, cap in (({}, 2_100), ({"frame_skip": 4}, 525), ({"frame_skip": 8}, 263), ({"max_steps": None}, None)):
        env = gym.make("Imagine/DoomTakeCover-v0", **kwargs).unwrapped
        assert isinstance(env, TaskEnv)
        assert env.max_steps == cap
    assert Basic().max_steps == 300
    env = TaskEnv(TakeCover(max_steps=5))
    env.reset(seed=0)
    assert [env.step(0)[2:4] for _ in range(5)] == [(False, False)] * 4 + [(False, True)]


@pytest.mark.parametrize("task", [TakeCover, Basic, HealthGathering, MyWayHome])
def test_a_step_of_four_tics_is_four_steps(task: Any) -> None:
    skipping, single = Play(task(frame_skip=4), rows=40), Play(task(), rows=40)
    rng = np.random.default_rng(2)
    alive = np.ones(40, bool)
    for _ in range(40):
        action = rng.integers(single.task.action_space.n, size=40)  # type: ignore[union-attr]
        skipping.task.step(skipping.state, action, skipping.reward, skipping.terminated)
        total, ended = np.zeros(40), np.zeros(40, bool)
        for _ in range(4):
            single.task.step(single.state, action, single.reward, single.terminated)
            total += np.where(ended, 0, single.reward)
            ended |= single.terminated
        np.testing.assert_allclose(skipping.reward[alive], total[alive])
        assert (skipping.terminated == ended)[alive].all()
        alive &= ~ended
        for name in single.state:
            assert np.array_equal(skipping.state[name][alive], single.state[name][alive])
    assert alive.any()


# --- Basic ----------------------------------------------------------------------------------------------------------

ATTACK = 1


def facing(away: float) -> Play:
    """The player, the demon so many units to his left."""
    play = Play(Basic())
    play.state["demon"][0] = round((32 + away) * FIXED)
    return play


def test_a_shot_kills_the_demon_in_front() -> None:
    for away, hits in ((0, True), (30.9, True), (-30.9, True), (31.1, False), (-31.1, False)):
        play = facing(away)
        assert [play.step(ATTACK) for _ in range(4)] == [-1] * 4
        assert play.step(ATTACK) == (100 if hits else -6)
        assert not play.terminated[0]
        assert play.state["pistol"][0, basic.AMMO] == 49
        assert play.step(NOOP) == -1
        assert play.terminated[0] == hits


def test_the_pistol_has_its_own_pace() -> None:
    play = facing(200)
    shots = [tic for tic in range(60) if play.step(ATTACK) < -1]
    assert shots == [4, 18, 32, 46]
    for pressed, fired in ((15, [4, 23]), (19, [4, 23]), (20, [4, 24])):
        play = facing(200)
        assert [tic for tic in range(40) if play.step(ATTACK if tic == 0 or tic >= pressed else NOOP) < -1][:2] == fired


def test_later_shots_stray() -> None:
    hits = {"first": 0, "later": 0}
    for seed in range(200):
        play = Play(Basic(), seed=seed)
        play.state["demon"][0] = 52 * FIXED
        play.state["pistol"][0, basic.DOING], play.state["pistol"][0, basic.TICS] = basic.RAISE, 1
        play.state["pistol"][0, basic.AGAIN] = seed % 2
        hits["later" if seed % 2 else "first"] += play.step(ATTACK) == 100
    assert hits["first"] == 100
    assert 75 < hits["later"] < 99


def test_an_empty_pistol_does_not_fire() -> None:
    play = facing(0)
    play.state["pistol"][0, basic.AMMO] = 0
    assert {play.step(ATTACK) for _ in range(40)} == {-1.0}


# --- Health Gathering -----------------------------------------------------------------------------------------------


def test_the_floor_burns() -> None:
    play = Play(HealthGathering())
    play.state["kit_count"][:] = 0
    health = [int(play.state["health"][0])]
    rewards = []
    while not play.terminated[0]:
        rewards.append(play.step(NOOP))
        play.state["kit_count"][:] = 0
        health.append(int(play.state["health"][0]))
    assert [tic for tic in range(1, len(health)) if health[tic] != health[tic - 1]] == list(range(32, 385, 32))
    assert (health[0], health[32], health[-2]) == (92, 84, 4)
    assert (len(rewards), rewards[-1], set(rewards[:-1])) == (384, -99.0, {1.0})
    assert play.task.info(play.state)["health"][0] == 0


@pytest.mark.parametrize(("health", "after", "left"), [(40, 65, 0), (90, 100, 0), (100, 100, 1)])
def test_a_medkit_heals_who_needs_it(health: int, after: int, left: int) -> None:
    play = Play(HealthGathering())
    play.state["health"][0], play.state["kit_count"][0] = health, 1
    play.state["kits"][0, 0] = [(608 + 38) * FIXED, 608 * FIXED]
    play.step(NOOP, 2)
    assert (play.state["health"][0], play.state["kit_count"][0]) == (health, 1)
    play.step(1, 5)
    assert (play.state["health"][0], play.state["kit_count"][0]) == (after, left)


def test_medkits_appear() -> None:
    play = Play(HealthGathering(), rows=200)
    assert (play.state["kit_count"] == 17).all()
    places = play.state["kits"][:, :17].reshape(-1, 2) / FIXED
    assert (places >= 20).all()
    assert (places <= 1_196).all()
    assert places.mean(0) == pytest.approx([608, 608], abs=20)
    assert len(np.unique(places)) > 6_700
    for tic in range(1, 91):
        play.step(NOOP)
        assert (play.state["kit_count"] == 17 + tic // 30).all()


# --- My Way Home ----------------------------------------------------------------------------------------------------


def test_the_vest_ends_the_way_home() -> None:
    play = Play(MyWayHome())
    player = play.state["player"][0]
    player[X], player[Y], player[ANGLE] = 1_040 * FIXED, round(-314.6 * FIXED), 3 << 30
    assert play.step(3) == pytest.approx(-0.0001)  # within 36 units it is his
    assert -316 * FIXED < player[Y] < -315 * FIXED
    assert play.step(3) == pytest.approx(0.9999)
    assert not play.terminated[0]
    assert play.step(3) == pytest.approx(-0.0001)
    assert play.terminated[0]


def test_episodes_begin_at_seventeen_spots_and_any_angle() -> None:
    play = Play(MyWayHome(), rows=2_000)
    spots, counts = np.unique(play.state["player"][:, [X, Y]], axis=0, return_counts=True)
    assert len(spots) == 17
    assert (np.abs(counts - 2_000 / 17) < 5 * np.sqrt(2_000 / 17)).all()
    turns = play.state["player"][:, ANGLE] / 2**32
    assert np.histogram(turns, 8, (0, 1))[0].min() > 180


# --- what is seen ---------------------------------------------------------------------------------------------------


def redness(picture: np.ndarray) -> np.ndarray:
    """How red the pixels of each column are: an imp's crest."""
    excess = picture[:, :, 0] - np.maximum(picture[:, :, 1], picture[:, :, 2])
    return np.clip(excess - 40, 0, None).sum(0)


def test_an_imp_on_the_left_is_seen_on_the_left() -> None:
    for away, column in ((200.0, 18), (-200.0, 45), (0.0, 32)):
        play = Play(TakeCover())
        play.state["imp_count"][0] = 1
        play.state["imps"][0, 0, 0] = round((384 + away) * FIXED)
        found = redness(play.picture())
        assert abs(np.average(np.arange(64), weights=found) + 0.5 - 32 * (1 - away / 480)) < 1
        assert abs(int(found.argmax()) - column) <= 2
    play = Play(TakeCover())
    play.step(LEFT, 40)  # who steps to the left sees things move to the right
    play.state["imp_count"][0] = 1
    play.state["imps"][0, 0, 0] = 384 * FIXED
    assert redness(play.picture()).argmax() > 36


def test_up_is_up() -> None:
    picture = Play(HealthGathering()).picture()
    assert picture[:20, :, 2].mean() > 2 * picture[:20, :, 1].mean()  # a blue ceiling
    assert picture[50:, :, 1].mean() > 2 * picture[50:, :, 2].mean()  # and a green floor
    play = Play(TakeCover())
    play.state["imp_count"][0] = 1
    play.state["imps"][0, 0, 0] = 384 * FIXED
    excess = play.picture()[:, 31:33, 0] - play.picture()[:, 31:33, 1]
    assert 28 <= int(excess.mean(1).argmax()) < 33  # the crest is above the feet, which stand below the horizon


def test_turning_left_moves_the_view_to_the_right() -> None:
    play = Play(HealthGathering())
    play.state["kit_count"][0] = 1
    play.state["kits"][0, 0] = [(608 + 150) * FIXED, 608 * FIXED]
    white = [play.picture().min(2).max(0).argmax()]
    play.step(3, 6)
    white.append(play.picture().min(2).max(0).argmax())
    play.step(2, 14)
    white.append(play.picture().min(2).max(0).argmax())
    assert abs(white[0] - 32) <= 3
    assert white[1] > white[0] + 4
    assert white[2] < white[0] - 4


def test_walls_are_where_they_should_be() -> None:
    play = Play(TakeCover())
    play.state["imp_count"][0] = 0
    picture = play.picture()
    brown = picture[:, :, 0] - picture[:, :, 2] > 15
    far = brown[:, 32]
    # The far wall is 544 units away, from 41 below the eyes to 63 above; the focal length is 51.2 pixels.
    assert np.flatnonzero(far).tolist() == list(range(round(32 - 63 / 544 * 51.2), round(32 + 41 / 544 * 51.2)))
    assert brown.any(0).all()
    assert brown[:, 0].sum() > brown[:, 32].sum()  # side walls are nearer
    assert not brown[:20].any()
    assert not brown[45:].any()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_is_near_hides_what_is_far(order: tuple[int, int]) -> None:
    play = Play(TakeCover())
    play.state["imp_count"][0] = 1
    play.state["imps"][0, 0, 0] = 384 * FIXED
    balls = play.state["balls"][0]
    balls[order[0], :5] = [-300 * FIXED, 384 * FIXED, 0, 0, imps.FLYING]  # in front of a burst fireball, and of the imp
    balls[order[1], :5] = [-100 * FIXED, 384 * FIXED, 0, 0, imps.PUFF_TICS]
    both = play.picture()
    balls[order[1], 4] = imps.GONE
    alone = play.picture()
    assert np.array_equal(both[32:35, 31:33], alone[32:35, 31:33])
    assert (alone[33, 32] > 150).all()
    balls[order[0], 4] = imps.GONE
    assert not np.array_equal(play.picture()[33, 32], alone[33, 32])


def test_a_wall_hides_what_is_behind_it() -> None:
    play = Play(MyWayHome())
    player = play.state["player"][0]
    player[X], player[Y], player[ANGLE] = 1_040 * FIXED, -300 * FIXED, 3 << 30
    seen = play.picture()
    play.state["dressed"][0] = True
    assert not np.array_equal(play.picture(), seen)
    player[X] = 700 * FIXED  # another room, which looks towards it through walls
    player[Y], player[ANGLE] = -176 * FIXED, int(0.935 * 2**32)
    hidden = play.picture()
    play.state["dressed"][0] = False
    assert np.array_equal(play.picture(), hidden)


def test_a_blow_does_not_shake_the_view() -> None:
    play = with_one_ball(384, 384, x=-390.0)
    play.step(NOOP)
    assert play.at(SPEED_X)[0] < 0
    play.step(NOOP)
    assert play.at(EYES) == [41 * FIXED]


@pytest.mark.parametrize("env_id", ["TakeCover", "Basic", "HealthGathering", "MyWayHome"])
def test_large_and_small_pictures_show_the_same(env_id: str) -> None:
    env = gym.make(f"Imagine/Doom{env_id}-v0", render_mode="rgb_array", render_size=320)
    observation, _ = env.reset(seed=1)
    large = env.render()
    assert isinstance(large, np.ndarray)
    assert large.shape == (240, 320, 3)
    assert len(np.unique(large.reshape(-1, 3), axis=0)) > 60
    halves = large.reshape(8, 30, 8, 40, 3).mean((1, 3)), observation.reshape(8, 8, 8, 8, 3).mean((1, 3))
    assert np.abs(halves[0] - halves[1]).mean() < 6
    with_sizes = gym.make(f"Imagine/Doom{env_id}-v0", size=(48, 80))
    assert with_sizes.reset(seed=1)[0].shape == (48, 80, 3)


def test_threads_draw_the_same() -> None:
    one, two = (gym.make_vec("Imagine/DoomTakeCover-v0", 40, threads=threads) for threads in (1, 2))
    for envs in (one, two):
        envs.reset(seed=0)
    for _ in range(20):
        action = np.full(40, LEFT)
        assert np.array_equal(one.step(action)[0], two.step(action)[0])


def test_textures_and_sprites_are_whole() -> None:
    textures, sprites = art.textures(), art.sprites()
    assert textures.shape == (18, 7, 64, 64, 3)
    assert (textures[:, 0].reshape(18, -1).std(1) > 2).all()
    np.testing.assert_allclose(textures[:, 0].mean((1, 2)), textures[:, 6, 0, 0], atol=1.5)
    assert sprites.shape == (len(art.sprite_looks()), 7, 64, 64, 4)
    assert (sprites[..., :3] <= sprites[..., 3:].astype(int) + 1).all()
    assert (sprites[:, 0, :, :, 3].mean((1, 2)) > 20).all()


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"size": 7}, "size=7 must be a whole number from 8 to 1024"),
        ({"size": (64, 64, 3)}, "size=(64, 64, 3) must be"),
        ({"size": 64.0}, "size=64.0 must be"),
        ({"frame_skip": 0}, "frame_skip=0 must be a whole number of at least 1"),
        ({"frame_skip": True}, "frame_skip=True must be"),
        ({"max_steps": 0}, "max_steps=0 must be a whole number of at least 1, None, or 'cap'"),
        ({"max_steps": "all"}, "max_steps='all' must be"),
        ({"threads": 0}, "threads=0 must be"),
        ({"backend": "doom"}, "backend='doom' must be one of 'native', 'vizdoom'"),
    ],
)
def test_bad_arguments(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        gym.make("Imagine/DoomTakeCover-v0", **kwargs)
